/* measured.h - for tests that measure a process of their own, and use the library as its users do. */
#ifndef TEST_MEASURED_H
#define TEST_MEASURED_H
#include <mallocgc.h>
#include <sys/resource.h>

/* The hostile build collects at every chance, and a sanitizer has memory of its own. */
#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SKIP 1
#endif
#endif
#if !defined SKIP && (defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__)
#define SKIP 1
#endif
#if !defined SKIP && defined MGC_HOSTILE
#define SKIP MGC_HOSTILE
#endif
#ifndef SKIP
#define SKIP 0
#endif

static inline struct mgc_stats stats(void)
{
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	return s;
}

static inline double peak_resident(void)
{
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	return (double)use.ru_maxrss * 1024;
}

#endif
