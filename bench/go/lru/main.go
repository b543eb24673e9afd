// lru is bench/c/lru.c in Go: how long one operation takes on a cache with a large live heap.
// usage: lru [ENTRIES=8388608] [OPERATIONS_PER_SECOND=200000] [SECONDS=20]
package main

import (
	"os"

	"mallocgc.invalid/bench/internal/bench"
)

const valueWords, scratchWords = 64 / 8, 512 / 8

type entry struct {
	chain, older, newer *entry
	value               *[valueWords]uint64
	key, nused          uint64
	pad                 [2]uint64
}

var (
	buckets        []*entry
	newest, oldest *entry
	randomState    uint64 = 88172645463325252
)

func bucketOf(key uint64) **entry {
	return &buckets[key*0x9e3779b97f4a7c15>>32&uint64(len(buckets)-1)]
}

func unlinkOrder(e *entry) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		oldest = e.newer
	}
}

func linkNewest(e *entry) {
	e.older = newest
	e.newer = nil
	if newest != nil {
		newest.newer = e
	} else {
		oldest = e
	}
	newest = e
}

func find(key uint64) *entry {
	e := *bucketOf(key)
	for e != nil && e.key != key {
		e = e.chain
	}
	return e
}

// repeat is memset's pattern: every byte the low one of the key.
func repeat(key uint64) uint64 { return key & 0xff * 0x0101010101010101 }

func insert(key uint64) {
	bucket := bucketOf(key)
	e := &entry{value: new([valueWords]uint64), key: key, chain: *bucket}
	for i := range e.value {
		e.value[i] = repeat(key)
	}
	*bucket = e
	linkNewest(e)
}

func evictOldest() {
	e := oldest
	at := bucketOf(e.key)
	unlinkOrder(e)
	for *at != e {
		at = &(*at).chain
	}
	*at = e.chain
}

//go:noinline
func newScratch() *[scratchWords]uint64 { return new([scratchWords]uint64) } // not on the stack

//go:noinline
func operation(key uint64) uint64 {
	scratch := newScratch()
	for i := range scratch {
		scratch[i] = repeat(key)
	}
	e := find(key)
	if e != nil {
		unlinkOrder(e)
		linkNewest(e)
		e.nused++
	} else {
		evictOldest()
		insert(key)
		e = newest
	}
	return e.value[key%valueWords] + scratch[key%scratchWords]
}

func fill(nentries uint64) {
	nbuckets := uint64(1)
	for nbuckets < nentries {
		nbuckets *= 2
	}
	buckets = make([]*entry, nbuckets)
	for key := uint64(0); key < nentries; key++ {
		insert(key*2 + 1) // every second key that will be asked for
	}
}

func main() {
	nentries, rate := bench.Arg(1, 1<<23), bench.Arg(2, 200000)
	noperations, sum := rate*bench.Arg(3, 20), uint64(0)
	if nentries < 1 || rate < 1 {
		os.Exit(2)
	}
	var service, response bench.Histogram
	step := 1e9 / float64(rate)
	fill(nentries)
	cpu, start := bench.CPUNs(), bench.WallNs()
	for i := uint64(0); i < noperations; i++ {
		key := bench.Random(&randomState) % (2 * nentries)
		due := start + float64(i)*step
		begin := bench.WallNs()
		for begin < due {
			begin = bench.WallNs()
		}
		sum += operation(key)
		end := bench.WallNs()
		service.Add(uint64(end - begin))
		response.Add(uint64(end - due))
	}
	bench.Print("run_cpu_s", (bench.CPUNs()-cpu)/1e9)
	bench.Print("run_s", (bench.WallNs()-start)/1e9)
	service.Print("service")
	response.Print("response")
	bench.Finish(sum)
}
