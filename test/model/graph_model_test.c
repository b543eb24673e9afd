/* graph_model_test.c (plain) - random graphs of objects of all kinds, held by every kind of root, changed
 * by millions of random operations, next to a model of them in malloc's memory.
 *
 * WHAT   After each collection the model says what can be reached: those objects must be as the model
 *        has them, word for word, neither finalized nor unlinked. What cannot be reached may be gone;
 *        when the thread that worked on the graph is gone with its stack, it must be gone, exactly.
 *        Fields that are no references hold addresses of other objects, as decoys, where the type
 *        is precise.
 * WHO    one world for each thread; worlds meet only in the heap.
 * The model keeps addresses hidden (complemented), so that it keeps nothing alive. */
#include "lib/afar.h"

#include <sys/syscall.h>
#include <ucontext.h>

#include "face/runtime.h"
#include "os/os.h"

#define NNODES 6000
#define MAX_EDGES 4
#define NWORLDS 4
#define NROOTS 96
/* From here on they are parts of this thread's stack, and stored to without mgc_write; the last ones are
 * on the stack of a coroutine that waits, which to this thread is memory like any other. */
#define FIRST_PLAIN_ROOT 48
#define CO_ROOTS 8
#define NONE (-1)
/* Of the words of a tagged object: a reference, and a number (which may look like one). */
#define EDGE_TAG 3
#define NUMBER_TAG 1

enum kind {
	WORDS,
	MASKED,
	LONG_MASK,
	ARRAY,
	TRACED,
	TAGGED,
	LARGE,
	NOSCAN,
	TINY,
	UNCOLLECTABLE,
	NKINDS
};

struct node {
	uintptr_t hidden; /* 0: the id is free */
	uint8_t kind;
	uint8_t nedges;
	bool has_link, has_finalizer, decoy;
	bool shadowed; /* something refers to it that the model has dropped, and a stale word may keep */
	uint32_t nwords;
	uint32_t nin; /* edges and roots that refer to it */
	uint32_t reached, kept; /* the check in which it was, by roots / or by finalizers that wait */
	uint64_t payload;
	int32_t out[MAX_EDGES];
	void *link; /* a disappearing link, if has_link */
};

struct root {
	void **at;
	int32_t node;
};

struct world {
	struct rng rng;
	unsigned index;
	struct node *node;
	int32_t free_id[NNODES];
	unsigned nfree;
	struct root root[NROOTS];
	uint32_t check; /* number of the current check */
	uint64_t ndead, nretained, nchecks, nfinalized, nops;
	uint64_t nheld; /* of the retained: those that no other dead object refers to */
	bool finalizers; /* this world uses them: one world only, they run anywhere */
	int32_t queue[NNODES];
	struct coroutine *co;
};

/* ── kinds ──────────────────────────────────────────────────────────────────────────────── */

/* trace_words - while the program may be writing them: by plain stores where it has no barrier. */
#if defined(MGC_SANITIZE_THREAD)
__attribute__((no_sanitize("thread"), disable_sanitizer_instrumentation, noinline))
#endif
static void
trace_words(void *object, struct mgc_tracer *tracer)
{
	void *const volatile *words = object;
	mgc_trace(tracer, words[1]);
	mgc_trace(tracer, words[4]);
}

static const uint8_t mask_six[] = { 0x29 }, mask_three[] = { 4 };
static const uint8_t mask_hundred[13] = { [0] = 1, [7] = 0x80, [8] = 1, [12] = 8 };
static struct mgc_type masked = { .size = 48, .ptr_bytes = 48, .ptr_mask = mask_six },
		       long_mask = { .size = 800, .ptr_bytes = 800, .ptr_mask = mask_hundred },
		       element = { .size = 24, .ptr_bytes = 24, .ptr_mask = mask_three },
		       traced = { .size = 40, .ptr_bytes = 40, .trace = trace_words },
		       tagged = { .size = 40,
				  .ptr_bytes = 40,
				  .ptr_tag_mask = 7,
				  .ptr_tags = 1 << EDGE_TAG | 1 << 0 };

