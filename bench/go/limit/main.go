// limit is bench/c/limit.c in Go: a program under a memory limit most of which is live.
// usage: limit [LIMIT_MIB=320] [LIVE_PERCENT=60] [MIB_PER_SECOND=0: as fast as it can] [SECONDS=10]
package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"unsafe"

	"mallocgc.invalid/bench/internal/bench"
)

type node struct {
	left, right *node
	pad         [6]uint64
}

var (
	live *node
	sink *node
)

func tree(nobj uint64) *node {
	if nobj == 0 {
		return nil
	}
	return &node{left: tree(nobj / 2), right: tree(nobj - 1 - nobj/2)}
}

func residentBytes() float64 {
	var use syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return float64(use.Maxrss) * 1024
}

// gcCPUNs is the processor time of collections so far.
func gcCPUNs() float64 {
	samples := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	runtime.GC() // the runtime counts when a collection ends
	metrics.Read(samples)
	return samples[0].Value.Float64() * 1e9
}

//go:noinline
func garbage() {
	for i := uint64(0); i < 1000; i++ {
		sink = &node{}
		sink.pad[0] = i
	}
}

func main() {
	limit := float64(bench.Arg(1, 320)) * (1 << 20)
	share := float64(bench.Arg(2, 60)) / 100
	rate := float64(bench.Arg(3, 0)) * (1 << 20)
	duration := float64(bench.Arg(4, 10)) * 1e9
	debug.SetMemoryLimit(int64(limit))
	live = tree(uint64(limit * share / float64(unsafe.Sizeof(node{}))))
	collecting := gcCPUNs()
	start, cpu, nbytes := bench.WallNs(), bench.CPUNs(), 0.0
	now := start
	for now-start < duration {
		now = bench.WallNs()
		if rate > 0 && nbytes/rate*1e9 > now-start {
			continue
		}
		garbage()
		nbytes += 1000 * float64(unsafe.Sizeof(node{}))
	}
	collecting = gcCPUNs() - collecting
	cpu = bench.CPUNs() - cpu
	bench.Print("over_percent", (residentBytes()/limit-1)*100)
	bench.Print("share_percent", (1-collecting/cpu)*100)
	bench.Print("mib_per_s", nbytes/(now-start)*1e9/(1<<20))
	bench.Finish(uint64(limit))
}
