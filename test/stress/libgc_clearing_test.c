/* libgc_clearing_test.c - links are nulled and finalizers queued when the stop is over, and no thread gets at what the
 * collection found dead: not by a link that is still to be nulled, not by a queue.
 *
 * WHAT   First, by the events of one collection: while it sleeps between the stop's end and that, who has the allocation lock
 *        waits, and then finds every link null. Then for MGC_TEST_SECONDS (2 each) threads that make objects with links and
 *        finalizers of all orders, lose them, get some back by a link or in a finalizer, and move what these refer
 *        to elsewhere. Whatever they hold must be whole. In both forms of a collection. And where one that finds too little
 *        dead is followed by a whole one at once, which may do all in its stop although the first one did not.
 * links: libgc */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include "lib/plain.h"

#include <gc/gc.h>
#include <gc/gc_mark.h>
#include <gc/javaxfc.h>
#include <pthread.h>
#include <signal.h>

static void *masked(void *p)
{
	return (void *)~(uintptr_t)p;
}

static void *follow(void *link)
{
	void *word = *(void **)link;
	return word != NULL ? masked(word) : NULL;
}

/* ── who follows a link waits ───────────────────────────────────────────────────────────── */

#define NLINKS 4000
#define ASLEEP_NS 30000000L

static void **links; /* of malloc */
static uint32_t running, nlate, nfound, nread, standing;
static pthread_t collecting;

static void sleep_ns(long ns)
{
	struct timespec t = { 0, ns };
	nanosleep(&t, NULL);
}

/* on_event - the world runs again after the last stop: lets the reader begin, and gives it time. */
static void on_event(GC_EventType e)
{
	static bool marked;
	if (e == GC_EVENT_POST_STOP_WORLD)
		__atomic_store_n(&standing, 1, __ATOMIC_RELEASE);
	else if (e == GC_EVENT_PRE_START_WORLD)
		__atomic_store_n(&standing, 0, __ATOMIC_RELEASE);
	if (!pthread_equal(collecting, pthread_self()))
		return;
	if (e == GC_EVENT_POST_STOP_WORLD)
		marked = false;
	else if (e == GC_EVENT_MARK_END)
		marked = true;
	if (e != GC_EVENT_POST_START_WORLD || !marked || __atomic_load_n(&running, __ATOMIC_RELAXED))
		return;
	for (int i = 1; i < NLINKS; i++)
		nlate += links[i] != NULL;
	__atomic_store_n(&running, 1, __ATOMIC_RELEASE);
	sleep_ns(ASLEEP_NS);
}

static bool may_lock;

/* reader - has the lock once before, if it may, and never again until it may begin. */
static void *reader(void *arg)
{
	if (may_lock)
		GC_call_with_alloc_lock(follow, &links[0]);
	__atomic_store_n(&nread, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&running, __ATOMIC_ACQUIRE))
		sleep_ns(100000);
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL); /* no signal wakes it for another stop */
	for (int i = 1; i < NLINKS && may_lock; i++)
		nfound += GC_call_with_alloc_lock(follow, &links[i]) != NULL;
	return arg;
}

static NOINLINE void make_links(void)
{
	links = calloc(NLINKS, sizeof *links);
	for (int i = 0; i < NLINKS; i++) {
		void *p = GC_malloc_atomic(32);
		links[i] = masked(p);
		CHECK_EQ(GC_general_register_disappearing_link(&links[i], p), GC_SUCCESS);
	}
}

/* spoil - what is left of addresses on the stack. */
static NOINLINE void spoil(void)
{
	volatile char room[8000];
	for (size_t i = 0; i < sizeof room; i++)
		room[i] = 0;
}

static void collect_and_look(void)
{
	spoil();
	collecting = pthread_self();
	GC_set_on_collection_event(on_event);
	GC_gcollect();
	GC_set_on_collection_event(NULL);
	__atomic_store_n(&running, 1, __ATOMIC_RELEASE);
	printf("  %u links were to be nulled after the stop\n", nlate);
}

static void collect_before_reader(void)
{
	pthread_t t;
	GC_INIT();
	GC_gcollect(); /* the first one stops the world for all of it */
	make_links();
	CHECK_EQ(GC_pthread_create(&t, NULL, reader, NULL), 0);
	while (!__atomic_load_n(&nread, __ATOMIC_ACQUIRE))
		sleep_ns(100000);
	collect_and_look();
	CHECK_EQ(GC_pthread_join(t, NULL), 0);
	CHECK(nfound < NLINKS / 100); /* those that a stale word keeps */
}

