// gcbench is bench/c/gcbench.c in Go: the classic GCBench (Ellis, Kovac, Boehm).
// usage: gcbench [SCALE=0]; each step of SCALE doubles the data.
package main

import "mallocgc.invalid/bench/internal/bench"

type node struct {
	left, right *node
	i, j        int64
}

const (
	stretchDepth, longLivedDepth = 18, 16
	minDepth, maxDepth           = 4, 16
	arrayLength                  = 500000
)

func treeSize(depth uint64) uint64 { return uint64(1)<<(depth+1) - 1 }

// populate works top down: the parent is reachable when its children are stored into it.
func populate(depth uint64, parent *node) {
	if depth == 0 {
		return
	}
	parent.left = &node{}
	parent.right = &node{}
	populate(depth-1, parent.left)
	populate(depth-1, parent.right)
}

// makeTree works bottom up: a node is new when its children are stored into it.
func makeTree(depth uint64) *node {
	if depth == 0 {
		return &node{}
	}
	left := makeTree(depth - 1)
	right := makeTree(depth - 1)
	return &node{left: left, right: right}
}

func count(n *node) uint64 {
	if n == nil {
		return 0
	}
	return 1 + count(n.left) + count(n.right)
}

func one(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func timeConstruction(depth, scale uint64) uint64 {
	iterations, sum := 2*treeSize(stretchDepth+scale)/treeSize(depth), uint64(0)
	for i := uint64(0); i < iterations; i++ {
		n := &node{}
		populate(depth, n)
		sum += one(n.left != nil)
	}
	for i := uint64(0); i < iterations; i++ {
		sum += one(makeTree(depth).right != nil)
	}
	return sum
}

func main() {
	scale := bench.Arg(1, 0)
	length := uint64(arrayLength) << scale
	wall, cpu := bench.WallNs(), bench.CPUNs()
	checksum := one(makeTree(stretchDepth+scale).left != nil)
	longLived := &node{}
	populate(longLivedDepth+scale, longLived)
	array := make([]float64, length)
	for i := uint64(0); i < length/2; i++ {
		array[i] = 1.0 / float64(i+1)
	}
	for d := uint64(minDepth); d <= maxDepth+scale; d += 2 {
		checksum = checksum*31 + timeConstruction(d, scale)
	}
	checksum = checksum*31 + count(longLived)
	checksum = checksum*31 + one(array[1000] == 1.0/1001.0)
	wall, cpu = bench.WallNs()-wall, bench.CPUNs()-cpu
	bench.Print("inner_wall_s", wall/1e9)
	bench.Print("inner_cpu_s", cpu/1e9)
	bench.Finish(checksum)
}