/* edge_word - in which word of the object its edge e stands. */
static size_t edge_word(const struct node *n, unsigned e)
{
	static const uint8_t six[] = { 0, 3, 5 }, hundred[] = { 0, 63, 64, 99 }, five[] = { 1, 4 };
	size_t per_edge = n->nwords / MAX_EDGES;
	switch (n->kind) {
	case MASKED:
		return six[e];
	case LONG_MASK:
		return hundred[e];
	case TRACED:
		return five[e];
	case ARRAY:
		return e * (per_edge / 3 * 3) + 2;
	case LARGE:
		return e == 3 ? n->nwords - 1 : e * 16384 - (e == 1);
	default:
		return e * per_edge;
	}
}

/* payload_word - a word that is no reference. */
static size_t payload_word(const struct node *n)
{
	switch (n->kind) {
	case WORDS:
	case TAGGED:
	case UNCOLLECTABLE:
		return n->nwords - 1;
	case TRACED:
		return 3;
	case LARGE:
		return 20000;
	case NOSCAN:
	case TINY:
		return 0;
	default:
		return 1;
	}
}

/* edge_value - how a reference stands in this object. */
static void *edge_value(const struct node *n, void *p)
{
	return p != NULL && n->kind == TAGGED ? (char *)p + EDGE_TAG : p;
}

static void *allocate(const struct node *n)
{
	switch (n->kind) {
	case TAGGED:
		return mgc_new(&tagged);
	case MASKED:
		return mgc_new(&masked);
	case LONG_MASK:
		return mgc_new(&long_mask);
	case ARRAY:
		return mgc_new_array(&element, n->nwords / 3);
	case TRACED:
		return mgc_new(&traced);
	case NOSCAN:
	case TINY:
		return mgc_alloc(8 * n->nwords, NULL, MGC_NOSCAN);
	case UNCOLLECTABLE:
		return mgc_alloc(8 * n->nwords, NULL, MGC_UNCOLLECTABLE);
	default:
		return mgc_alloc(8 * n->nwords, NULL, 0);
	}
}

static void choose_kind(struct world *w, struct node *n)
{
	static const uint8_t often[] = { WORDS,  WORDS,  WORDS,  MASKED, MASKED,   TAGGED,
					 MASKED, TRACED, NOSCAN, TINY,   LONG_MASK };
	static const uint8_t nedges[NKINDS] = { 4, 3, 4, 4, 2, 4, 4, 0, 0, 4 };
	size_t dice = rng_below(&w->rng, 2000);
	n->kind = dice == 0   ? LARGE
		  : dice < 20 ? ARRAY
		  : dice < 25 ? UNCOLLECTABLE
			      : often[dice % sizeof often];
	n->nedges = nedges[n->kind];
	n->nwords = 8 + (uint32_t)rng_below(&w->rng, 40);
	if (n->kind == MASKED)
		n->nwords = 6;
	if (n->kind == LONG_MASK)
		n->nwords = 100;
	if (n->kind == TRACED || n->kind == TAGGED)
		n->nwords = 5;
	if (n->kind == TINY)
		n->nwords = 1;
	if (n->kind == LARGE)
		n->nwords = 40000 + (uint32_t)rng_below(&w->rng, 5000);
	if (n->kind == ARRAY)
		n->nwords = 3 * (8 + (uint32_t)rng_below(&w->rng, 3000));
	/* a word of an ambiguous object must not look like an address */
	bool precise = n->kind == MASKED || n->kind == LONG_MASK || n->kind == ARRAY ||
		       n->kind == TRACED || n->kind == TAGGED;
	n->decoy = precise && rng_below(&w->rng, 2);
	n->payload = rng_next(&w->rng) | UINT64_C(1) << 63;
}

/* ── the graph and its model, changed together ──────────────────────────────────────────── */

static void **words_of(const struct node *n)
{
	return unhide(n->hidden);
}

static void *link_of(const struct node *n)
{
	return mgc_link_get(&n->link);
}

/* drop_edges - in the model only: nobody will look at this object's words again. */
static void drop_edges(struct world *w, int32_t id)
{
	for (unsigned e = 0; e < w->node[id].nedges; e++) {
		if (w->node[id].out[e] != NONE)
			w->node[w->node[id].out[e]].nin--;
		w->node[id].out[e] = NONE;
	}
}

static void forget(struct world *w, int32_t id)
{
	drop_edges(w, id);
	CHECK_EQ(w->node[id].nin, 0);
	if (w->node[id].has_link && link_of(&w->node[id]) != NULL)
		mgc_link_clear(&w->node[id].link);
	w->node[id].hidden = 0;
	w->free_id[w->nfree++] = id;
}

