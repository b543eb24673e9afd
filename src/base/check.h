/* check.h - how the library dies, and what it verifies.
 * Three kinds of failure, told apart in the message:
 *   our own broken invariant   MGC_CHECK (always on), MGC_ASSERTION (MGC_ASSERT builds)
 *   the caller's mistake       mgc_misuse: names the mistake and the address
 *   the world                  mgc_fatal: the system refused something that cannot be refused
 * None allocates, takes a lock or calls stdio, so all are usable in a signal handler and while the
 * world is stopped. */
#ifndef MGC_BASE_CHECK_H
#define MGC_BASE_CHECK_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdarg.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/config.h"

/* Formats understood by all functions here: %s %c %d %u %x %p %zu %ld %lu %lx %llu %% (no width,
 * except %0N before x). */
size_t mgc_vformat(char *buf, size_t cap, const char *fmt, va_list ap);
size_t mgc_format(char *buf, size_t cap, const char *fmt, ...) MGC_PRINTF(3, 4);

/* mgc_print - one write of at most 512 bytes to `fd`. */
void mgc_print(int fd, const char *fmt, ...) MGC_PRINTF(2, 3);

/* mgc_print_text - all of it. */
void mgc_print_text(int fd, const char *text);

/* mgc_on_death - gets the text, with its newline, in place of standard error; the process ends when it
 * returns. NULL: none. Set once, by a face. */
extern void (*mgc_on_death)(const char *text);

MGC_NORETURN MGC_COLD void mgc_fatal(const char *fmt, ...) MGC_PRINTF(1, 2);
MGC_NORETURN MGC_COLD void mgc_misuse(const char *fmt, ...) MGC_PRINTF(1, 2);
MGC_NORETURN MGC_COLD void mgc_check_failed(const char *file, int line, const char *what);

#define MGC_CHECK(cond) \
	do { \
		if (MGC_UNLIKELY(!(cond))) \
			mgc_check_failed(__FILE__, __LINE__, #cond); \
	} while (0)

#if MGC_ASSERT
#define MGC_ASSERTION(cond) MGC_CHECK(cond)
#else
#define MGC_ASSERTION(cond) ((void)sizeof((cond) ? 1 : 0))
#endif

#endif
