/* os_linux_scan.h - PAGEMAP_SCAN as the kernel has it (Linux 6.7): newer than the headers of some systems this
 * compiles on.
 * WHO    os_linux_written.c of its own process; the command's resident.c of another one.
 * UNITS  addresses; ranges are whole pages.   FROM include/uapi/linux/fs.h: names and numbers of the interface. */
#ifndef MGC_OS_LINUX_SCAN_H
#define MGC_OS_LINUX_SCAN_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdint.h>
#include <sys/ioctl.h>

#define SCAN_PROTECT_MATCHING 1
#define SCAN_CHECK_TRACKED 2
#define PAGE_IS_WRITTEN (UINT64_C(1) << 1)
#define PAGE_IS_PRESENT (UINT64_C(1) << 3)
#define PAGE_IS_SWAPPED (UINT64_C(1) << 4)
#define PAGE_IS_HUGE (UINT64_C(1) << 6)

struct scan_region {
	uint64_t lo, hi, categories;
};

struct scan_request {
	uint64_t size, flags;
	uint64_t start, end, walk_end; /* walk_end: how far the kernel came */
	uint64_t vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_REQUEST _IOWR('f', 16, struct scan_request)

#endif