/* The program is one without a barrier, whose written pages the system tells. */
static bool plain_stores;

static void store(void *slot, void *p)
{
	if (plain_stores)
		*(void *volatile *)slot = p;
	else
		mgc_write(slot, p);
}

static void set_edge(struct world *w, int32_t from, unsigned e, int32_t to)
{
	struct node *n = &w->node[from];
	if (n->out[e] != NONE)
		w->node[n->out[e]].nin--;
	n->out[e] = to;
	void *p = to != NONE ? words_of(&w->node[to]) : NULL;
	if (to != NONE)
		w->node[to].nin++;
	store(&words_of(n)[edge_word(n, e)], edge_value(n, p));
}

static void set_root(struct world *w, unsigned r, int32_t to)
{
	struct root *root = &w->root[r];
	if (root->node != NONE)
		w->node[root->node].nin--;
	root->node = to;
	if (to != NONE)
		w->node[to].nin++;
	void *p = to != NONE ? words_of(&w->node[to]) : NULL;
	if (r >= FIRST_PLAIN_ROOT && r < NROOTS - CO_ROOTS)
		*(void *volatile *)root->at = p;
	else
		store(root->at, p);
}

/* random_node - one that can be reached, by a walk from a root; NONE when the root is empty. */
static int32_t random_node(struct world *w)
{
	int32_t at = w->root[rng_below(&w->rng, NROOTS)].node;
	for (unsigned steps = (unsigned)rng_below(&w->rng, 8); at != NONE && steps > 0; steps--) {
		const struct node *n = &w->node[at];
		int32_t next = n->nedges > 0 ? n->out[rng_below(&w->rng, n->nedges)] : NONE;
		if (next == NONE)
			break;
		at = next;
	}
	return at;
}

static void on_finalized(void *obj, void *arg);

static void decorate(struct world *w, int32_t id)
{
	struct node *n = &w->node[id];
	n->has_link = n->kind != TINY && n->kind != UNCOLLECTABLE && rng_below(&w->rng, 2);
	/* its edges stay empty: finalizers never form a cycle, and the model stays simple */
	n->has_finalizer = w->finalizers && n->kind != TINY && n->kind != UNCOLLECTABLE &&
			   rng_below(&w->rng, 20) == 0;
	n->link = words_of(n);
	if (n->has_link)
		CHECK_EQ(mgc_link_set(&n->link, words_of(n)), 0);
	if (n->has_finalizer) {
		n->nedges = 0;
		CHECK_EQ(mgc_finalizer_set(words_of(n), on_finalized, (void *)((uintptr_t)id * 2 + 1)),
			 0);
	}
}

static void make_node(struct world *w, unsigned r)
{
	if (w->nfree == 0)
		return;
	int32_t id = w->free_id[--w->nfree];
	struct node *n = &w->node[id];
	memset(n, 0, sizeof *n);
	choose_kind(w, n);
	memset(n->out, 0xff, sizeof n->out);
	void **p = allocate(n);
	CHECK(p != NULL);
	for (size_t i = 0; i < n->nwords && i < 100; i++)
		CHECK(p[i] == NULL);
	n->hidden = hide(p);
	if (n->decoy) {
		int32_t other = random_node(w);
		n->payload = other != NONE ? (uint64_t)(uintptr_t)words_of(&w->node[other]) : 0;
	}
	if (n->kind == TAGGED)
		n->payload |= NUMBER_TAG;
	((uint64_t *)p)[payload_word(n)] = n->payload;
	decorate(w, id);
	set_root(w, r, id);
	mgc_keep_alive(p);
}

/* free_root - what only this root refers to is given back by hand. */
static void free_root(struct world *w, unsigned r)
{
	int32_t id = w->root[r].node;
	if (id == NONE || w->node[id].nin != 1 || w->node[id].shadowed)
		return;
	void *p = words_of(&w->node[id]);
	set_root(w, r, NONE);
	mgc_free(p);
	if (w->node[id].has_link)
		CHECK(link_of(&w->node[id]) == NULL);
	forget(w, id);
}

/* ── checking ───────────────────────────────────────────────────────────────────────────── */

