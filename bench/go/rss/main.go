// rss is bench/c/rss.c in Go: what stays resident when a big heap empties?
// usage: rss [MIB=1024] [KEEP_ONE_IN=4; 0 keeps none] [IDLE_MS=1000]
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"time"

	"mallocgc.invalid/bench/internal/bench"
)

const (
	groupBytes                     = 1 << 20
	minBlock, maxBlock, blockSteps = 64, 2048, (2048-64)/16 + 1
)

var (
	groups      [][]*byte
	randomState uint64 = 88172645463325252
)

func residentMiB() float64 {
	var total, resident int
	s, _ := os.ReadFile("/proc/self/statm")
	fmt.Sscan(string(s), &total, &resident)
	return float64(resident) * float64(os.Getpagesize()) / 1048576
}

// fillGroup makes one table of blocks of one size, every byte of them written.
func fillGroup() ([]*byte, uint64) {
	size := minBlock + 16*(bench.Random(&randomState)%blockSteps)
	group := make([]*byte, groupBytes/size)
	pattern := bytes.Repeat([]byte{byte(size) | 1}, int(size))
	for i := range group {
		block := make([]byte, size)
		copy(block, pattern)
		group[i] = &block[0]
	}
	return group, uint64(len(group)) * (size + 8)
}

func main() {
	ngroups, keepOneIn, idle := bench.Arg(1, 1024), bench.Arg(2, 4), bench.Arg(3, 1000)
	empty, t := residentMiB(), bench.WallNs()
	groups = make([][]*byte, ngroups)
	filled, live := uint64(0), ngroups*24
	for i := range groups {
		var nbytes uint64
		groups[i], nbytes = fillGroup()
		filled += nbytes
		if keepOneIn > 0 && uint64(i)%keepOneIn == 0 {
			live += nbytes
		}
	}
	fill, full, liveMiB := (bench.WallNs()-t)/1e9, residentMiB(), float64(live)/1048576
	for i := range groups {
		if keepOneIn == 0 || uint64(i)%keepOneIn != 0 {
			groups[i] = nil
		}
	}
	t = bench.WallNs()
	runtime.GC()
	collect, now := (bench.WallNs()-t)/1e6, residentMiB()
	time.Sleep(time.Duration(idle) * time.Millisecond)
	after, limit := residentMiB(), liveMiB*1.2+8
	checksum := filled
	for _, g := range groups {
		if g != nil {
			checksum = checksum*31 + uint64(*g[7])
		}
	}
	bench.Print("fill_s", fill)
	bench.Print("collect_ms", collect)
	bench.Print("empty_mib", empty)
	bench.Print("filled_mib", float64(filled)/1048576)
	bench.Print("full_rss_mib", full)
	bench.Print("live_mib", liveMiB)
	bench.Print("rss_at_once_mib", now)
	bench.Print("rss_after_mib", after)
	bench.Print("limit_mib", limit)
	bench.Print("rss_to_limit", after/limit)
	bench.Finish(checksum)
}
