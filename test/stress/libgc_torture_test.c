/* libgc_torture_test.c - the libgc face against a shadow: random graphs whose only holders are stacks,
 * thread-local variables, variables of a library that was loaded late, stacks of coroutines that nobody
 * registered, uncollectable objects, added roots, and objects that only a mark procedure can read; threads
 * that come and go, on stacks and alternate stacks; forks; signals. Collections stop the world, and run beside the
 * program. For MGC_TEST_SECONDS (3 and 2).
 *
 * WHAT   Each thread has a world: a shadow of its graph in memory that no collector reads, which says what each
 *        object contains and refers to, and whether it is reachable. What is must be whole and its link
 *        not null; what is not must be gone in the end, all but a few.
 * links: libgc   not under: thread, address
 * Coroutines whose switches AddressSanitizer is not told of, and handlers on their stacks, are too much for it: it
 * takes what a frame left there for poison. */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include "lib/fiber.h"

/* unpoison - a fresh stack: an earlier one, unmapped in the middle of its frames, may have been there. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define unpoison(p, nbytes) __asan_unpoison_memory_region((p), (nbytes))
#else
#define unpoison(p, nbytes) ((void)0)
#endif

#include <dlfcn.h>
#include <gc/gc.h>
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>
#include <sys/time.h>

#define NNODES 600
#define NCHILDREN 3
#define MAX_WORLDS 8
#define FIBER_NBYTES ((size_t)256 << 10)
#define ALT_NBYTES ((size_t)64 << 10)

/* ── objects ────────────────────────────────────────────────────────────────────────────── */

struct object {
	uint32_t index, seed;
	struct object *child[NCHILDREN];
	uint64_t word[]; /* numbers of which none is an address */
};

enum kind { PLAIN, TYPED, HIDDEN, ATOMIC, NKINDS };

static unsigned hidden_kind;
static GC_descr descriptor;

/* In a HIDDEN object the children are complemented: only its mark procedure finds them. */
static struct object *decode(enum kind kind, const struct object *p)
{
	return kind == HIDDEN && p != NULL ? (struct object *)~(uintptr_t)p : (struct object *)p;
}

static struct GC_ms_entry *mark_hidden(GC_word *addr, struct GC_ms_entry *top,
				       struct GC_ms_entry *limit, GC_word env)
{
	struct object *o = (struct object *)addr;
	for (GC_word i = 0; i < NCHILDREN + env; i++) {
		struct object *c = decode(HIDDEN, o->child[i]);
		if (c != NULL)
			top = GC_MARK_AND_PUSH(c, top, limit, (void **)&o->child[i]);
	}
	return top;
}

static size_t nwords_of(uint32_t seed)
{
	size_t dice = seed % 1000;
	return dice < 2 ? 8000 : dice < 20 ? 600 : seed / 1000 % 20;
}

static void fill(struct object *o, uint32_t index, uint32_t seed)
{
	struct rng r = { seed };
	o->index = index;
	o->seed = seed;
	for (size_t i = 0; i < nwords_of(seed); i++)
		o->word[i] = rng_next(&r) | UINT64_C(1) << 63;
}

static struct object *make_object(enum kind kind, uint32_t index, uint32_t seed)
{
	size_t nbytes = sizeof(struct object) + nwords_of(seed) * 8;
	struct object *o = kind == PLAIN    ? GC_malloc(nbytes)
			   : kind == TYPED  ? GC_malloc_explicitly_typed(nbytes, descriptor)
			   : kind == HIDDEN ? GC_generic_malloc(nbytes, (int)hidden_kind)
					    : GC_malloc_atomic(nbytes);
	CHECK(o != NULL);
	if (kind == ATOMIC)
		memset(o->child, 0, sizeof o->child);
	for (int i = 0; i < NCHILDREN; i++)
		CHECK(o->child[i] == NULL);
	fill(o, index, seed);
	return o;
}

/* ── the shadow ─────────────────────────────────────────────────────────────────────────── */

enum { FREE, USED };

struct node {
	uint32_t state, kind, seed, mark;
	int child[NCHILDREN]; /* -1: none */
	void *link; /* hidden; nulled by the collector */
};

enum place { STACK, TLS, LIBRARY, UNCOLLECTABLE, ADDED, COROUTINE, NPLACES };
#define EACH 2 /* holders of each sort */
#define NHOLDERS (NPLACES * EACH)

