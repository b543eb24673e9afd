/* mallocgc-python.h - the memory of an embedded CPython on the collected heap: objects, strings and tables count in the
 * program's heap, its limit and its profile. Link with -lmallocgc and libpython. docs/adapters.md says how.
 *
 *   mgc_python_use();   before Py_Initialize, and before Py_PreInitialize
 *
 * When the heap's limit is reached, Python raises MemoryError. */
#ifndef MALLOCGC_PYTHON_H
#define MALLOCGC_PYTHON_H
#include <Python.h>
#include <mallocgc-raw.h>

static inline void *mgc_python_malloc(void *unused, size_t nbytes)
{
	(void)unused;
	return mgc_raw_malloc(nbytes);
}
static inline void *mgc_python_calloc(void *unused, size_t n, size_t each)
{
	(void)unused;
	return mgc_raw_calloc(n, each);
}
static inline void *mgc_python_realloc(void *unused, void *p, size_t nbytes)
{
	(void)unused;
	return mgc_raw_realloc(p, nbytes);
}
static inline void mgc_python_free(void *unused, void *p)
{
	(void)unused;
	mgc_free(p);
}

/* mgc_python_use - all three of Python's domains: what any thread may ask for, and what goes with the GIL. */
static inline void mgc_python_use(void)
{
	PyMemAllocatorEx a = { NULL, mgc_python_malloc, mgc_python_calloc, mgc_python_realloc,
			       mgc_python_free };
	PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &a);
	PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &a);
	PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &a);
}
#endif