static void check_node(const struct world *w, int32_t id)
{
	const struct node *n = &w->node[id];
	void **p = words_of(n);
	CHECK(n->hidden != 0);
	if (n->kind != TINY)
		CHECK(mgc_base((char *)p + 1) == p && mgc_size(p) >= 8 * n->nwords);
	CHECK(((uint64_t *)p)[payload_word(n)] == n->payload);
	for (unsigned e = 0; e < n->nedges; e++) {
		void *expected = n->out[e] != NONE ? words_of(&w->node[n->out[e]]) : NULL;
		CHECK(p[edge_word(n, e)] == edge_value(n, expected));
	}
}

/* reach - everything that can be reached from the ids in the queue; stamps it. */
static unsigned reach(struct world *w, unsigned nqueued, bool by_roots)
{
	for (unsigned at = 0; at < nqueued; at++) {
		const struct node *n = &w->node[w->queue[at]];
		for (unsigned e = 0; e < n->nedges; e++) {
			if (n->out[e] == NONE || w->node[n->out[e]].kept == w->check)
				continue;
			w->node[n->out[e]].kept = w->check;
			if (by_roots)
				w->node[n->out[e]].reached = w->check;
			w->queue[nqueued++] = n->out[e];
		}
	}
	return nqueued;
}

static unsigned enqueue(struct world *w, unsigned nqueued, int32_t id, bool by_roots)
{
	if (id == NONE || w->node[id].kept == w->check)
		return nqueued;
	w->node[id].kept = w->check;
	if (by_roots)
		w->node[id].reached = w->check;
	w->queue[nqueued] = id;
	return nqueued + 1;
}

static void find_reachable(struct world *w)
{
	unsigned n = 0;
	w->check++;
	for (unsigned r = 0; r < NROOTS; r++)
		n = enqueue(w, n, w->root[r].node, true);
	for (int32_t id = 0; id < NNODES; id++)
		if (w->node[id].hidden != 0 && w->node[id].kind == UNCOLLECTABLE)
			n = enqueue(w, n, id, true);
	n = reach(w, n, true);
	for (int32_t id = 0; id < NNODES; id++)
		if (w->node[id].hidden != 0 && w->node[id].has_finalizer)
			n = enqueue(w, n, id, false);
	reach(w, n, false);
}

/* check - right after a collection. Exact: nothing but the roots refers to the graph. */
static void check(struct world *w, bool exact)
{
	find_reachable(w);
	w->nchecks++;
	for (int32_t id = 0; id < NNODES; id++) {
		struct node *n = &w->node[id];
		if (n->hidden == 0)
			continue;
		if (n->kept == w->check)
			check_node(w, id);
		if (n->reached == w->check && n->has_link)
			CHECK(link_of(n) == words_of(n));
		if (n->kept == w->check)
			continue;
		w->ndead += n->has_link && link_of(n) == NULL;
		for (unsigned e = 0; e < n->nedges && (!n->has_link || link_of(n) != NULL); e++)
			if (n->out[e] != NONE)
				w->node[n->out[e]].shadowed = true;
		drop_edges(w, id);
	}
	/* what is gone, or cannot be looked at any more, leaves the model; the others stay dead weight */
	for (int32_t id = 0; id < NNODES; id++) {
		struct node *n = &w->node[id];
		if (n->hidden == 0 || n->kept == w->check)
			continue;
		if (!n->has_link || link_of(n) == NULL) {
			forget(w, id);
			continue;
		}
		w->nretained += exact;
		w->nheld += exact && !n->shadowed;
	}
}

/* The world whose finalizers run now. The object cannot be reached by the roots, and is whole. */
static struct world *finalizing;

static void on_finalized(void *obj, void *arg)
{
	struct world *w = finalizing;
	int32_t id = (int32_t)((uintptr_t)arg / 2);
	struct node *n = &w->node[id];
	CHECK(n->hidden == hide(obj) && n->has_finalizer);
	CHECK(n->reached != w->check);
	check_node(w, id);
	n->has_finalizer = false;
	w->nfinalized++;
	if (rng_below(&w->rng, 4) == 0) { /* comes back to life; a short link is gone */
		if (n->has_link && link_of(n) == NULL)
			n->has_link = false;
		unsigned r = (unsigned)rng_below(&w->rng, NROOTS);
		if (w->root[r].node == NONE) /* what another one held could be found dead before the next check */
			set_root(w, r, id);
	}
}

