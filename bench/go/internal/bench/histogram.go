package bench

import (
	"fmt"
	"math/bits"
)

const (
	histogramSubShift = 6
	histogramSub      = 1 << histogramSubShift
)

// Histogram is bench/c/histogram.h: buckets of 1/64 of their power of two.
type Histogram struct {
	count [59 * histogramSub]uint64
	max   uint64
}

// Add counts one duration in ns.
func (h *Histogram) Add(ns uint64) {
	bucket := ns
	if ns >= histogramSub {
		shift := 63 - histogramSubShift - bits.LeadingZeros64(ns)
		bucket = uint64(shift+1)*histogramSub + ns>>shift - histogramSub
	}
	h.count[bucket]++
	if ns > h.max {
		h.max = ns
	}
}

// Print writes the longest, and one line of bucket:count pairs.
func (h *Histogram) Print(name string) {
	fmt.Printf("%s_max_us %.3f\n%s_histogram ", name, float64(h.max)/1e3, name)
	comma := ""
	for i, n := range h.count {
		if n > 0 {
			fmt.Printf("%s%d:%d", comma, i, n)
			comma = ","
		}
	}
	fmt.Println()
}
