/* malloc_new.c - C++'s operators new and delete, from C.
 * WHAT   Names are mangled by hand (Itanium C++ ABI, size_t is `m`). A throwing new that finds no memory
 *        asks the new-handler and throws std::bad_alloc as the standard says, through libstdc++'s or
 *        libc++'s own functions, looked up when that happens: nothing is linked. The exception passes through
 *        our frames by their unwind tables.
 * WHO    C++ programs.  LOCKS none. */
#include <dlfcn.h>
#include <stdlib.h>

#include "base/check.h"
#include "face/malloc.h"

typedef void (*handler)(void);

/* ask_handler - false: there is none. */
static bool ask_handler(void)
{
	handler (*get)(void) = (handler(*)(void))dlsym(RTLD_DEFAULT, "_ZSt15get_new_handlerv");
	handler h = get != NULL ? get() : NULL;
	if (h == NULL)
		return false;
	h();
	return true;
}

static MGC_COLD void throw_bad_alloc(size_t nbytes)
{
	handler raise = (handler)dlsym(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv");
	if (raise != NULL)
		raise();
	mgc_fatal(
		"operator new: no memory for %zu bytes, and no C++ library to throw std::bad_alloc",
		nbytes);
}

static MGC_NOINLINE void *new_long(size_t nbytes, size_t align)
{
	void *p;
	do
		p = align <= BLOCK_ALIGN ? malloc_long(nbytes) : malloc_aligned(nbytes, align);
	while (p == NULL && ask_handler());
	if (p == NULL)
		throw_bad_alloc(nbytes);
	return p;
}

/* The nothrow forms call the handler too, and give NULL when it throws. Only C++ can catch that: its library's own
 * form of the same name is behind ours, calls our throwing one, and catches. Without one there is no handler. */
typedef void *nothrow_fn(size_t nbytes, const void *tag);
typedef void *aligned_nothrow_fn(size_t nbytes, size_t align, const void *tag);

static MGC_NOINLINE void *new_nothrow(size_t nbytes, const void *tag, const char *name)
{
	void *p = malloc_long(nbytes);
	nothrow_fn *next = p == NULL ? (nothrow_fn *)dlsym(RTLD_NEXT, name) : NULL;
	return next != NULL ? next(nbytes, tag) : p;
}

static MGC_NOINLINE void *new_aligned_nothrow(size_t nbytes, size_t align, const void *tag,
					      const char *name)
{
	void *p = malloc_aligned(nbytes, align);
	aligned_nothrow_fn *next = p == NULL ? (aligned_nothrow_fn *)dlsym(RTLD_NEXT, name) : NULL;
	return next != NULL ? next(nbytes, align, tag) : p;
}

#define DEFINE_NEW(plain, nothrow, aligned, aligned_nothrow) \
	MGC_EXPORT void *plain(size_t nbytes); \
	MGC_EXPORT void *plain(size_t nbytes) \
	{ \
		void *p = malloc_short(nbytes); \
		return MGC_LIKELY(p != NULL) ? p : new_long(nbytes, BLOCK_ALIGN); \
	} \
	MGC_EXPORT void *nothrow(size_t nbytes, const void *tag); \
	MGC_EXPORT void *nothrow(size_t nbytes, const void *tag) \
	{ \
		void *p = malloc_short(nbytes); \
		return MGC_LIKELY(p != NULL) ? p : new_nothrow(nbytes, tag, #nothrow); \
	} \
	MGC_EXPORT void *aligned(size_t nbytes, size_t align); \
	MGC_EXPORT void *aligned(size_t nbytes, size_t align) \
	{ \
		return new_long(nbytes, align); \
	} \
	MGC_EXPORT void *aligned_nothrow(size_t nbytes, size_t align, const void *tag); \
	MGC_EXPORT void *aligned_nothrow(size_t nbytes, size_t align, const void *tag) \
	{ \
		return new_aligned_nothrow(nbytes, align, tag, #aligned_nothrow); \
	}

DEFINE_NEW(_Znwm, _ZnwmRKSt9nothrow_t, _ZnwmSt11align_val_t, _ZnwmSt11align_val_tRKSt9nothrow_t)
DEFINE_NEW(_Znam, _ZnamRKSt9nothrow_t, _ZnamSt11align_val_t, _ZnamSt11align_val_tRKSt9nothrow_t)

#define DEFINE_DELETE(name) \
	MGC_EXPORT void name(void *p); \
	MGC_EXPORT void name(void *p) \
	{ \
		malloc_free_inline(p); \
	}
/* Arguments behind the address stay in their registers, unread: size, alignment, nothrow. */
DEFINE_DELETE(_ZdlPv)
DEFINE_DELETE(_ZdlPvm)
DEFINE_DELETE(_ZdlPvRKSt9nothrow_t)
DEFINE_DELETE(_ZdlPvSt11align_val_t)
DEFINE_DELETE(_ZdlPvmSt11align_val_t)
DEFINE_DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t)
DEFINE_DELETE(_ZdaPv)
DEFINE_DELETE(_ZdaPvm)
DEFINE_DELETE(_ZdaPvRKSt9nothrow_t)
DEFINE_DELETE(_ZdaPvSt11align_val_t)
DEFINE_DELETE(_ZdaPvmSt11align_val_t)
DEFINE_DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t)