static void run_finalizers(struct world *w)
{
	if (!w->finalizers)
		return;
	find_reachable(w);
	finalizing = w;
	mgc_run_finalizers();
}

/* ── a coroutine that holds some roots ──────────────────────────────────────────────────── */

#define CO_STACK ((size_t)128 << 10)

#ifdef MGC_SANITIZE_THREAD
#define WITH_COROUTINES 0 /* it loses track of switched stacks */
#else
#define WITH_COROUTINES 1
#endif

struct coroutine {
	ucontext_t home, self;
	struct mgc_stack *stack;
	char *memory;
	void **locals; /* on its own stack */
	bool stop;
};

static void co_main(unsigned low, unsigned high)
{
	struct coroutine *co = (struct coroutine *)((uintptr_t)high << 32 | low);
	void *locals[CO_ROOTS] = { NULL };
	co->locals = locals;
	while (!co->stop) {
		mgc_keep_alive(locals);
		mgc_stack_switch(co->stack, NULL);
		swapcontext(&co->self, &co->home);
		CHECK(mgc_alloc(64, NULL, 0) != NULL); /* may collect here */
	}
	co->locals = NULL;
	mgc_stack_switch(co->stack, NULL);
	swapcontext(&co->self, &co->home);
}

static void co_resume(struct coroutine *co)
{
	mgc_stack_switch(NULL, co->stack);
	swapcontext(&co->home, &co->self);
}