TEST_SECONDS(a_reader_waits, 60)
{
	setenv("MGC_DEBUG", "tracked=0,young=0", 0);
	may_lock = true;
	collect_before_reader();
	CHECK(nlate > NLINKS / 2);
}

TEST_SECONDS(a_reader_waits_beside, 60)
{
	setenv("MGC_DEBUG", "tracked=3", 0);
	may_lock = true;
	collect_before_reader();
	CHECK(nlate > NLINKS / 2);
}

/* Then its threads follow links without it, if they do. */
TEST_SECONDS(links_of_who_never_locks_are_nulled_in_the_stop, 60)
{
	collect_before_reader();
	CHECK_EQ(nlate, 0);
}

/* As with libgc it finds everything done when it goes on. */
TEST_SECONDS(a_single_thread_sees_no_difference, 60)
{
	GC_INIT();
	make_links();
	GC_call_with_alloc_lock(follow, &links[0]);
	collect_and_look();
	CHECK_EQ(nlate, 0);
}

/* ── procedures of the program ──────────────────────────────────────────────────────────── */

static uint32_t nmarked_running, nfirst, nsecond, nstarts, npushes;
static unsigned secret_kind;

static struct GC_ms_entry *mark_secret(GC_word *addr, struct GC_ms_entry *top,
				       struct GC_ms_entry *limit, GC_word env)
{
	(void)env;
	nmarked_running += !__atomic_load_n(&standing, __ATOMIC_ACQUIRE);
	return *addr != 0 ? GC_MARK_AND_PUSH(masked((void *)*addr), top, limit, (void **)addr) : top;
}

static void count_start(void)
{
	nstarts++;
}

static void count_push(void)
{
	npushes++;
}

static void count(void *obj, void *arg)
{
	(void)obj;
	++*(uint32_t *)arg;
}

/* make_chain - A, which only its procedure knows to refer to B, which refers to C in the same way. A and C have finalizers. */
static NOINLINE void make_chain(void)
{
	void **a = GC_generic_malloc(64, (int)secret_kind),
	     **b = GC_generic_malloc(64, (int)secret_kind);
	void *c = GC_malloc_atomic(64);
	*a = masked(b);
	*b = masked(c);
	GC_register_finalizer(a, count, &nfirst, NULL, NULL);
	GC_register_finalizer(c, count, &nsecond, NULL, NULL);
}

static void keep_order(void)
{
	pthread_t t;
	GC_INIT();
	GC_gcollect();
	secret_kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(GC_new_proc(mark_secret), 0), 0, 1);
	may_lock = true;
	GC_set_start_callback(count_start);
	GC_set_push_other_roots(count_push);
	make_links();
	CHECK_EQ(GC_pthread_create(&t, NULL, reader, NULL), 0);
	while (!__atomic_load_n(&nread, __ATOMIC_ACQUIRE))
		sleep_ns(100000);
	for (int i = 0; i < 50; i++)
		make_chain();
	collect_and_look(); /* the reader waits already when the procedures are called, in another stop */
	GC_invoke_finalizers();
	printf("  %u first ones were finalized, %u second ones with them\n", nfirst, nsecond);
	CHECK_EQ(nmarked_running, 0);
	CHECK(nstarts > 0);
	CHECK_EQ(nstarts, npushes); /* in the other stop, too */
	CHECK(nfirst > 40 && nsecond < 3);
	CHECK_EQ(GC_pthread_join(t, NULL), 0);
}

TEST_SECONDS(procedures_keep_the_order, 60)
{
	setenv("MGC_DEBUG", "tracked=0,young=0", 0);
	keep_order();
}

TEST_SECONDS(procedures_keep_the_order_beside, 60)
{
	setenv("MGC_DEBUG", "tracked=3", 0);
	keep_order();
}

/* ── who was at the queue already ───────────────────────────────────────────────────────── */

#define NEARLIER 20

static uint32_t at_queue, goes_on, nclearing, nearly;

/* hold_up - the first finalizer that its thread runs keeps it until what the next collection queues is being marked. */
static void hold_up(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
	publish(&at_queue, 1);
	spin_until(&goes_on, 1);
}

static void look_early(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
	nearly += __atomic_load_n(&nclearing, __ATOMIC_ACQUIRE);
}

static NOINLINE void make_earlier(void)
{
	for (int i = 0; i < NEARLIER; i++)
		GC_register_finalizer(GC_malloc(64), hold_up, NULL, NULL, NULL);
}

static NOINLINE void make_chains(void)
{
	for (int i = 0; i < 50; i++) {
		void **a = GC_generic_malloc(64, (int)secret_kind);
		*a = masked(GC_generic_malloc(64, (int)secret_kind));
		GC_register_finalizer(a, look_early, NULL, NULL, NULL);
	}
}