struct world {
	struct node node[NNODES];
	int holder[NHOLDERS]; /* shadow: which node it refers to, or -1 */
	struct object **at[NPLACES]; /* EACH cells */
	struct rng r;
	uint32_t next_mark, number;
	uint64_t nmade, nleft; /* unreachable ones that were there at the end */
	uintptr_t uncollectable; /* complemented */
	void *thread;
	void *fiber_sp, *own_sp; /* of the one that does not run */
	char *fiber_lo, *own_hi;
	bool done;
};

static struct object **cell(struct world *w, int h)
{
	return &w->at[h / EACH][h % EACH];
}

static void check_object(const struct world *w, const struct object *o, int index)
{
	const struct node *n = &w->node[index];
	struct rng r = { n->seed };
	CHECK(o != NULL);
	CHECK_EQ(o->index, index);
	CHECK_EQ(o->seed, n->seed);
	for (size_t i = 0; i < nwords_of(n->seed); i++)
		CHECK(o->word[i] == (rng_next(&r) | UINT64_C(1) << 63));
	CHECK(n->state == USED && n->link == (void *)GC_HIDE_POINTER(o));
}

/* check_from - the object and all that it reaches. */
static void check_from(struct world *w, const struct object *o, int index)
{
	struct node *n = &w->node[index];
	if (n->mark == w->next_mark)
		return;
	n->mark = w->next_mark;
	check_object(w, o, index);
	for (int i = 0; i < NCHILDREN; i++) {
		const struct object *c = decode((enum kind)n->kind, o->child[i]);
		CHECK((c == NULL) == (n->child[i] < 0));
		if (c != NULL)
			check_from(w, c, n->child[i]);
	}
}

/* check_world - marks what is reachable with next_mark. */
static void check_world(struct world *w)
{
	w->next_mark++;
	for (int h = 0; h < NHOLDERS; h++) {
		const struct object *o = *cell(w, h);
		CHECK((o == NULL) == (w->holder[h] < 0));
		if (o != NULL)
			check_from(w, o, w->holder[h]);
	}
}

/* recycle - nodes whose objects are gone; how many unreachable ones are not. */
static size_t recycle(struct world *w)
{
	size_t left = 0;
	for (int i = 0; i < NNODES; i++) {
		struct node *n = &w->node[i];
		if (n->state == FREE || n->mark == w->next_mark)
			continue;
		if (n->link == NULL)
			n->state = FREE;
		else
			left++;
	}
	return left;
}

static int free_node(struct world *w)
{
	int at = (int)rng_below(&w->r, NNODES);
	for (int i = 0; i < NNODES; i++)
		if (w->node[(at + i) % NNODES].state == FREE)
			return (at + i) % NNODES;
	return -1;
}

/* ── what a thread does ─────────────────────────────────────────────────────────────────── */

/* walk - a random object that some holder reaches, or NULL. */
static struct object *walk(struct world *w)
{
	struct object *o = *cell(w, (int)rng_below(&w->r, NHOLDERS));
	for (size_t steps = rng_below(&w->r, 12); o != NULL && steps > 0; steps--) {
		struct object *next = decode((enum kind)w->node[o->index].kind,
					     o->child[rng_below(&w->r, NCHILDREN)]);
		if (next != NULL)
			o = next;
	}
	return o;
}

static void set_child(struct world *w, struct object *o, int i, struct object *c)
{
	struct node *n = &w->node[o->index];
	if (n->kind == ATOMIC)
		return;
	o->child[i] = decode((enum kind)n->kind, c);
	n->child[i] = c != NULL ? (int)c->index : -1;
}

static void hold(struct world *w, struct object *o)
{
	int h = (int)rng_below(&w->r, NHOLDERS);
	*cell(w, h) = o;
	w->holder[h] = o != NULL ? (int)o->index : -1;
}

static void collect(struct world *w)
{
	GC_gcollect();
	check_world(w);
	recycle(w);
}