static struct coroutine *co_start(void)
{
	struct coroutine *co = calloc(1, sizeof *co);
	co->memory = mmap(NULL, CO_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(co->memory != MAP_FAILED);
	co->stack = mgc_stack_register(co->memory, co->memory + CO_STACK);
	getcontext(&co->self);
	co->self.uc_stack.ss_sp = co->memory;
	co->self.uc_stack.ss_size = CO_STACK;
	makecontext(&co->self, (void (*)(void))co_main, 2, (unsigned)(uintptr_t)co,
		    (unsigned)((uintptr_t)co >> 32));
	co_resume(co);
	return co;
}

static void co_end(struct coroutine *co)
{
	co->stop = true;
	co_resume(co);
	mgc_stack_unregister(co->stack);
	munmap(co->memory, CO_STACK);
	free(co);
}

/* ── a life on one thread ───────────────────────────────────────────────────────────────── */

#define RANGE_ROOTS 32
#define GLOBAL_ROOTS 16
#define TLS_ROOTS 8
#define OWNED_ROOTS 16
#define LOCAL_ROOTS 16
_Static_assert(RANGE_ROOTS + GLOBAL_ROOTS == FIRST_PLAIN_ROOT,
	       "those before it are written with mgc_write");
_Static_assert(RANGE_ROOTS + GLOBAL_ROOTS + TLS_ROOTS + OWNED_ROOTS + LOCAL_ROOTS + CO_ROOTS == NROOTS,
	       "each root has its place");

/* The first two lie in malloc's memory, where nothing else finds them. */
static void *(*range_roots)[RANGE_ROOTS], *(*owned_roots)[OWNED_ROOTS];
static void *global_roots[NWORLDS][GLOBAL_ROOTS], *owned_top[NWORLDS];
static __thread void *tls_roots[TLS_ROOTS], *tls_top;
/* Data segments and thread-local blocks are roots as a whole, so that every cycle stops the world for a
 * moment; else they are registered one by one, and none does. */
static bool with_globals = true;

static unsigned place(struct world *w, unsigned r, void **at, unsigned n)
{
	for (unsigned i = 0; i < n; i++, r++) {
		w->root[r].at = &at[i];
		w->root[r].node = NONE;
		at[i] = NULL;
	}
	return r;
}

static void *receive(void *arg)
{
	void **words = arg;
	for (int i = 0; i < 50; i++)
		CHECK(mgc_alloc(200, NULL, 0) != NULL);
	CHECK(mgc_base(words) == words);
	return NULL;
}

static void pass_to_thread(struct world *w)
{
	pthread_attr_t attr;
	pthread_t t;
	int32_t id = random_node(w);
	if (id == NONE || w->node[id].kind == TINY)
		return;
	void *stack = fresh_stack(&attr);
	CHECK_EQ(mgc_thread_create(&t, &attr, receive, words_of(&w->node[id])), 0);
	pthread_join(t, NULL);
	drop_fresh_stack(&attr, stack);
}

static void wait_blocked(void)
{
	mgc_blocking_enter();
	usleep(20);
	mgc_blocking_leave();
}

static void clear_some_roots(struct world *w)
{
	for (unsigned i = 0; i < NROOTS / 4; i++)
		set_root(w, (unsigned)rng_below(&w->rng, NROOTS), NONE);
	for (int32_t id = 0; id < NNODES; id++) { /* and what was left to live for ever */
		struct node *n = &w->node[id];
		if (n->hidden == 0 || n->kind != UNCOLLECTABLE || n->nin != 0 || n->shadowed)
			continue;
		mgc_free(words_of(n));
		forget(w, id);
	}
}

static void operate(struct world *w)
{
	unsigned r = (unsigned)rng_below(&w->rng, NROOTS), dice = (unsigned)rng_below(&w->rng, 1000);
	int32_t a, b;
	w->nops++;
	if (dice < 300) {
		make_node(w, r);
	} else if (dice < 700) {
		a = random_node(w), b = dice < 650 ? random_node(w) : NONE;
		if (a != NONE && w->node[a].nedges > 0)
			set_edge(w, a, (unsigned)rng_below(&w->rng, w->node[a].nedges), b);
	} else if (dice < 850) {
		set_root(w, r, random_node(w));
	} else if (dice < 900) {
		set_root(w, r, NONE);
	} else if (dice < 950) {
		free_root(w, r);
	} else if (dice < 953 && WITH_COROUTINES) {
		co_resume(w->co);
	} else if (dice == 953) {
		mgc_safepoint();
	}
	if (w->nops % 8192 == 0)
		wait_blocked();
	if (w->nops % 16384 == 0)
		pass_to_thread(w);
	if (w->nfree < NNODES / 20)
		clear_some_roots(w);
}

struct life {
	struct world *w;
	size_t nops, check_every;
	bool alone; /* else others' collections may leave addresses on others' stacks */
};

/* drop_thread_roots - what the thread itself holds ends with it. */
static void drop_thread_roots(struct world *w)
{
	for (unsigned r = RANGE_ROOTS + GLOBAL_ROOTS; r < NROOTS; r++)
		set_root(w, r, NONE);
}

static void *live(void *arg)
{
	const struct life *l = arg;
	struct world *w = l->w;
	void *locals[LOCAL_ROOTS];
	void *spare[CO_ROOTS];
	CHECK_EQ(mgc_thread_attach(), 0);
	if (WITH_COROUTINES)
		w->co = co_start();
	CHECK_EQ(mgc_root_add_owned(owned_roots[w->index], sizeof owned_roots[0], &owned_top[w->index]),
		 0);
	owned_top[w->index] = &owned_roots[w->index][OWNED_ROOTS];
	if (!with_globals)
		CHECK_EQ(mgc_root_add_owned(tls_roots, sizeof tls_roots, &tls_top), 0);
	tls_top = &tls_roots[TLS_ROOTS];
	unsigned r = place(w, RANGE_ROOTS + GLOBAL_ROOTS, tls_roots, TLS_ROOTS);
	r = place(w, r, owned_roots[w->index], OWNED_ROOTS);
	r = place(w, r, locals, LOCAL_ROOTS);
	place(w, r, WITH_COROUTINES ? w->co->locals : spare, CO_ROOTS);
	for (size_t i = 1; i <= l->nops; i++) {
		operate(w);
		if (i % l->check_every == 0) {
			mgc_collect();
			check(w, false);
			run_finalizers(w);
		}
	}
	drop_thread_roots(w);
	if (WITH_COROUTINES)
		co_end(w->co);
	mgc_keep_alive(locals);
	return NULL;
}

static void *check_exactly(void *arg)
{
	CHECK_EQ(mgc_thread_attach(), 0); /* others may collect meanwhile */
	check(arg, true);
	return NULL;
}

static void world_init(struct world *w, unsigned index, bool finalizers)
{
	memset(w, 0, sizeof *w);
	w->rng.state = test_seed();
	w->index = index;
	w->finalizers = finalizers;
	w->node = calloc(NNODES, sizeof *w->node);
	for (int32_t id = 0; id < NNODES; id++)
		w->free_id[w->nfree++] = id;
	unsigned r = place(w, 0, range_roots[index], RANGE_ROOTS);
	place(w, r, global_roots[index], GLOBAL_ROOTS);
	for (r = 0; r < NROOTS; r++)
		w->root[r].node = NONE;
}

static void *prepare_library(void *arg)
{
	range_roots = calloc(NWORLDS, sizeof *range_roots);
	owned_roots = calloc(NWORLDS, sizeof *owned_roots);
	CHECK_EQ(mgc_root_add(range_roots, NWORLDS * sizeof *range_roots, 0), 0);
	if (with_globals)
		CHECK_EQ(mgc_root_add_globals(), 0);
	else
		CHECK_EQ(mgc_root_add(global_roots, sizeof global_roots, 0), 0);
	mgc_run_finalizers();
	if (plain_stores) { /* as the libgc face starts it */
		runtime.gc.barriered = false;
		runtime.gc.concurrent = false;
	}
	return arg;
}

/* run_world - lives, one thread each; after each the world is looked at from afar. */
static void *run_world(void *arg)
{
	struct life *l = arg;
	size_t nlives = 8, nops = l->nops / nlives;
	struct life one = { l->w, nops, l->check_every < nops ? l->check_every : nops, l->alone };
	for (size_t i = 0; i < nlives; i++) {
		on_thread(live, &one);
		collect_afar();
		on_thread(check_exactly, l->w);
	}
	printf("  world %u: %llu operations, %llu checks, %llu found dead, %llu retained (%llu "
	       "held), %llu "
	       "finalized\n",
	       l->w->index, (unsigned long long)l->w->nops, (unsigned long long)l->w->nchecks,
	       (unsigned long long)l->w->ndead, (unsigned long long)l->w->nretained,
	       (unsigned long long)l->w->nheld, (unsigned long long)l->w->nfinalized);
	CHECK(l->w->ndead > l->w->nops / 50);
	/* Beside other threads a stale word may hold an object, and with it all that hangs on it. */
	if (l->alone)
		CHECK_EQ(l->w->nretained, 0);
	CHECK(l->w->nheld <= l->w->ndead / 50);
	return NULL;
}

static void run_alone(size_t nops, size_t check_every)
{
	static struct world w;
	struct life l = { &w, nops, check_every, true };
	on_thread(prepare_library, NULL);
	world_init(&w, 0, true);
	run_world(&l);
	CHECK(w.nfinalized > 0);
}

TEST_SECONDS(alone, 60)
{
	run_alone(test_size(2000000), 20000);
}

/* A collection every few refills, invariants checked in each, what dies is overwritten. */
TEST_SECONDS(alone_under_stress, 60)
{
	setenv("MGC_DEBUG", "gcstress=8,verify=1,clobberfree=1", 1);
	run_alone(test_size(200000), 10000);
}

TEST_SECONDS(alone_with_a_starved_queue, 60)
{
	setenv("MGC_DEBUG", "gcstress=20,verify=1,clobberfree=1,workers=1", 1);
	on_thread(collect, NULL);
	grey_pool_destroy(&runtime.gc.pool);
	runtime.gc.pool.max_slabs = 0;
	run_alone(test_size(100000), 10000);
}

static void run_together(size_t nops, size_t check_every)
{
	static struct world w[NWORLDS];
	struct life l[NWORLDS];
	pthread_t threads[NWORLDS];
	on_thread(prepare_library, NULL);
	for (unsigned i = 0; i < NWORLDS; i++) {
		world_init(&w[i], i, i == 0);
		l[i] = (struct life){ &w[i], nops, check_every, false };
	}
	for (unsigned i = 0; i < NWORLDS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, run_world, &l[i]), 0);
	for (unsigned i = 0; i < NWORLDS; i++)
		pthread_join(threads[i], NULL);
}

