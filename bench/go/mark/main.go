// mark is bench/c/mark.c in Go: cost of one full collection of a heap that is all alive.
// usage: mark [random|list|tree] [OBJECTS=3276800] [COLLECTIONS=7]
package main

import (
	"os"
	"runtime"
	"sort"

	"mallocgc.invalid/bench/internal/bench"
)

type node struct {
	edge [4]*node
	id   uint64
	pad  [3]uint64
}

var (
	root        *node
	randomState uint64 = 88172645463325252
	nextID      uint64
)

func buildShuffled(nobj uint64, extraEdges int) {
	nodes := make([]*node, nobj)
	for i := range nodes {
		n := new(node)
		n.id = uint64(i)
		nodes[i] = n
	}
	order := make([]uint32, nobj)
	for i := range order {
		order[i] = uint32(i)
	}
	for i := nobj - 1; i > 0; i-- {
		j := bench.Random(&randomState) % (i + 1)
		order[i], order[j] = order[j], order[i]
	}
	for i := uint64(0); i < nobj; i++ {
		n := nodes[order[i]]
		if i+1 < nobj {
			n.edge[0] = nodes[order[i+1]]
		} else if extraEdges > 0 {
			n.edge[0] = nodes[order[0]]
		}
		for e := 1; e <= extraEdges; e++ {
			n.edge[e] = nodes[bench.Random(&randomState)%nobj]
		}
	}
	root = nodes[order[0]]
}

func buildTree(nobj uint64) *node {
	if nobj == 0 {
		return nil
	}
	n := new(node)
	n.id = nextID
	nextID++
	left := nobj / 2
	n.edge[0] = buildTree(left)
	n.edge[1] = buildTree(nobj - 1 - left)
	return n
}

func sumChain(nobj uint64) (sum uint64) {
	for n := root; nobj > 0 && n != nil; nobj, n = nobj-1, n.edge[0] {
		sum = sum*3 + n.id
	}
	return sum
}

func sumTree(n *node) uint64 {
	if n == nil {
		return 0
	}
	return n.id + 3*sumTree(n.edge[0]) + 5*sumTree(n.edge[1])
}

func main() {
	graph := "random"
	if len(os.Args) > 1 {
		graph = os.Args[1]
	}
	nobj, n := bench.Arg(2, 3276800), bench.Arg(3, 7)
	switch graph {
	case "tree":
		root = buildTree(nobj)
	case "list":
		buildShuffled(nobj, 0)
	default:
		buildShuffled(nobj, 3)
	}
	runtime.GC()
	wall, cpu := make([]float64, n), make([]float64, n)
	for i := range wall {
		w, c := bench.WallNs(), bench.CPUNs()
		runtime.GC()
		wall[i] = (bench.WallNs() - w) / float64(nobj)
		cpu[i] = (bench.CPUNs() - c) / float64(nobj)
	}
	sort.Float64s(wall)
	sort.Float64s(cpu)
	bench.Print("cpu_ns_per_object", cpu[n/2])
	bench.Print("cpu_ns_per_object_min", cpu[0])
	bench.Print("wall_ns_per_object", wall[n/2])
	bench.Print("wall_ns_per_object_max", wall[n-1])
	if graph == "tree" {
		bench.Finish(sumTree(root))
	} else {
		bench.Finish(sumChain(nobj))
	}
}
