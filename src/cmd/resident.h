/* resident.h - which addresses of another process are in memory, and which of these in huge pages, as the kernel says.
 * WHO    census_read.  STATE none.  UNITS bytes.
 * FROM   PAGEMAP_SCAN (Linux 6.7); before, /proc/PID/pagemap, which does not tell huge pages: huge_known is false. */
#ifndef MGC_CMD_RESIDENT_H
#define MGC_CMD_RESIDENT_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* resident_each - fn for ranges of [lo, hi), whole pages, that are resident, in their order. False: it cannot be
 * known (the process is gone, or may not be asked). */
bool resident_each(pid_t pid, uintptr_t lo, uintptr_t hi, bool *huge_known,
		   void (*fn)(void *arg, uintptr_t lo, uintptr_t hi, bool huge), void *arg);

#endif
