// binary_trees is bench/c/binary_trees.c in Go. usage: binary_trees [DEPTH=18]
package main

import "mallocgc.invalid/bench/internal/bench"

type node struct{ left, right *node }

const minDepth = 4

func treeMake(depth uint64) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{treeMake(depth - 1), treeMake(depth - 1)}
}

func (n *node) count() uint64 {
	if n.left == nil {
		return 1
	}
	return 1 + n.left.count() + n.right.count()
}

func main() {
	maxDepth := bench.Arg(1, 18)
	if maxDepth < minDepth+2 {
		maxDepth = minDepth + 2
	}
	wall, cpu := bench.WallNs(), bench.CPUNs()
	checksum := treeMake(maxDepth + 1).count()
	nodes := checksum
	longLived := treeMake(maxDepth)
	for depth := uint64(minDepth); depth <= maxDepth; depth += 2 {
		iterations := uint64(1) << (maxDepth - depth + minDepth)
		check := uint64(0)
		for i := uint64(0); i < iterations; i++ {
			check += treeMake(depth).count()
		}
		nodes += check
		checksum = checksum*31 + check
	}
	kept := longLived.count()
	nodes += kept
	wall, cpu = bench.WallNs()-wall, bench.CPUNs()-cpu
	bench.Print("inner_wall_s", wall/1e9)
	bench.Print("ns_per_node", wall/float64(nodes))
	bench.Print("cpu_ns_per_node", cpu/float64(nodes))
	bench.Finish(checksum*31 + kept)
}