static void add(struct world *w)
{
	int at = free_node(w);
	if (at < 0) { /* drops something, so that there will be */
		hold(w, NULL);
		collect(w);
		return;
	}
	struct node *n = &w->node[at];
	*n = (struct node){ .state = USED,
			    .kind = (uint32_t)rng_below(&w->r, NKINDS),
			    .seed = (uint32_t)rng_next(&w->r),
			    .child = { -1, -1, -1 } };
	struct object *o = make_object((enum kind)n->kind, (uint32_t)at, n->seed);
	w->nmade++;
	n->link = (void *)GC_HIDE_POINTER(o);
	CHECK_EQ(GC_general_register_disappearing_link(&n->link, o), GC_SUCCESS);
	for (int i = 0; i < NCHILDREN; i++)
		set_child(w, o, i, rng_below(&w->r, 3) == 0 ? NULL : walk(w));
	hold(w, o);
}

static void change(struct world *w)
{
	struct object *o = walk(w);
	if (o != NULL)
		set_child(w, o, (int)rng_below(&w->r, NCHILDREN),
			  rng_below(&w->r, 4) == 0 ? NULL : walk(w));
}

/* litter - what is dropped at once; some of it is freed. */
static void litter(struct world *w)
{
	for (size_t i = rng_below(&w->r, 30); i > 0; i--) {
		char *p = rng_below(&w->r, 2) ? GC_malloc(16 + i * 8) : GC_malloc_atomic(16 + i * 40);
		memset(p, 0x7f, 16);
		if (rng_below(&w->r, 4) == 0)
			GC_free(p);
	}
	void *list = rng_below(&w->r, 10) == 0 ? GC_malloc_many(48) : NULL;
	for (; list != NULL; list = GC_NEXT(list))
		CHECK(GC_base(list) == list);
}

static void step(struct world *w)
{
	size_t dice = rng_below(&w->r, 1000);
	if (dice < 450)
		add(w);
	else if (dice < 800)
		change(w);
	else if (dice < 900)
		litter(w);
	else if (dice < 985)
		hold(w, rng_below(&w->r, 2) ? NULL : walk(w));
	else if (dice < 995)
		check_world(w);
	else
		collect(w);
}

/* ── coroutines: each thread has one more stack, which no collector was told of ─────────── */

/* The stack that does not run is pushed by a callback; both change with the allocation lock held, which
 * keeps collections away. */
struct parked {
	char *sp, *hi;
};

static struct parked parked[MAX_WORLDS];
static GC_push_other_roots_proc next_push;

static void push_parked(void)
{
	for (int i = 0; i < MAX_WORLDS; i++)
		if (parked[i].sp != NULL)
			GC_push_all_eager(parked[i].sp, parked[i].hi);
	if (next_push != NULL)
		next_push();
}

/* jump - leaves the stack that ends at from_hi. */
static void jump(struct world *w, void **from_sp, char *from_hi, void *to_sp, char *to_hi)
{
	struct GC_stack_base sb = { to_hi };
	GC_alloc_lock();
	char *here = __builtin_frame_address(0);
	parked[w->number].sp = (char *)((uintptr_t)(here - 512) & ~(uintptr_t)15); /* and what jump saves */
	parked[w->number].hi = from_hi;
	GC_set_stackbottom(w->thread, &sb);
	fiber_jump(from_sp, to_sp);
	GC_alloc_unlock();
}

static NOINLINE void fiber_work(struct world *w)
{
	struct object *volatile cells[EACH] = { NULL };
	char *hi = w->fiber_lo + FIBER_NBYTES;
	w->at[COROUTINE] = (struct object **)cells;
	GC_alloc_unlock(); /* of the jump that came here first */
	while (!w->done) {
		jump(w, &w->fiber_sp, hi, w->own_sp, w->own_hi);
		for (size_t n = rng_below(&w->r, 40); n > 0 && !w->done; n--)
			step(w);
	}
	jump(w, &w->fiber_sp, hi, w->own_sp, w->own_hi);
}

static void fiber_main(void *arg)
{
	fiber_work(arg);
	abort();
}

static void run_fiber(struct world *w)
{
	jump(w, &w->own_sp, w->own_hi, w->fiber_sp, w->fiber_lo + FIBER_NBYTES);
}

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

static __thread struct object *tls_cells[EACH];
/* Of a library that is loaded late: cells of MAX_WORLDS threads, and a function that gives the calling
 * thread's own, which are not part of its stack. NULL: there is no compiler. */
static struct object **library_cells;
static struct object **(*library_tls)(void);
static double until;
static uint32_t nborn, nforks, nalarms;
static uint64_t nmade, nleft;
static pthread_mutex_t totals = PTHREAD_MUTEX_INITIALIZER;