static void *run_queue(void *arg)
{
	while (!GC_should_invoke_finalizers())
		sleep_ns(100000);
	GC_invoke_finalizers();
	return arg;
}

/* let_go_on - the world runs again after the third stop: the first is the mark's, the second for the procedures of what is
 * kept for finalizers, the third for those of objects that are queued by now. */
static void let_go_on(GC_EventType e)
{
	static bool marked;
	static unsigned nstops;
	if (e == GC_EVENT_START)
		marked = false;
	if (e == GC_EVENT_MARK_END && !marked) {
		marked = true;
		nstops = 0;
	}
	if (e != GC_EVENT_POST_START_WORLD || !marked || ++nstops != 3)
		return;
	__atomic_store_n(&nclearing, 1, __ATOMIC_RELEASE);
	publish(&goes_on, 1);
	sleep_ns(ASLEEP_NS);
	__atomic_store_n(&nclearing, 0, __ATOMIC_RELEASE);
}

/* Who waits for the end of it waits before his first finalizer; but this one is between two. */
TEST_SECONDS(nothing_is_taken_while_it_is_marked, 60)
{
	pthread_t t;
	setenv("MGC_DEBUG", "tracked=0,young=0", 0);
	GC_INIT();
	GC_set_finalize_on_demand(1);
	secret_kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(GC_new_proc(mark_secret), 0), 0, 1);
	make_earlier();
	CHECK_EQ(GC_pthread_create(&t, NULL, run_queue, NULL), 0);
	spoil();
	GC_gcollect();
	spin_until(&at_queue, 1);
	make_links();
	GC_call_with_alloc_lock(follow, &links[0]);
	GC_set_on_collection_event(let_go_on);
	make_chains();
	spoil();
	GC_gcollect();
	GC_set_on_collection_event(NULL);
	CHECK_EQ(goes_on, 1); /* there was such a stop */
	CHECK_EQ(GC_pthread_join(t, NULL), 0);
	GC_invoke_finalizers();
	CHECK_EQ(nearly, 0);
}

/* ── what comes back is whole ───────────────────────────────────────────────────────────── */

#define NTHREADS 3
#define NENTRIES 3000
#define NHELD 64
#define NCHILDREN 2

struct node {
	uint64_t seal; /* of number and serial */
	uint32_t number, serial;
	struct node *child[NCHILDREN]; /* atomic: two threads may have it; of an object of the hidden kind: complemented */
	uint64_t kind;
};

struct entry {
	void *link, *long_link; /* hidden */
	bool has_long;
};

struct worker {
	struct rng r;
	struct entry *entry; /* of malloc */
	struct node **held; /* uncollectable */
	uint32_t base, serial;
	uint64_t nmade, nfollowed;
};

static __thread struct worker *self;
static unsigned hidden_kind;
static double until;
static uint64_t nfinalized, nrevived;

static uint64_t seal(uint32_t number, uint32_t serial)
{
	return (((uint64_t)number << 32 | serial) * UINT64_C(0x9e3779b97f4a7c15)) | UINT64_C(1) << 63;
}

static struct node *child_of(const struct node *n, unsigned i)
{
	struct node *c = __atomic_load_n(&n->child[i], __ATOMIC_ACQUIRE);
	return c != NULL && n->kind ? masked(c) : c;
}

static void set_child(struct node *n, unsigned i, struct node *c)
{
	__atomic_store_n(&n->child[i], c != NULL && n->kind ? masked(c) : c, __ATOMIC_RELEASE);
}

static struct GC_ms_entry *mark_hidden(GC_word *addr, struct GC_ms_entry *top,
				       struct GC_ms_entry *limit, GC_word env)
{
	struct node *n = (struct node *)addr;
	(void)env;
	for (unsigned i = 0; i < NCHILDREN; i++) {
		void *c = __atomic_load_n(&n->child[i], __ATOMIC_ACQUIRE);
		if (c != NULL)
			top = GC_MARK_AND_PUSH(masked(c), top, limit, (void **)&n->child[i]);
	}
	return top;
}

static void check_whole(const struct node *n, unsigned depth)
{
	CHECK_EQ(n->seal, seal(n->number, n->serial));
	for (unsigned i = 0; i < NCHILDREN && depth > 0; i++) {
		const struct node *c = child_of(n, i); /* once: another thread may change it */
		if (c != NULL)
			check_whole(c, depth - 1);
	}
}

