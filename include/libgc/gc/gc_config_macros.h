/* gc_config_macros.h - attributes and feature macros that the other headers and clients use.
 * A program that has threads defines GC_THREADS before it includes gc.h. */
#ifndef GC_CONFIG_MACROS_H
#define GC_CONFIG_MACROS_H
#include <stddef.h>

#if defined(GC_LINUX_THREADS) || defined(_PTHREADS)
#undef GC_THREADS
#define GC_THREADS 1
#endif
#if defined(GC_THREADS) && !defined(GC_LINUX_THREADS)
#define GC_LINUX_THREADS 1
#endif
#ifdef GC_THREADS
#define GC_PTHREADS 1
#define GC_HAVE_PTHREAD_EXIT 1
#endif

#ifndef GC_API
#define GC_API extern
#endif
#define GC_CALL
#define GC_CALLBACK

#ifdef __GNUC__
#define GC_GNUC_PREREQ(major, minor) ((__GNUC__ << 8) + __GNUC_MINOR__ >= ((major) << 8) + (minor))
#define GC_ATTR_MALLOC __attribute__((__malloc__))
#define GC_ATTR_ALLOC_SIZE(arg) __attribute__((__alloc_size__(arg)))
#define GC_ATTR_CALLOC_SIZE(n, size) __attribute__((__alloc_size__(n, size)))
#define GC_ATTR_NONNULL(arg) __attribute__((__nonnull__(arg)))
#define GC_ATTR_CONST __attribute__((__const__))
#define GC_ATTR_FORMAT_PRINTF(fmt, args) __attribute__((__format__(__printf__, fmt, args)))
#define GC_PTHREAD_EXIT_ATTRIBUTE __attribute__((__noreturn__))
#else
#define GC_GNUC_PREREQ(major, minor) 0
#define GC_ATTR_MALLOC
#define GC_ATTR_ALLOC_SIZE(arg)
#define GC_ATTR_CALLOC_SIZE(n, size)
#define GC_ATTR_NONNULL(arg)
#define GC_ATTR_CONST
#define GC_ATTR_FORMAT_PRINTF(fmt, args)
#define GC_PTHREAD_EXIT_ATTRIBUTE
#endif
#ifndef GC_ATTR_DEPRECATED
#define GC_ATTR_DEPRECATED /* variables that have accessors; they work all the same */
#endif

#ifdef __cplusplus
#if __cplusplus >= 201103L
#define GC_ATTR_EXPLICIT explicit
#define GC_NOEXCEPT noexcept
#else
#define GC_ATTR_EXPLICIT
#define GC_NOEXCEPT throw()
#endif
#endif

#define GC_CAN_SAVE_CALL_STACKS
#define GC_HAVE_BUILTIN_BACKTRACE
#endif