static void on_alarm(int sig)
{
	volatile char room[2000];
	(void)sig;
	for (size_t i = 0; i < 100 * sizeof room; i++) /* long enough for stops to come */
		room[i % sizeof room] = (char)i;
	__atomic_fetch_add(&nalarms, 1, __ATOMIC_RELAXED);
}

static void alarms(int how)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(how, &set, NULL);
}

/* in_child - a fork has this thread only: its world is whole, and it can collect. */
static void in_child(struct world *w)
{
	check_world(w);
	for (int i = 0; i < 50; i++)
		step(w);
	collect(w);
	_exit(0);
}

static void fork_here(struct world *w)
{
	int status;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		in_child(w);
	CHECK(pid > 0);
	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	__atomic_fetch_add(&nforks, 1, __ATOMIC_RELAXED);
}

static void prepare(struct world *w)
{
	struct GC_stack_base sb;
	w->thread = GC_get_my_stackbottom(&sb);
	w->own_hi = sb.mem_base;
	void **u = GC_malloc_uncollectable(EACH * sizeof(void *));
	w->uncollectable = hide(u);
	w->at[UNCOLLECTABLE] = (struct object **)u;
	w->at[ADDED] = calloc(EACH, sizeof(void *));
	GC_add_roots(w->at[ADDED], w->at[ADDED] + EACH);
	w->at[TLS] = library_tls != NULL ? library_tls() : tls_cells;
	w->at[LIBRARY] = library_cells != NULL ? library_cells + w->number * EACH : tls_cells;
	for (int i = 0; i < EACH; i++)
		w->at[TLS][i] = w->at[LIBRARY][i] = NULL;
	for (int h = 0; h < NHOLDERS; h++)
		w->holder[h] = -1;
	w->fiber_lo =
		mmap(NULL, FIBER_NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(w->fiber_lo != MAP_FAILED);
	unpoison(w->fiber_lo, FIBER_NBYTES);
	w->fiber_sp = fiber_make(w->fiber_lo + FIBER_NBYTES, fiber_main, w);
}

/* finish - lets everything go; what is left of the objects is counted. */
static void finish(struct world *w)
{
	w->done = true;
	run_fiber(w);
	parked[w->number].sp = NULL;
	for (int h = 0; h < NHOLDERS; h++) {
		*cell(w, h) = NULL;
		w->holder[h] = -1;
	}
	munmap(w->fiber_lo, FIBER_NBYTES);
	GC_remove_roots(w->at[ADDED], w->at[ADDED] + EACH);
	free(w->at[ADDED]);
	GC_free(unhide(w->uncollectable));
}

static NOINLINE void live(struct world *w)
{
	struct object *volatile cells[EACH] = { NULL };
	w->at[STACK] = (struct object **)cells;
	run_fiber(w); /* until it has its cells */
	size_t rounds = 30 + rng_below(&w->r, 200);
	while (rounds-- > 0 && now_seconds() < until) {
		for (size_t n = rng_below(&w->r, 40); n > 0; n--)
			step(w);
		run_fiber(w);
		if (rng_below(&w->r, 60) == 0)
			fork_here(w);
	}
	check_world(w);
	finish(w);
}

static void *thread_main(void *arg)
{
	struct world *w = arg;
	stack_t alt = { .ss_size = ALT_NBYTES };
	struct GC_stack_base sb;
	if (w->r.state % 2) {
		CHECK_EQ(GC_get_stack_base(&sb), GC_SUCCESS);
		int r = GC_register_my_thread(&sb);
		CHECK(r == GC_SUCCESS || r == GC_DUPLICATE);
	}
	if (w->r.state % 3 == 0) { /* signal handlers run on a stack of their own */
		alt.ss_sp = mmap(NULL, ALT_NBYTES, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		unpoison(alt.ss_sp, ALT_NBYTES);
		CHECK_EQ(sigaltstack(&alt, NULL), 0);
		GC_register_altstack(NULL, 0, alt.ss_sp, ALT_NBYTES);
	}
	prepare(w);
	alarms(SIG_UNBLOCK);
	live(w);
	alarms(SIG_BLOCK);
	if (alt.ss_sp != NULL) {
		alt.ss_flags = SS_DISABLE;
		sigaltstack(&alt, NULL);
		GC_register_altstack(NULL, 0, NULL, 0);
		munmap(alt.ss_sp, ALT_NBYTES);
	}
	return NULL;
}

/* settle - the thread is gone, and with it whatever held its objects. */
static void settle(struct world *w)
{
	w->next_mark++;
	for (int i = 0; i < 3; i++)
		GC_gcollect();
	w->nleft = recycle(w);
	for (int i = 0; i < NNODES; i++)
		if (w->node[i].state == USED)
			GC_unregister_disappearing_link(&w->node[i].link);
	pthread_mutex_lock(&totals);
	nmade += w->nmade;
	nleft += w->nleft;
	pthread_mutex_unlock(&totals);
	free(w);
}

/* keep_one - threads that follow each other in one place. Half of them are known to the collector from the
 * start. */
static void *keep_one(void *number)
{
	struct rng r = { test_seed() + (uintptr_t)number };
	while (now_seconds() < until) {
		struct world *w = calloc(1, sizeof *w);
		pthread_t t;
		w->r.state = rng_next(&r);
		w->number = (uint32_t)(uintptr_t)number;
		pthread_attr_t attr;
		void *stack = fresh_stack(&attr);
		int err = rng_below(&r, 2) ? GC_pthread_create(&t, &attr, thread_main, w)
					   : pthread_create(&t, &attr, thread_main, w);
		CHECK_EQ(err, 0);
		GC_pthread_join(t, NULL);
		drop_fresh_stack(&attr, stack);
		__atomic_fetch_add(&nborn, 1, __ATOMIC_RELAXED);
		settle(w);
	}
	return NULL;
}

/* load_library - variables that are mapped when the program runs already. */
static void load_library(void)
{
	char folder[] = "/tmp/mallocgc-torture-XXXXXX", command[400];
	CHECK(mkdtemp(folder) != NULL);
	snprintf(command, sizeof command,
		 "cd %s && echo 'void *cells[%d]; static __thread void *own[2]; void **mine(void) "
		 "{ return own; }' "
		 "> cells.c && cc -shared -fPIC -o cells.so cells.c",
		 folder, MAX_WORLDS * EACH);
	if (system(command) == 0) {
		snprintf(command, sizeof command, "%s/cells.so", folder);
		void *library = GC_dlopen(command, RTLD_NOW);
		CHECK(library != NULL);
		library_cells = dlsym(library, "cells");
		*(void **)&library_tls = dlsym(library, "mine");
	}
	snprintf(command, sizeof command, "rm -r %s", folder);
	CHECK_EQ(system(command), 0);
}

static void torture(unsigned seconds)
{
	pthread_t t[MAX_WORLDS];
	struct itimerval often = { { 0, 3000 }, { 0, 3000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART | SA_ONSTACK };
	GC_word bits[1] = { 0xe }; /* the children */
	int n = TEST_SLOW ? 3 : 5;
	GC_set_handle_fork(1);
	GC_INIT();
	GC_allow_register_threads();
	load_library();
	descriptor = GC_make_descriptor(bits, 4);
	unsigned proc = GC_new_proc(mark_hidden);
	hidden_kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(proc, 0), 0, 1);
	next_push = GC_get_push_other_roots();
	GC_set_push_other_roots(push_parked);
	until = now_seconds() + test_seconds(seconds);
	sigaction(SIGALRM, &sa, NULL);
	alarms(SIG_BLOCK); /* they are for the threads that have a world */
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < n; i++)
		CHECK_EQ(GC_pthread_create(&t[i], NULL, keep_one, (void *)(uintptr_t)i), 0);
	for (int i = 0; i < n; i++)
		CHECK_EQ(GC_pthread_join(t[i], NULL), 0);
	setitimer(ITIMER_REAL, &never, NULL);
	printf("  %u threads, %u forks, %u signals, %lu collections, %lu objects, %lu left "
	       "behind\n",
	       nborn, nforks, nalarms, (unsigned long)GC_get_gc_no(), (unsigned long)nmade,
	       (unsigned long)nleft);
	CHECK(nborn > 0 && nmade > 100);
	CHECK(nleft * 10 < nmade);
}

TEST_SECONDS(torture, 600)
{
	torture(3);
}

/* The heap is too small for a collection to run beside the program by itself. */
TEST_SECONDS(torture_beside, 600)
{
	setenv("MGC_DEBUG", "tracked=3", 0);
	torture(2);
}
