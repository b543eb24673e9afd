// churn is bench/c/churn.c in Go: a table of lists whose entries are replaced, each operation timed.
// usage: churn [LIVE_MIB=100] [THREADS=1] [MILLIONS of operations, all threads together=8] [HOT=0]
package main

import (
	"sync"
	"unsafe"

	"mallocgc.invalid/bench/internal/bench"
)

type entry struct {
	next  *entry
	value *byte
	key   uint64
	bytes uint64
}
type cell struct {
	next   *cell
	number uint64
}

const (
	shortList, valueMin, valueMax, perBucket = 10, 16, 144, 4
	entryBytes                               = 32 + (valueMin+valueMax)/2 + 8/perBucket
)

type work struct {
	keys, buckets, ops, hot, seed, checksum uint64
	bucket                             []*entry
	longest                            float64
	over1ms, over10ms                  uint64
}

func newEntry(key, random uint64) *entry {
	n := valueMin + random%(valueMax-valueMin+1)
	e := &entry{key: key, bytes: n}
	value := make([]byte, n)
	for i := range value {
		value[i] = byte(key & 0x7F)
	}
	e.value = &value[0]
	return e
}

func (w *work) put(key, random uint64) uint64 {
	at := &w.bucket[key%w.buckets]
	e := newEntry(key, random)
	old := *at
	for old != nil && old.key != key {
		at = &old.next
		old = *at
	}
	if old == nil {
		*at = e
		return 0
	}
	e.next = old.next
	*at = e
	return uint64(*(*byte)(unsafe.Add(unsafe.Pointer(old.value), old.bytes/2))) + old.bytes
}

func short(n uint64) uint64 {
	var list *cell
	for i := uint64(0); i < shortList; i++ {
		list = &cell{list, n + i}
	}
	sum := uint64(0)
	for ; list != nil; list = list.next {
		sum += list.number & 0xFF
	}
	return sum
}

func (w *work) anyKey(random uint64) uint64 {
	n := w.keys
	if (random>>40)%100 < w.hot {
		n = w.keys/16 + 1
	}
	return (random >> 16) % n
}

func (w *work) churn() {
	w.bucket = make([]*entry, w.buckets)
	for key := uint64(0); key < w.keys; key++ {
		w.put(key, bench.Random(&w.seed))
	}
	before := bench.WallNs()
	for i := uint64(0); i < w.ops; i++ {
		r := bench.Random(&w.seed)
		w.checksum += w.put(w.anyKey(r), r&0xFFFF) + short(r)
		now := bench.WallNs()
		if ns := now - before; ns > 1e6 {
			w.over1ms++
			if ns > 10e6 {
				w.over10ms++
			}
		}
		if now-before > w.longest {
			w.longest = now - before
		}
		before = now
	}
}

func main() {
	live, threads, ops := bench.Arg(1, 100), bench.Arg(2, 1), bench.Arg(3, 8)*1000000
	all := make([]work, threads)
	var wg sync.WaitGroup
	for i := range all {
		w := &all[i]
		w.keys = (live << 20) / entryBytes / threads
		w.buckets = w.keys/perBucket + 1
		w.ops = ops / threads
		w.hot = bench.Arg(4, 0)
		w.seed = 88172645463325252 + uint64(i)
		if threads == 1 {
			w.churn()
			break
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			w.churn()
		}()
	}
	wg.Wait()
	var checksum, over1ms, over10ms uint64
	longest := 0.0
	for i := range all {
		checksum += all[i].checksum
		over1ms += all[i].over1ms
		over10ms += all[i].over10ms
		if all[i].longest > longest {
			longest = all[i].longest
		}
	}
	bench.Print("longest_op_ms", longest/1e6)
	bench.PrintInt("ops_over_1ms", over1ms)
	bench.PrintInt("ops_over_10ms", over10ms)
	bench.Finish(checksum)
}
