/* javaxfc.h - for runtimes of languages with their own idea of the end: all finalizers at once, threads held
 * by other threads. */
#ifndef GC_JAVAXFC_H
#define GC_JAVAXFC_H
#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* GC_finalize_all - every finalizer runs, of live objects too, until none is registered. */
GC_API void GC_CALL GC_finalize_all(void);

#ifdef GC_THREADS
#ifndef GC_SUSPEND_THREAD_ID
#define GC_SUSPEND_THREAD_ID pthread_t
#endif
/* They do not nest. */
GC_API void GC_CALL GC_suspend_thread(GC_SUSPEND_THREAD_ID thread);
GC_API void GC_CALL GC_resume_thread(GC_SUSPEND_THREAD_ID thread);
GC_API int GC_CALL GC_is_thread_suspended(GC_SUSPEND_THREAD_ID thread);
#endif

#ifdef __cplusplus
}
#endif
#endif
