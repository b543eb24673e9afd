/* probe.h - what a test can find out about memory and objects without crashing.
 * WHAT   is this byte readable, writable, resident; build a shared library from a text.
 * WHO    unit tests of src/os. LOCKS none. */
#ifndef TEST_LIB_PROBE_H
#define TEST_LIB_PROBE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Cross builds are tested under qemu-user 7.2. It ignores RLIMIT_AS and advice it does not know, has no
 * use for the last two signals, and shows the host's /proc for all but a few files. */
#ifdef TEST_EMULATED
#define PROBE_EMULATED true
#else
#define PROBE_EMULATED false
#endif

/* Asked of the kernel through a pipe; the byte keeps its value (if nobody writes it meanwhile). */
bool probe_readable(uintptr_t addr);
bool probe_writable(uintptr_t addr);

/* probe_all - what holds for the first byte of every page and for the last byte of the range. */
bool probe_all_readable(uintptr_t lo, uintptr_t hi);
bool probe_none_readable(uintptr_t lo, uintptr_t hi);
bool probe_all_zero(uintptr_t lo, uintptr_t hi); /* every byte */

/* probe_resident - pages of [lo, hi) in physical memory. */
size_t probe_resident(uintptr_t lo, uintptr_t hi);

/* probe_mapped_bytes - the size of this process's address space. */
size_t probe_mapped_bytes(void);

/* probe_library - compiles `source` with the compiler of this build into a shared library, writes its
 * path into path[0 … 63], and aborts the test program if it cannot. */
void probe_library(const char *source, char *path);

#endif