static void hold(struct worker *w, struct node *n)
{
	w->held[rng_below(&w->r, NHELD)] = n;
}

static struct node *any_held(struct worker *w)
{
	return w->held[rng_below(&w->r, NHELD)];
}

/* rearrange - what n refers to is held by others from now on, and n refers to something else. */
static void rearrange(struct worker *w, struct node *n)
{
	unsigned k = (unsigned)rng_below(&w->r, NCHILDREN);
	struct node *c = child_of(n, k);
	set_child(n, k, any_held(w));
	if (c != NULL)
		check_whole(c, 1);
	hold(w, c);
}

static void finalize(void *obj, void *arg)
{
	struct node *n = obj;
	struct worker *w = self;
	(void)arg;
	check_whole(n, 3);
	__atomic_fetch_add(&nfinalized, 1, __ATOMIC_RELAXED);
	if (w == NULL)
		return;
	rearrange(w, n);
	if (rng_below(&w->r, 3) != 0)
		return;
	__atomic_fetch_add(&nrevived, 1, __ATOMIC_RELAXED);
	hold(w, n);
	if (rng_below(&w->r, 2))
		GC_register_finalizer_no_order(n, finalize, NULL, NULL, NULL);
}

static void set_finalizer(struct worker *w, struct node *n)
{
	switch (rng_below(&w->r, 8)) {
	case 0:
		GC_register_finalizer(n, finalize, NULL, NULL, NULL);
		break;
	case 1:
		GC_register_finalizer_ignore_self(n, finalize, NULL, NULL, NULL);
		break;
	case 2:
		GC_register_finalizer_no_order(n, finalize, NULL, NULL, NULL);
		break;
	case 3:
		GC_register_finalizer_unreachable(n, finalize, NULL, NULL, NULL);
		break;
	default:
		break;
	}
}

static NOINLINE void make(struct worker *w, uint32_t i)
{
	struct entry *e = &w->entry[i];
	if (__atomic_load_n(&e->link, __ATOMIC_ACQUIRE) != NULL ||
	    (e->has_long && __atomic_load_n(&e->long_link, __ATOMIC_ACQUIRE) != NULL))
		return;
	bool hidden = rng_below(&w->r, 16) == 0;
	struct node *n =
		hidden ? GC_generic_malloc(sizeof *n, (int)hidden_kind) : GC_malloc(sizeof *n);
	n->number = w->base + i;
	n->serial = w->serial++;
	n->seal = seal(n->number, n->serial);
	n->kind = hidden;
	for (unsigned k = 0; k < NCHILDREN; k++)
		set_child(n, k, any_held(w));
	e->link = masked(n);
	CHECK_EQ(GC_general_register_disappearing_link(&e->link, n), GC_SUCCESS);
	e->has_long = rng_below(&w->r, 2) != 0;
	e->long_link = masked(n);
	if (e->has_long)
		CHECK_EQ(GC_register_long_link(&e->long_link, n), GC_SUCCESS);
	set_finalizer(w, n);
	hold(w, n);
	w->nmade++;
}

static NOINLINE void get_back(struct worker *w, uint32_t i)
{
	struct entry *e = &w->entry[i];
	void **link = e->has_long && rng_below(&w->r, 2) ? &e->long_link : &e->link;
	struct node *n = GC_call_with_alloc_lock(follow, link);
	if (n == NULL)
		return;
	w->nfollowed++;
	CHECK_EQ(n->number, w->base + i);
	check_whole(n, 2);
	rearrange(w, n);
	if (rng_below(&w->r, 4) == 0)
		hold(w, n);
}

static NOINLINE void work_a_little(struct worker *w)
{
	for (int n = 0; n < 200; n++)
		make(w, (uint32_t)rng_below(&w->r, NENTRIES));
	for (int n = 0; n < 60; n++)
		get_back(w, (uint32_t)rng_below(&w->r, NENTRIES));
	for (int n = 0; n < 200; n++) /* what takes the place of the dead */
		memset(GC_malloc_atomic(sizeof(struct node)), 0x55, sizeof(struct node));
	for (int n = 0; n < NHELD; n++)
		if (w->held[n] != NULL)
			check_whole(w->held[n], 2);
	for (int n = 0; n < 8; n++)
		hold(w, NULL);
}

static void *worker(void *arg)
{
	struct worker *w = arg;
	w->entry = calloc(NENTRIES, sizeof *w->entry);
	w->held = GC_malloc_uncollectable(NHELD * sizeof *w->held);
	self = w; /* finalizers that ran before that found nobody to hold anything */
	while (now_seconds() < until) {
		work_a_little(w);
		if (w->base == 0 && rng_below(&w->r, 8) == 0)
			GC_gcollect();
		if (w->base == NENTRIES && rng_below(&w->r, 100) == 0)
			GC_finalize_all();
	}
	return NULL;
}

