/* config.h - the sizes, shifts and limits everything else is built from, and the static asserts
 * that tie them. UNITS: a shift is a power of two of bytes unless its name says pages.
 * A hostile build (MGC_HOSTILE) shrinks them so that rare paths become common. */
#ifndef MGC_BASE_CONFIG_H
#define MGC_BASE_CONFIG_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#ifndef MGC_HOSTILE
#define MGC_HOSTILE 0
#endif
#ifndef MGC_ASSERT
#define MGC_ASSERT 0
#endif

/* The unit of the page heap. Not the operating system's page, which is read at run time. */
#define MGC_PAGE_SHIFT 13
#define MGC_PAGE_SIZE ((size_t)1 << MGC_PAGE_SHIFT)

/* One allocation bit and one mark bit per granule; the smallest slot is one granule. */
#define MGC_GRANULE_SHIFT 4
#define MGC_GRANULE ((size_t)1 << MGC_GRANULE_SHIFT)

/* Arena: side tables are committed for one at a time. Chunk: the heap grows by whole ones, and
 * one word of the page allocator's summary speaks of one. */
#if MGC_HOSTILE
#define MGC_ARENA_SHIFT 22
#define MGC_CHUNK_PAGES_SHIFT 6
#else
#define MGC_ARENA_SHIFT 26
#define MGC_CHUNK_PAGES_SHIFT 9
#endif
#define MGC_ARENA_SIZE ((size_t)1 << MGC_ARENA_SHIFT)
#define MGC_CHUNK_PAGES ((size_t)1 << MGC_CHUNK_PAGES_SHIFT)
#define MGC_CHUNK_SHIFT (MGC_CHUNK_PAGES_SHIFT + MGC_PAGE_SHIFT)
#define MGC_CHUNK_SIZE ((size_t)1 << MGC_CHUNK_SHIFT)

/* The largest address range that is reserved. An emulator (qemu-user 7.2) keeps a record of each page of
 * it, and takes some seconds for 128 GiB: builds that are tested under one take less. */
#ifndef MGC_RESERVE_SHIFT
#define MGC_RESERVE_SHIFT 40
#endif
#define MGC_MAX_RESERVE ((size_t)1 << MGC_RESERVE_SHIFT)

/* Largest small object; above it a request gets a span of its own. */
#define MGC_MAX_SMALL ((size_t)32768)
/* Pointer-free objects below this are packed into shared 16 B blocks. */
#define MGC_MAX_TINY ((size_t)16)

/* Size classes: 0 = a large object. The generator checks that its table stays below. */
#define MGC_MAX_SIZECLASS 80
/* Span classes (size class x layout) of one heap; beyond it layouts merge into "every word". Each
 * costs a thread 24 B of address space. */
#define MGC_MAX_SPANCLASS 1024
/* Pages of the longest span of small objects. */
#define MGC_MAX_SMALL_PAGES 16

#define MGC_CACHE_LINE 64

_Static_assert(sizeof(void *) == 8, "mallocgc needs 64-bit pointers");
_Static_assert(MGC_ARENA_SHIFT >= MGC_CHUNK_SHIFT, "an arena is whole chunks");
_Static_assert(MGC_CHUNK_PAGES >= 64, "a chunk's bitmap is whole 64-bit words");
_Static_assert(MGC_PAGE_SIZE / MGC_GRANULE % 64 == 0, "a page's side bits are whole words");
_Static_assert(MGC_CHUNK_PAGES >= MGC_MAX_SMALL_PAGES, "a span of small objects fits a chunk");

#endif
