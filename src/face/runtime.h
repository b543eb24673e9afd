/* runtime.h - the one default heap of a process, for the faces that collect: start, attach at first
 * use, detach at thread exit, fork, and what happens at process exit.
 * STATE  cold → (first call of any entry) → running, for ever.
 * LOCKS  none of its own. */
#ifndef MGC_FACE_RUNTIME_H
#define MGC_FACE_RUNTIME_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <pthread.h>

#include "gc/alloc.h"
#include "gc/gc.h"
#include "heap/mutator.h"

struct runtime {
	struct heap heap;
	struct gc gc;
	const char *name; /* of the face */
	bool poll_finalizers; /* the program runs what is due itself */
	uint32_t due_word; /* atomic, futex: something became due */
	uint32_t nrunners; /* atomic: threads of the library's own that run it */
	uint32_t finalizing; /* atomic: 1 while one of them runs finalizers: one at a time */
	uint32_t ncleaning; /* atomic: of them run cleanups; at most MGC_DEBUG=cleanup_threads */
};

extern struct runtime runtime;

/* What a face wants different. */
struct runtime_config {
	const char *name; /* of the face, in statistics */
	int signal; /* 0: any free real-time signal */
	void (*adjust)(struct knobs *k); /* before the heap exists; NULL: nothing */
	void (*after_start)(void); /* the heap is there, no thread is attached; NULL: nothing */
	void (*attached)(struct mutator *m); /* on the thread itself; NULL: nothing */
	bool globals;
	uint64_t end_nbytes; /* of the roots */
	bool own_finalizer_thread;
	bool concurrent; /* the program stores through the barrier */
};

/* runtime_try_start - idempotent, any thread. 0, or ENOMEM: not even the smallest heap can be had now. */
int runtime_try_start(const struct runtime_config *config);
/* runtime_start - the same for who cannot tell its caller: dies of ENOMEM. */
void runtime_start(const struct runtime_config *config);
/* runtime_attach - the calling thread becomes a mutator; NULL: no memory for a heap, or for its record. */
struct mutator *runtime_attach(const struct runtime_config *config);
void runtime_detach(void);
/* runtime_read_stats - of the heap, with the face's name. */
struct stat_values;
void runtime_read_stats(struct stat_values *out);
bool runtime_started(void);
/* runtime_create_thread - pthread_create; where a limit of the address space that came unseen leaves no room for a stack, it is
 * obeyed first. m is the caller's. */
int runtime_create_thread(struct mutator *m, pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg);
/* runtime_run_finalizers - finalizers and cleanups that are due, on this thread; how many. */
size_t runtime_run_finalizers(void);

MGC_INLINE struct mutator *runtime_self(const struct runtime_config *config)
{
	struct mutator *m = mutator_self();
	return MGC_LIKELY(m != &mutator_none) ? m : runtime_attach(config);
}

#endif