static void shuffle(void)
{
	static struct worker w[NTHREADS];
	pthread_t t[NTHREADS];
	uint64_t nmade = 0, nfollowed = 0;
	GC_INIT();
	unsigned proc = GC_new_proc(mark_hidden);
	hidden_kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(proc, 0), 0, 1);
	until = now_seconds() + test_seconds(2);
	for (uint32_t i = 0; i < NTHREADS; i++) {
		w[i] = (struct worker){ .r = { test_seed() + i }, .base = i * NENTRIES };
		CHECK_EQ(GC_pthread_create(&t[i], NULL, worker, &w[i]), 0);
	}
	for (int i = 0; i < NTHREADS; i++) {
		CHECK_EQ(GC_pthread_join(t[i], NULL), 0);
		nmade += w[i].nmade;
		nfollowed += w[i].nfollowed;
	}
	printf("  %lu objects in %lu collections, %lu links followed, %lu finalized, %lu of them "
	       "came back\n",
	       (unsigned long)nmade, (unsigned long)GC_get_gc_no(), (unsigned long)nfollowed,
	       (unsigned long)nfinalized, (unsigned long)nrevived);
	CHECK(nmade > 1000 && nfollowed > 100 && nfinalized > 100 && nrevived > 10);
}

TEST_SECONDS(what_comes_back_is_whole, 120)
{
	setenv("MGC_DEBUG", "tracked=0", 0);
	shuffle();
}

TEST_SECONDS(what_comes_back_is_whole_beside, 120)
{
	setenv("MGC_DEBUG", "tracked=3", 0);
	shuffle();
}

/* ── the second collection of two ───────────────────────────────────────────────────────── */

#define NFRESH 500
#define NGROWN 600000

struct fresh {
	struct fresh *next;
	uint64_t seal, spare[2];
};

static uint32_t grown, nfreshly_dead;

/* after_a_stop - as if what comes now took long. */
static void after_a_stop(GC_EventType e)
{
	if (e == GC_EVENT_POST_START_WORLD)
		sleep_ns(2000000);
}

/* make_fresh - the newest and all before it are held; its finalizer may not run before `made` is cleared. */
static NOINLINE void make_fresh(struct fresh **made, uint32_t serial)
{
	struct fresh *f = GC_malloc(sizeof *f);
	CHECK(f->next == NULL && f->seal == 0);
	f->seal = seal(1, serial);
	f->next = *made;
	GC_register_finalizer_no_order(f, count, &nfreshly_dead, NULL, NULL);
	*made = f;
}

static void *make_freshly(void *arg)
{
	struct fresh **made = GC_malloc_uncollectable(sizeof *made);
	while (!__atomic_load_n(&grown, __ATOMIC_ACQUIRE)) {
		for (uint32_t i = 0; i < NFRESH; i++)
			make_fresh(made, i);
		uint32_t serial = NFRESH;
		for (const struct fresh *f = *made; f != NULL; f = f->next)
			CHECK_EQ(f->seal, seal(1, --serial));
		CHECK_EQ(serial, 0);
		CHECK_EQ(nfreshly_dead, 0);
		while (*made != NULL) { /* what is lost later has no finalizer */
			GC_register_finalizer_no_order(*made, NULL, NULL, NULL, NULL);
			*made = (*made)->next;
		}
	}
	return arg;
}

/* A heap that grows by objects with finalizers: its young collections expect that many of these go, and find none dead. */
TEST_SECONDS(the_second_of_two_begins_anew, 120)
{
	struct fresh *all = NULL;
	static uint32_t ndead;
	pthread_t t;
	setenv("MGC_DEBUG", "tracked=0,young=2", 0);
	GC_INIT();
	GC_set_on_collection_event(after_a_stop);
	CHECK_EQ(GC_pthread_create(&t, NULL, make_freshly, NULL), 0);
	for (uint32_t i = 0; i < NGROWN; i++) {
		struct fresh *f = GC_malloc(sizeof *f);
		f->next = all;
		all = f;
		GC_register_finalizer_no_order(f, count, &ndead, NULL, NULL);
	}
	__atomic_store_n(&grown, 1, __ATOMIC_RELEASE);
	CHECK_EQ(GC_pthread_join(t, NULL), 0);
	CHECK_EQ(ndead, 0);
	CHECK(all != NULL);
	printf("  %lu collections\n", (unsigned long)GC_get_gc_no());
}
