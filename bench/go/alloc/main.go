// alloc is bench/c/alloc.c in Go: typed allocation of short-lived objects, ns per object.
// usage: alloc [MIB=1024]; allocates that much of each size, at most 16 Mi objects.
// The only reference is a global, so everything but the last object dies at once. One function
// per type stands here in full: behind a type parameter the compiler would share code.
package main

import (
	"fmt"

	"mallocgc.invalid/bench/internal/bench"
)

const maxObjects = 1 << 24

var checksum uint64

type row struct {
	kind string
	size uint64
	run  func(n uint64)
}

type scan16 struct {
	pointer *byte
	word    [1]uint64
}

var sinkScan16 *scan16

func runScan16(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(scan16)
		p.word[0] = i
		sinkScan16 = p
	}
	checksum = checksum*31 + sinkScan16.word[0]
}

type scan24 struct {
	pointer *byte
	word    [2]uint64
}

var sinkScan24 *scan24

func runScan24(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(scan24)
		p.word[0] = i
		sinkScan24 = p
	}
	checksum = checksum*31 + sinkScan24.word[0]
}

type scan32 struct {
	pointer *byte
	word    [3]uint64
}

var sinkScan32 *scan32

func runScan32(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(scan32)
		p.word[0] = i
		sinkScan32 = p
	}
	checksum = checksum*31 + sinkScan32.word[0]
}

type scan48 struct {
	pointer *byte
	word    [5]uint64
}

var sinkScan48 *scan48

func runScan48(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(scan48)
		p.word[0] = i
		sinkScan48 = p
	}
	checksum = checksum*31 + sinkScan48.word[0]
}

type scan64 struct {
	pointer *byte
	word    [7]uint64
}

var sinkScan64 *scan64

func runScan64(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(scan64)
		p.word[0] = i
		sinkScan64 = p
	}
	checksum = checksum*31 + sinkScan64.word[0]
}

type scan96 struct {
	pointer *byte
	word    [11]uint64
}

var sinkScan96 *scan96

func runScan96(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(scan96)
		p.word[0] = i
		sinkScan96 = p
	}
	checksum = checksum*31 + sinkScan96.word[0]
}

type scan128 struct {
	pointer *byte
	word    [15]uint64
}

var sinkScan128 *scan128

func runScan128(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(scan128)
		p.word[0] = i
		sinkScan128 = p
	}
	checksum = checksum*31 + sinkScan128.word[0]
}

type scan192 struct {
	pointer *byte
	word    [23]uint64
}

var sinkScan192 *scan192

func runScan192(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(scan192)
		p.word[0] = i
		sinkScan192 = p
	}
	checksum = checksum*31 + sinkScan192.word[0]
}

type scan256 struct {
	pointer *byte
	word    [31]uint64
}

var sinkScan256 *scan256

func runScan256(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(scan256)
		p.word[0] = i
		sinkScan256 = p
	}
	checksum = checksum*31 + sinkScan256.word[0]
}

type scan384 struct {
	pointer *byte
	word    [47]uint64
}

var sinkScan384 *scan384

func runScan384(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(scan384)
		p.word[0] = i
		sinkScan384 = p
	}
	checksum = checksum*31 + sinkScan384.word[0]
}

type scan512 struct {
	pointer *byte
	word    [63]uint64
}

var sinkScan512 *scan512

func runScan512(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(scan512)
		p.word[0] = i
		sinkScan512 = p
	}
	checksum = checksum*31 + sinkScan512.word[0]
}

type noscan16 struct{ word [2]uint64 }

var sinkNoscan16 *noscan16

func runNoscan16(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(noscan16)
		p.word[0] = i
		sinkNoscan16 = p
	}
	checksum = checksum*31 + sinkNoscan16.word[0]
}

type noscan24 struct{ word [3]uint64 }

var sinkNoscan24 *noscan24

func runNoscan24(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(noscan24)
		p.word[0] = i
		sinkNoscan24 = p
	}
	checksum = checksum*31 + sinkNoscan24.word[0]
}

type noscan32 struct{ word [4]uint64 }

