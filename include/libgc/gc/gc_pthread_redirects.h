/* gc_pthread_redirects.h - the collector's thread functions, and their use in place of the system's in
 * programs that define GC_THREADS (unless GC_NO_THREAD_REDIRECTS). Included by gc.h. */
#ifndef GC_PTHREAD_REDIRECTS_H
#define GC_PTHREAD_REDIRECTS_H
#if defined(GC_H) && defined(GC_PTHREADS)
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>

#define GC_PTHREAD_CREATE_CONST const
#ifndef GC_SUSPEND_THREAD_ID
#define GC_SUSPEND_THREAD_ID pthread_t
#endif
#ifdef __cplusplus
extern "C" {
#endif
/* The thread's argument and result are kept; it is known to the collector before this returns. */
GC_API int GC_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
GC_API int GC_pthread_join(pthread_t id, void **result);
GC_API int GC_pthread_detach(pthread_t id);
GC_API int GC_pthread_cancel(pthread_t id);
#define GC_PTHREAD_EXIT_DECLARED
GC_API void GC_pthread_exit(void *result) GC_PTHREAD_EXIT_ATTRIBUTE;
/* The signal that stops threads is never blocked. */
GC_API int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
GC_API void *GC_dlopen(const char *path, int mode);
#ifdef __cplusplus
}
#endif

#ifndef GC_NO_THREAD_REDIRECTS
#undef pthread_create
#undef pthread_join
#undef pthread_detach
#undef pthread_cancel
#undef pthread_exit
#undef pthread_sigmask
#undef dlopen
#define pthread_create GC_pthread_create
#define pthread_join GC_pthread_join
#define pthread_detach GC_pthread_detach
#define pthread_cancel GC_pthread_cancel
#define pthread_exit GC_pthread_exit
#define pthread_sigmask GC_pthread_sigmask
#define dlopen GC_dlopen
#endif
#endif
#endif