TEST_SECONDS(together_without_a_stop, 60)
{
	with_globals = false;
	run_together(test_size(500000), 20000);
	CHECK_EQ(runtime.gc.pause_total_ns, 0);
}

TEST_SECONDS(together_without_a_stop_under_stress, 60)
{
	setenv("MGC_DEBUG", "gcstress=16,clobberfree=1", 1);
	with_globals = false;
	run_together(test_size(100000), 5000);
}

/* Every store has its barrier, and every collection finds everything: looked at by a second one. */
TEST_SECONDS(together_without_a_stop_checked, 60)
{
	setenv("MGC_DEBUG", "gcstress=64,gccheckmark=1", 1);
	with_globals = false;
	run_together(test_size(50000), 5000);
}

TEST_SECONDS(together, 60)
{
	run_together(test_size(500000), 20000);
}

/* without_barrier - the program stores plainly, as those of the libgc face do. False: this system does not
 * tell what is written. */
static bool without_barrier(const char *settings)
{
	uintptr_t page = os_reserve(os_page_size(), 0);
	int err = os_written_start(page, page + os_page_size());
	os_written_stop();
	if (err != 0) {
		printf("  left out: the system does not note written pages (%s)\n", strerror(err));
		return false;
	}
	setenv("MGC_DEBUG", settings, 1);
	plain_stores = true;
	return true;
}