var sinkNoscan32 *noscan32

func runNoscan32(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(noscan32)
		p.word[0] = i
		sinkNoscan32 = p
	}
	checksum = checksum*31 + sinkNoscan32.word[0]
}

type noscan48 struct{ word [6]uint64 }

var sinkNoscan48 *noscan48

func runNoscan48(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(noscan48)
		p.word[0] = i
		sinkNoscan48 = p
	}
	checksum = checksum*31 + sinkNoscan48.word[0]
}

type noscan64 struct{ word [8]uint64 }

var sinkNoscan64 *noscan64

func runNoscan64(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(noscan64)
		p.word[0] = i
		sinkNoscan64 = p
	}
	checksum = checksum*31 + sinkNoscan64.word[0]
}

type noscan96 struct{ word [12]uint64 }

var sinkNoscan96 *noscan96

func runNoscan96(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(noscan96)
		p.word[0] = i
		sinkNoscan96 = p
	}
	checksum = checksum*31 + sinkNoscan96.word[0]
}

type noscan128 struct{ word [16]uint64 }

var sinkNoscan128 *noscan128

func runNoscan128(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(noscan128)
		p.word[0] = i
		sinkNoscan128 = p
	}
	checksum = checksum*31 + sinkNoscan128.word[0]
}

type noscan192 struct{ word [24]uint64 }

var sinkNoscan192 *noscan192

func runNoscan192(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(noscan192)
		p.word[0] = i
		sinkNoscan192 = p
	}
	checksum = checksum*31 + sinkNoscan192.word[0]
}

type noscan256 struct{ word [32]uint64 }

var sinkNoscan256 *noscan256

func runNoscan256(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(noscan256)
		p.word[0] = i
		sinkNoscan256 = p
	}
	checksum = checksum*31 + sinkNoscan256.word[0]
}

type noscan384 struct{ word [48]uint64 }

var sinkNoscan384 *noscan384

func runNoscan384(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(noscan384)
		p.word[0] = i
		sinkNoscan384 = p
	}
	checksum = checksum*31 + sinkNoscan384.word[0]
}

type noscan512 struct{ word [64]uint64 }

var sinkNoscan512 *noscan512

func runNoscan512(n uint64) {
	for i := uint64(0); i < n; i++ {
		p := new(noscan512)
		p.word[0] = i
		sinkNoscan512 = p
	}
	checksum = checksum*31 + sinkNoscan512.word[0]
}

var rows = []row{
	{"scan", 16, runScan16},
	{"scan", 24, runScan24},
	{"scan", 32, runScan32},
	{"scan", 48, runScan48},
	{"scan", 64, runScan64},
	{"scan", 96, runScan96},
	{"scan", 128, runScan128},
	{"scan", 192, runScan192},
	{"scan", 256, runScan256},
	{"scan", 384, runScan384},
	{"scan", 512, runScan512},
	{"noscan", 16, runNoscan16},
	{"noscan", 24, runNoscan24},
	{"noscan", 32, runNoscan32},
	{"noscan", 48, runNoscan48},
	{"noscan", 64, runNoscan64},
	{"noscan", 96, runNoscan96},
	{"noscan", 128, runNoscan128},
	{"noscan", 192, runNoscan192},
	{"noscan", 256, runNoscan256},
	{"noscan", 384, runNoscan384},
	{"noscan", 512, runNoscan512},
}

func main() {
	nbytes := bench.Arg(1, 1024) << 20
	for _, r := range rows {
		n := nbytes / r.size
		if n > maxObjects {
			n = maxObjects
		}
		r.run(n / 16) // warm up
		wall, cpu := bench.WallNs(), bench.CPUNs()
		r.run(n)
		wall, cpu = bench.WallNs()-wall, bench.CPUNs()-cpu
		bench.Print(fmt.Sprintf("%s_%d_ns", r.kind, r.size), wall/float64(n))
		bench.Print(fmt.Sprintf("%s_%d_cpu_ns", r.kind, r.size), cpu/float64(n))
	}
	bench.Finish(checksum)
}
