/* resident.c - see resident.h. STATE none. */
#include "cmd/resident.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "os/os.h"
#include "os/os_linux_scan.h"

#define PRESENT_BIT (UINT64_C(1) << 63) /* of a word of pagemap */
enum { NREGIONS = 512 };

struct walk {
	int fd;
	uintptr_t lo, hi;
	void (*fn)(void *arg, uintptr_t lo, uintptr_t hi, bool huge);
	void *arg;
};

/* scan - 0, or an errno: ENOTTY where the kernel is too old. */
static int scan(const struct walk *w)
{
	struct scan_region region[NREGIONS];
	struct scan_request q = { .size = sizeof q,
				  .start = w->lo,
				  .end = w->hi,
				  .vec = (uintptr_t)region,
				  .vec_len = NREGIONS,
				  .category_mask = PAGE_IS_PRESENT,
				  .return_mask = PAGE_IS_PRESENT | PAGE_IS_HUGE };
	while (q.start < q.end) {
		int n = ioctl(w->fd, SCAN_REQUEST, &q);
		if (n < 0)
			return errno;
		for (int i = 0; i < n; i++)
			w->fn(w->arg, (uintptr_t)region[i].lo, (uintptr_t)region[i].hi,
			      (region[i].categories & PAGE_IS_HUGE) != 0);
		if (q.walk_end <= q.start)
			break;
		q.start = q.walk_end;
	}
	return 0;
}

/* read_words - the same by a word for each page. */
static bool read_words(const struct walk *w)
{
	uint64_t word[NREGIONS];
	size_t page = os_page_size();
	for (uintptr_t at = w->lo; at < w->hi;) {
		size_t npages = (w->hi - at) / page;
		size_t want = (npages < NREGIONS ? npages : NREGIONS) * sizeof word[0];
		ssize_t n = pread(w->fd, word, want, (off_t)(at / page * sizeof word[0]));
		if (n < (ssize_t)sizeof word[0])
			return false;
		for (size_t i = 0; i < (size_t)n / sizeof word[0]; i++, at += page)
			if ((word[i] & PRESENT_BIT) != 0)
				w->fn(w->arg, at, at + page, false);
	}
	return true;
}

bool resident_each(pid_t pid, uintptr_t lo, uintptr_t hi, bool *huge_known,
		   void (*fn)(void *arg, uintptr_t lo, uintptr_t hi, bool huge), void *arg)
{
	char name[64];
	snprintf(name, sizeof name, "/proc/%d/pagemap", (int)pid);
	struct walk w = { open(name, O_RDONLY | O_CLOEXEC), lo, hi, fn, arg };
	if (w.fd < 0)
		return false;
	int err = scan(&w);
	*huge_known = err == 0;
	bool ok = err == 0 || ((err == ENOTTY || err == EINVAL) && read_words(&w));
	close(w.fd);
	return ok;
}
