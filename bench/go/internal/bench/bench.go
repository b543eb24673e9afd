// Package bench is what the Go programs share: clocks, output lines, arguments and the random
// numbers of bench/c/bench_gc.h, so that both sides do the same work and print the same lines.
package bench

import (
	"fmt"
	"os"
	"runtime/metrics"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

const clockProcessCPU = 2 // CLOCK_PROCESS_CPUTIME_ID

var start = time.Now()

// WallNs is a monotonic clock.
func WallNs() float64 { return float64(time.Since(start).Nanoseconds()) }

// CPUNs is the CPU time of the whole process: the collector's threads count.
func CPUNs() float64 {
	var t syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockProcessCPU, uintptr(unsafe.Pointer(&t)), 0)
	return float64(t.Nano())
}

// Print writes one `key value` line for bench/run.py.
func Print(key string, value float64) { fmt.Printf("%s %.3f\n", key, value) }

// PrintInt is Print for counts and checksums.
func PrintInt(key string, value uint64) { fmt.Printf("%s %d\n", key, value) }

// Finish prints the last lines of every program: collections so far, the longest time that the world
// was stopped (the upper end of its histogram bucket), and the checksum.
func Finish(checksum uint64) {
	samples := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(samples)
	PrintInt("cycles", samples[0].Value.Uint64())
	pause := 0.0
	if samples[1].Value.Kind() == metrics.KindFloat64Histogram { // Go 1.22 and later
		h := samples[1].Value.Float64Histogram()
		for i, n := range h.Counts {
			if n > 0 {
				pause = h.Buckets[i+1]
			}
		}
	}
	Print("pause_max_ms", pause*1e3)
	PrintInt("checksum", checksum)
}

// Random is xorshift64.
func Random(state *uint64) uint64 {
	x := *state
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*state = x
	return x
}

// Arg is the i-th command line argument as a number, or its default.
func Arg(i int, otherwise uint64) uint64 {
	if i >= len(os.Args) {
		return otherwise
	}
	n, err := strconv.ParseUint(os.Args[i], 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return n
}
