/* malloc_limit.c - setrlimit and prlimit, so that a program which limits its address space when it runs gets what it asks
 * for at once: the heap's range is reserved, and above most limits. The next mapping of the program may be a thread's stack,
 * with no call of ours before it. A limit that comes from another process is seen when the heap grows.
 * WHO    programs. The headers that declare these functions are not included: they differ in the types.
 * LOCKS  PAGEHEAP and CENTRAL; a handler of a signal may be the caller. */
#include <asm/resource.h>
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "face/malloc.h"
#include "os/os.h"

int prlimit(int pid, int resource, const void *limit, void *old);
int prlimit64(int pid, int resource, const void *limit, void *old);
int setrlimit(int resource, const void *limit);
int setrlimit64(int resource, const void *limit);

/* obey - in a handler that came upon a thread with a lock of ours it is left to the heap's next growth. */
static void obey(void)
{
	struct malloc_face *f = &malloc_face;
	int saved = errno;
	if (!malloc_started() || lock_thread.nheld != 0)
		return;
	manual_obey(&f->heap);
	if (secure_on(&f->secure))
		secure_obey(&f->secure);
	errno = saved;
}

static int set_limit(int pid, int resource, const void *limit, void *old)
{
	/* on 64-bit systems both structures are the kernel's */
	long err = syscall(SYS_prlimit64, pid, resource, limit, old);
	if (err == 0 && limit != NULL && resource == RLIMIT_AS)
		obey();
	return (int)err;
}

MGC_EXPORT int prlimit(int pid, int resource, const void *limit, void *old)
{
	return set_limit(pid, resource, limit, old);
}

MGC_EXPORT int prlimit64(int pid, int resource, const void *limit, void *old)
{
	return set_limit(pid, resource, limit, old);
}

MGC_EXPORT int setrlimit(int resource, const void *limit)
{
	return set_limit(0, resource, limit, NULL);
}

MGC_EXPORT int setrlimit64(int resource, const void *limit)
{
	return set_limit(0, resource, limit, NULL);
}
