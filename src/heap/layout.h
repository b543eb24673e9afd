/* layout.h - which words of an object hold pointers, and the span classes made of size × layout.
 *
 * WHAT   A layout says how the marker reads an object. It repeats with its period, so it serves one
 *        object and an array alike (unused words behind the last element are zero). The objects of a
 *        span share size and layout, so an object needs no header and an allocation writes no map.
 *        Nothing moves, so a layout is a hint: when there are too many, the next ones become "every
 *        word, ambiguous".
 * WHO    types intern theirs once; allocation looks up layout → span class of a size; the marker
 *        reads spanclass[] for every object.
 * STATE  entries are only added, never changed or removed.
 * INV    L1 equal descriptions have the same id   L2 spanclass[id] is complete before id is seen
 * LOCKS  LAYOUT to add; reading needs none (release/acquire on the id's cell).
 * UNITS  words of 8 bytes in masks and periods; bytes in slot sizes. */
#ifndef MGC_HEAP_LAYOUT_H
#define MGC_HEAP_LAYOUT_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/config.h"
#include "heap/sizeclass.h"
#include "os/lock.h"

enum layout_kind {
	LAYOUT_NOSCAN, /* no pointers */
	LAYOUT_WORDS,  /* every aligned word may be one */
	LAYOUT_MASK,   /* the words whose mask bit is set */
	LAYOUT_TRACE,  /* the embedder's callback knows */
	LAYOUT_PAIRS,  /* pairs of a key and a value that it keeps (gc/ephemeron.h) */
};

enum layout_flags {
	LAYOUT_AMBIGUOUS = 1,     /* a word that looks like a pointer may not be one */
	LAYOUT_NOZERO = 2,        /* handed out with old contents */
	LAYOUT_UNCOLLECTABLE = 4, /* every allocated object is a root */
	LAYOUT_TINY = 8,          /* blocks that several tiny objects share */
	LAYOUT_STOPPED = 16,      /* the trace callback needs a stopped world */
	LAYOUT_PARTS = 32,        /* the trace callback takes a part of an object at a time */
	LAYOUT_TAGGED = 64,       /* the low bits of a word say whether it is a pointer */
	LAYOUT_BOXED = 128,       /* pointers in the low 48 bits of a word */
	LAYOUT_SPARE = 256, /* WORDS: the program did not ask for the last granule; the marker looks whether it uses it.
				   * No flag of a span class */
};

struct layout_desc {
	enum layout_kind kind;
	unsigned flags;
	uint32_t period; /* MASK: words, > 0; TRACE: bytes of an element, 0: the callback gets the slot */
	const uint64_t *mask; /* period bits, at least one set; MASK only */
	void (*trace)(void *obj, void *tracer); /* TRACE only */
	void *user; /* for whoever registered the trace callback */
	uint16_t tags; /* TAGGED: bit t set: words of tag t are pointers */
	uint8_t tag_mask; /* the bits that are the tag */
};

#define MGC_MAX_LAYOUT 2048

struct layout {
	struct layout_desc desc;
	const char *name; /* atomic: for messages, of the types that have it; NULL: nobody said. Under LAYOUT */
	uint16_t spanclass[MGC_NSIZECLASS]; /* atomic; 0: not interned yet */
};

/* What the marker needs of an object, found by the span class in the page descriptor. */
enum scan_kind {
	SCAN_NONE,
	SCAN_ALL,
	SCAN_MASK64,
	SCAN_PERIOD,
	SCAN_TRACE,
	SCAN_CODED,
	SCAN_CODED64,
	SCAN_PAIRS,
	SCAN_SPARE,
};

struct spanclass {
	uint64_t mask; /* SCAN_MASK64, SCAN_CODED64: pointer words of the slot */
	uint32_t slot_nbytes; /* 0: large */
	uint32_t reciprocal;
	uint16_t layout;
	uint8_t scan; /* enum scan_kind */
	uint8_t flags;
	uint8_t sizeclass;
	uint8_t tag_mask; /* of the layout, and tags */
	uint16_t tags;
	int32_t interior; /* an offset without these bits, whose allocation bit is set, is the start of a slot; -1:
			   * none is known to be, nor that it has such a bit */
	uint16_t nwords; /* the slot begins with so many pointers, and they are all; 0: see scan */
	uint8_t spare[2];
};

_Static_assert(sizeof(struct spanclass) == 32, "two a cache line, in the marker's hot set");

struct layouts {
	struct lock lock;
	uint32_t nlayouts, nspanclasses; /* atomic; ids below are in use, id 0 never */
	uint32_t nfixed; /* span classes of the layouts that always exist */
	struct layout *layout; /* [MGC_MAX_LAYOUT], demand-zero */
	uint16_t *hash; /* [2 * MGC_MAX_LAYOUT] ids, open addressing */
	struct spanclass spanclass[MGC_MAX_SPANCLASS];
	uintptr_t memory;
	size_t memory_nbytes;
	uintptr_t mask_next, mask_end; /* room for copied masks */
	uintptr_t word_mask; /* atomic: the bits of an ambiguous word that may be an address */
	uintptr_t name_next, name_end; /* room for names */
	bool by_type; /* types share no layout, so that every object can be named. Set before the first type */
};

/* The address in a boxed word. */
#define LAYOUT_BOX_MASK ((UINT64_C(1) << 48) - 1)

/* Layouts that always exist. */
enum { LAYOUT_ID_NOSCAN = 1, LAYOUT_ID_WORDS, LAYOUT_ID_TINY, LAYOUT_ID_FIRST_FREE };

int layouts_init(struct layouts *ls);
void layouts_destroy(struct layouts *ls);

/* layout_intern - the id of that layout, new or known. The mask is copied. When the table is full:
 * LAYOUT_ID_WORDS for kinds that are words, 0 for TRACE and PAIRS and for flags that WORDS lacks. */
unsigned layout_intern(struct layouts *ls, const struct layout_desc *desc);

/* layout_add_name - objects of that layout may be called so. layout_name - what messages call them: a name,
 * several ("a|b"), or what kind they are; never NULL. */
void layout_add_name(struct layouts *ls, unsigned layout, const char *name);
const char *layout_name(const struct layouts *ls, unsigned layout);

/* layout_spanclass_slow - interns (size class, layout); see layout_spanclass. */
unsigned layout_spanclass_slow(struct layouts *ls, unsigned layout, unsigned sizeclass);

/* layout_spanclass - the span class of objects of that size class (0: large) and layout. When the
 * table is full it is one of "every word"; 0 only when a callback or such flags cannot be had. */
MGC_INLINE unsigned layout_spanclass(struct layouts *ls, unsigned layout, unsigned sizeclass)
{
	unsigned id = load_acquire(&ls->layout[layout].spanclass[sizeclass]); /* pairs: spanclass */
	return MGC_LIKELY(id != 0) ? id : layout_spanclass_slow(ls, layout, sizeclass);
}

#endif
