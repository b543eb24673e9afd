/* watch.h - how an observer outside of the process finds its heap.
 *
 * WHAT   Each shared library, and each program that has the library in it, carries an ELF note (owner
 *        "mallocgc") whose content is the distance from itself to a struct watch. That says where the face
 *        keeps its state, and a fingerprint of the structures in it. Who may read the process's memory
 *        (ptrace(2)'s rule) reads them as they are, with process_vm_readv: the process does nothing for
 *        it, and pays nothing.
 * WHO    each face has one struct watch, and WATCH_NOTE; src/cmd/observe.c reads.
 * STATE  constant.
 * INV    W1 whoever reads compares `layout` with his own before anything else: another version, or another
 *           build, is refused by name
 *        W2 what is read changes meanwhile: a reader checks what he follows, and bounds every walk
 * FROM   notes: System V gABI; kernel crash tools read a kernel in the same way. */
#ifndef MGC_BASE_WATCH_H
#define MGC_BASE_WATCH_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdint.h>

#define WATCH_OWNER "mallocgc"
#define WATCH_NOTE_TYPE 1
#define WATCH_MAGIC UINT64_C(0x6d676377617463)

enum watch_face { WATCH_COLLECTED = 1, WATCH_MALLOC };

/* The first four members never change: they tell whether the rest is understood. */
struct watch {
	uint64_t magic;
	uint64_t layout;
	char version[16];
	const uint32_t *started; /* 0 while there is no heap yet */
	uint32_t face; /* enum watch_face */
	uint32_t nbytes; /* of this struct */
	const void *root; /* struct runtime, or struct malloc_face */
	const void *sampler; /* struct sampler */
};

/* What a recorder is told, with os_tell, and so long it is waited for: until it has heard, and until it has looked. */
#define WATCH_STARTED 'S' /* the heap is in use from now on */
#define WATCH_ENDS 'E' /* the process exits: this is the heap at its end */
#define WATCH_HEARD_SECS 2
#define WATCH_DONE_SECS 10

/* WATCH_MIX - one more number in a fingerprint. */
#define WATCH_MIX(hash, number) (((hash) ^ (uint64_t)(number)) * UINT64_C(0x100000001b3))

/* WATCH_NOTE - the note that leads to the struct watch of that name, in this file. */
#define WATCH_NOTE(watch) \
	__asm__(".pushsection .note.mallocgc,\"a\",%note\n" \
		".balign 4\n.long 9, 8, 1\n.asciz \"mallocgc\"\n.balign 4\n" \
		".quad " #watch " - .\n.popsection\n")

#endif