TEST_SECONDS(alone_tracked, 60)
{
	if (without_barrier("tracked=3,gcstress=64,clobberfree=1"))
		run_alone(test_size(200000), 10000);
	CHECK_EQ(runtime.gc.tracked, plain_stores);
}

TEST_SECONDS(together_tracked, 60)
{
	if (without_barrier("tracked=3,clobberfree=1"))
		run_together(test_size(200000), 20000);
	CHECK_EQ(runtime.gc.tracked, plain_stores);
}

TEST_SECONDS(together_tracked_under_stress, 60)
{
	if (without_barrier("tracked=3,gcstress=16,verify=1,clobberfree=1,workers=3"))
		run_together(test_size(40000), 5000);
	CHECK_EQ(runtime.gc.tracked, plain_stores);
}

/* Young cycles, and whole ones beside the program. */
TEST_SECONDS(together_tracked_and_young, 60)
{
	if (without_barrier("tracked=3,young=2,clobberfree=1"))
		run_together(test_size(200000), 20000);
	CHECK_EQ(runtime.gc.tracked, plain_stores);
}

TEST_SECONDS(together_tracked_and_young_under_stress, 60)
{
	if (without_barrier("tracked=3,young=2,gcstress=16,verify=1,clobberfree=1,workers=3"))
		run_together(test_size(40000), 5000);
	CHECK_EQ(runtime.gc.tracked, plain_stores);
}

TEST_SECONDS(alone_young, 60)
{
	if (without_barrier("young=2,gcstress=16,verify=1,clobberfree=1"))
		run_alone(test_size(200000), 10000);
	CHECK_EQ(runtime.gc.young.sticky, plain_stores);
}

TEST_SECONDS(together_young, 60)
{
	if (without_barrier("young=2,clobberfree=1"))
		run_together(test_size(200000), 20000);
	CHECK_EQ(runtime.gc.young.sticky, plain_stores);
}

TEST_SECONDS(together_young_under_stress, 60)
{
	if (without_barrier("young=2,gcstress=16,verify=1,clobberfree=1,workers=3"))
		run_together(test_size(40000), 5000);
	CHECK_EQ(runtime.gc.young.sticky, plain_stores);
}

/* close_descriptors - as a program that becomes a daemon does, again and again. */
static void *close_descriptors(void *arg)
{
	while (!__atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE)) {
		for (int fd = 3; fd < 512; fd++)
			syscall(SYS_close, fd); /* ThreadSanitizer would call close() a race: it is one */
		usleep(2000);
	}
	return NULL;
}

static void run_without_descriptors(const char *settings)
{
	bool done = false;
	pthread_t thread;
	if (!without_barrier(settings))
		return;
	CHECK_EQ(pthread_create(&thread, NULL, close_descriptors, &done), 0);
	run_together(test_size(40000), 5000);
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	CHECK(runtime.gc.written.nfailures > 0);
}

TEST_SECONDS(together_tracked_without_descriptors, 60)
{
	run_without_descriptors("tracked=3,gcstress=16,verify=1,clobberfree=1");
}

TEST_SECONDS(together_young_without_descriptors, 60)
{
	run_without_descriptors("young=2,gcstress=16,verify=1,clobberfree=1");
}

/* Under so many signals qemu-user 7.2 falls over an assertion of its own (cpu == current_cpu), in one of 15
 * runs. */
#ifndef TEST_EMULATED
TEST_SECONDS(together_under_stress, 60)
{
	setenv("MGC_DEBUG", "gcstress=16,verify=1,clobberfree=1,workers=3", 1);
	run_together(test_size(40000), 5000);
}
#endif
