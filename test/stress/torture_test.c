/* torture_test.c (plain) - everything at once, against a shadow: threads born and dying, fibers that move
 * between them, a fork now and then, signals storming, explicit frees, links, finalizers, owned ranges, roots,
 * mail between threads, while collections follow each other. No object may be lost, or change.
 *
 * WHAT   A box has a number that is never used twice and a canary made of number and address, and beside each
 *        of its references the number of the box that it refers to. A life (of a thread or a fiber) holds boxes
 *        on its stack, in cells that only it changes, in its shelf (a root) and in an owned range; its shadow in
 *        malloc's memory has their numbers. What died is overwritten, and what lies there next has another
 *        number: so a box that was lost shows when it is looked at.
 *        Mail is a heap object whose slots are exchanged between threads; a letter names the slot that it was
 *        put into, which no other box can.
 * ENV    MGC_TEST_SECONDS, THREADS (make soak: 30 minutes, 64 threads).
 * not under: cross */
#include "lib/afar.h"

#include "lib/fiber.h"

#include <ucontext.h>

#include "face/runtime.h"

#define MAX_THREADS 256
#define NSEALED 16 /* of a life's boxes: those that never change */
#define NCELLS 8
#define NHELD (NSEALED + NCELLS)
#define NSHELF 8
#define NLINKS 4
#define NMAIL 8
#define NSLOTS 6
#define NFIBERS 6
#if defined(MGC_SANITIZE_THREAD) || defined(MGC_SANITIZE_ADDRESS)
/* ThreadSanitizer lets no child start threads; AddressSanitizer's allocator may stay locked in one. */
#define WITH_FORKS false
#else
#define WITH_FORKS true
#endif

struct box {
	struct box *edge[2];
	uint64_t edge_id[2];
	uint64_t id, canary, home;
	uint32_t finalized, is_cell;
};
static struct mgc_type box_type = { .name = "box", .size = sizeof(struct box), .ptr_bytes = 16 };

struct mail {
	struct box *slot[NSLOTS];
	uint64_t canary;
};
static struct mgc_type mail_type = { .name = "mail", .size = sizeof(struct mail), .ptr_bytes = NSLOTS * 8 };

static struct mail *mailbox[NMAIL]; /* roots, as the two below */
static struct box *shelves[MAX_THREADS + NFIBERS][NSHELF];
static struct box *ballast; /* a long list: so that a mark takes its time */
static uint32_t stop;
static uint64_t seed;
static uint64_t nlives, nops, nletters, nfinalized, nsignals;

struct life {
	struct rng rng;
	uint64_t serial, nmade; /* its boxes' numbers */
	struct box **held; /* on its stack */
	uint64_t held_id[NHELD];
	struct box **shelf; /* a row of roots */
	uint64_t shelf_id[NSHELF];
	struct box **owned; /* an owned range in malloc's memory, or NULL; plain stores */
	uint64_t owned_id[NSHELF];
	void *link[NLINKS];
	uint64_t link_id[NLINKS];
	unsigned link_held[NLINKS];
};

/* ── boxes ──────────────────────────────────────────────────────────────────────────────── */

static uint64_t mixed(uint64_t x)
{
	struct rng r = { x };
	return rng_next(&r);
}

static uint64_t canary_of(const void *p, uint64_t id)
{
	return mixed(id ^ mixed((uintptr_t)p));
}

/* look_at_box - it is what it was made as. */
static void look_at_box(const struct box *b, uint64_t id)
{
	CHECK(b != NULL);
	CHECK_EQ(b->id, id);
	CHECK(b->canary == canary_of(b, id));
	CHECK(__atomic_load_n(&b->finalized, __ATOMIC_RELAXED) == 0);
}

/* walk - some way down through boxes that do not change. */
static void walk(const struct box *b, uint64_t id, struct rng *r)
{
	for (unsigned depth = 0; depth < 12; depth++) {
		look_at_box(b, id);
		if (b->is_cell)
			return;
		size_t e = rng_below(r, 2);
		if (b->edge[e] == NULL)
			return;
		id = b->edge_id[e];
		b = b->edge[e];
	}
}

static void on_final(void *obj, void *arg)
{
	struct box *b = obj;
	look_at_box(b, (uintptr_t)arg);
	__atomic_store_n(&b->finalized, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&nfinalized, 1, __ATOMIC_RELAXED);
}

/* make_box - its references are plain stores: nobody else has seen it. */
static struct box *make_box(struct life *l, bool is_cell)
{
	struct box *b = mgc_new(&box_type);
	CHECK(b != NULL && b->edge[0] == NULL && b->edge[1] == NULL && b->id == 0 && b->canary == 0);
	b->id = l->serial << 32 | ++l->nmade;
	b->canary = canary_of(b, b->id);
	b->is_cell = is_cell;
	for (size_t e = 0; e < 2; e++) {
		size_t i = rng_below(&l->rng, NHELD);
		if (rng_below(&l->rng, 8) == 0)
			continue;
		b->edge[e] = l->held[i];
		b->edge_id[e] = l->held_id[i];
	}
	if (!is_cell && rng_below(&l->rng, 64) == 0)
		CHECK_EQ(mgc_finalizer_set(b, on_final, (void *)(uintptr_t)b->id), 0);
	return b;
}

static void hold(struct life *l, size_t i, struct box *b)
{
	l->held[i] = b;
	l->held_id[i] = b != NULL ? b->id : 0;
}

/* ── mail ───────────────────────────────────────────────────────────────────────────────── */

static uint64_t home_of(const struct mail *m, size_t k)
{
	return mixed((uintptr_t)m + k);
}

static struct mail *make_mail(void)
{
	struct mail *m = mgc_new(&mail_type);
	CHECK(m != NULL && m->canary == 0);
	m->canary = canary_of(m, 1);
	return m;
}

static struct mail *some_mail(struct life *l)
{
	struct mail *m = __atomic_load_n(&mailbox[rng_below(&l->rng, NMAIL)], __ATOMIC_ACQUIRE);
	CHECK(m != NULL && m->canary == canary_of(m, 1));
	return m;
}

/* receive - what was in slot k of m is the caller's now. */
static void receive(struct life *l, const struct mail *m, size_t k, struct box *letter)
{
	if (letter == NULL)
		return;
	CHECK(letter->home == home_of(m, k));
	walk(letter, letter->id, &l->rng);
	hold(l, rng_below(&l->rng, NSEALED), letter);
	__atomic_fetch_add(&nletters, 1, __ATOMIC_RELAXED);
}

/* exchange_letters - afterwards only the slot has the one that was sent. */
static void exchange_letters(struct life *l)
{
	struct mail *m = some_mail(l);
	size_t k = rng_below(&l->rng, NSLOTS);
	struct box *letter = make_box(l, false);
	letter->home = home_of(m, k);
	receive(l, m, k, mgc_exchange(&m->slot[k], letter));
}

/* renew_mail - a fresh one, which is black if this thread is; letters go on arriving in it and in the old. */
static void renew_mail(struct life *l)
{
	struct mail *old = mgc_exchange(&mailbox[rng_below(&l->rng, NMAIL)], make_mail());
	for (size_t k = 0; k < NSLOTS; k++)
		receive(l, old, k, mgc_exchange(&old->slot[k], NULL));
}

/* ── a life ─────────────────────────────────────────────────────────────────────────────── */

static void set_cell(struct life *l)
{
	struct box *c = l->held[NSEALED + rng_below(&l->rng, NCELLS)];
	size_t e = rng_below(&l->rng, 2), i = rng_below(&l->rng, NHELD);
	if (c == NULL)
		return;
	c->edge_id[e] = l->held_id[i];
	mgc_write(&c->edge[e], l->held[i]);
}

/* take_from_cell - from now on only the stack has it. */
static void take_from_cell(struct life *l)
{
	struct box *c = l->held[NSEALED + rng_below(&l->rng, NCELLS)];
	size_t e = rng_below(&l->rng, 2);
	if (c == NULL || c->edge[e] == NULL)
		return;
	struct box *b = c->edge[e];
	look_at_box(b, c->edge_id[e]);
	mgc_write(&c->edge[e], NULL);
	c->edge_id[e] = 0;
	hold(l, b->is_cell ? NSEALED + rng_below(&l->rng, NCELLS) : rng_below(&l->rng, NSEALED), b);
}

/* use_row - puts a held box into a row of roots, or takes one out. */
static void use_row(struct life *l, struct box **row, uint64_t *ids, bool barrier)
{
	size_t at = rng_below(&l->rng, NSHELF), i = rng_below(&l->rng, NSEALED);
	struct box *was = row[at], *now = l->held[i];
	uint64_t id = ids[at];
	ids[at] = l->held_id[i];
	if (barrier)
		mgc_write(&row[at], now);
	else
		row[at] = now;
	if (was != NULL)
		look_at_box(was, id);
	hold(l, i, was);
}

static void use_link(struct life *l)
{
	size_t k = rng_below(&l->rng, NLINKS);
	unsigned i = l->link_held[k];
	if (l->link_id[k] != 0) {
		struct box *b = mgc_link_get(&l->link[k]);
		bool held = l->held_id[i] == l->link_id[k];
		CHECK(!held || b == l->held[i]);
		if (held)
			look_at_box(b, l->link_id[k]);
		mgc_link_clear(&l->link[k]);
	}
	i = (unsigned)rng_below(&l->rng, NHELD);
	l->link_held[k] = i;
	l->link_id[k] = l->held_id[i];
	l->link[k] = l->held[i];
	if (l->held[i] != NULL)
		CHECK_EQ(mgc_link_set(&l->link[k], l->held[i]), 0);
}

static void free_some(struct life *l)
{
	struct box *b = mgc_new(&box_type);
	void *p = mgc_alloc(rng_below(&l->rng, 100) == 0 ? 40000 : 200, NULL, 0);
	CHECK(b != NULL && p != NULL);
	mgc_free(b);
	mgc_free(p);
}

static void operate(struct life *l)
{
	size_t dice = rng_below(&l->rng, 1000), i = rng_below(&l->rng, NHELD);
	if (dice < 250)
		hold(l, i, make_box(l, i >= NSEALED));
	else if (dice < 400)
		set_cell(l);
	else if (dice < 550)
		take_from_cell(l);
	else if (dice < 650)
		exchange_letters(l);
	else if (dice < 660)
		renew_mail(l);
	else if (dice < 760)
		use_row(l, l->shelf, l->shelf_id, true);
	else if (dice < 810 && l->owned != NULL)
		use_row(l, l->owned, l->owned_id, false);
	else if (dice < 840)
		use_link(l);
	else if (dice < 870)
		free_some(l);
	else if (dice < 900)
		hold(l, i, NULL);
	else if (l->held[i] != NULL)
		walk(l->held[i], l->held_id[i], &l->rng);
}

/* look_at_all - what the shadow says. */
static void look_at_all(const struct life *l)
{
	for (size_t i = 0; i < NHELD; i++)
		if (l->held_id[i] != 0)
			look_at_box(l->held[i], l->held_id[i]);
	for (size_t i = 0; i < NSHELF; i++) {
		if (l->shelf_id[i] != 0)
			look_at_box(l->shelf[i], l->shelf_id[i]);
		if (l->owned_id[i] != 0)
			look_at_box(l->owned[i], l->owned_id[i]);
	}
}

static void born(struct life *l, struct box **held, size_t row)
{
	memset(l, 0, sizeof *l);
	l->serial = __atomic_add_fetch(&nlives, 1, __ATOMIC_RELAXED);
	l->rng.state = seed ^ mixed(l->serial);
	l->held = held;
	l->shelf = shelves[row];
}

static void dies(struct life *l)
{
	look_at_all(l);
	for (size_t k = 0; k < NLINKS; k++)
		mgc_link_clear(&l->link[k]);
	for (size_t i = 0; i < NSHELF; i++)
		mgc_write(&l->shelf[i], NULL);
	__atomic_fetch_add(&nops, l->nmade, __ATOMIC_RELAXED);
}

/* ── fibers, which move between threads ─────────────────────────────────────────────────── */

struct fiber {
	ucontext_t home, self;
	struct mgc_stack *stack;
	struct life life;
	uint32_t busy;
	void *tsan_home, *tsan_self; /* what ThreadSanitizer calls the two */
};
static struct fiber fibers[NFIBERS + 1];

#define FIBER_STACK ((size_t)64 << 10)

static void fiber_main(unsigned index)
{
	struct fiber *f = &fibers[index];
	struct box *held[NHELD] = { NULL };
	TSAN_LANDED();
	born(&f->life, held, MAX_THREADS + index);
	for (;;) {
		for (int i = 0; i < 30; i++)
			operate(&f->life);
		look_at_all(&f->life);
		mgc_stack_switch(f->stack, NULL);
		TSAN_SWITCH(f->tsan_home);
		swapcontext(&f->self, &f->home);
		TSAN_LANDED();
	}
}

static void make_fiber(unsigned index)
{
	struct fiber *f = &fibers[index];
	char *memory =
		mmap(NULL, FIBER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	f->stack = mgc_stack_register(memory, memory + FIBER_STACK);
	f->tsan_self = TSAN_CREATE();
	getcontext(&f->self);
	f->self.uc_stack.ss_sp = memory;
	f->self.uc_stack.ss_size = FIBER_STACK;
	makecontext(&f->self, (void (*)(void))fiber_main, 1, index);
}

static void run_a_fiber(struct life *l)
{
	struct fiber *f = &fibers[rng_below(&l->rng, NFIBERS + 1)];
	if (f->stack == NULL || __atomic_exchange_n(&f->busy, 1, __ATOMIC_ACQUIRE) != 0)
		return;
	f->tsan_home = TSAN_CURRENT();
	mgc_stack_switch(NULL, f->stack);
	TSAN_SWITCH(f->tsan_self);
	swapcontext(&f->home, &f->self);
	TSAN_LANDED();
	__atomic_store_n(&f->busy, 0, __ATOMIC_RELEASE);
}

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

struct place {
	pthread_t thread;
	uint32_t state; /* 0 none, 1 alive, 2 over */
	size_t row;
};
static struct place places[MAX_THREADS];

static void some_noise(struct life *l, size_t nth)
{
	if (nth % 64 == 0)
		run_a_fiber(l);
	if (nth % 512 == 0) {
		mgc_blocking_enter();
		usleep(50);
		mgc_blocking_leave();
	}
	if (nth % 256 == 0)
		mgc_safepoint();
	if (nth % 1024 == 0)
		CHECK(mgc_alloc(100000, NULL, MGC_NOSCAN) != NULL);
	if (rng_below(&l->rng, 20000) == 0)
		mgc_collect();
}

static void live(struct place *w)
{
	struct box *held[NHELD] = { NULL };
	struct life l;
	void *top;
	born(&l, held, w->row);
	l.owned = calloc(NSHELF, sizeof *l.owned);
	top = l.owned + NSHELF;
	CHECK_EQ(mgc_root_add_owned(l.owned, NSHELF * sizeof *l.owned, &top), 0);
	size_t span = 2000 + rng_below(&l.rng, 10000);
	for (size_t i = 1; i <= span && __atomic_load_n(&stop, __ATOMIC_RELAXED) == 0; i++) {
		operate(&l);
		some_noise(&l, i);
	}
	dies(&l);
	CHECK_EQ(mgc_root_remove(l.owned), 0);
	free(l.owned);
	mgc_keep_alive(held);
}

static char altstacks[MAX_THREADS][65536];

static void *work(void *arg)
{
	struct place *w = arg;
	stack_t alt = { .ss_sp = altstacks[w->row], .ss_size = sizeof altstacks[0] };
	CHECK_EQ(mgc_thread_attach(), 0);
	if (w->row % 2 == 0)
		sigaltstack(&alt, NULL);
	live(w);
	alt.ss_flags = SS_DISABLE;
	sigaltstack(&alt, NULL);
	publish(&w->state, 2);
	return NULL;
}

/* A box whose only reference is the argument of a new thread. */
struct parcel {
	struct box *box;
	struct place *place;
	uint64_t id;
};
static struct mgc_type parcel_type = { .name = "parcel", .size = sizeof(struct parcel), .ptr_bytes = 8 };

static void *work_with_parcel(void *arg)
{
	const struct parcel *p = arg;
	look_at_box(p->box, p->id);
	return work(p->place);
}

static void start(struct life *l, struct place *w)
{
	w->state = 1;
	if (rng_below(&l->rng, 2) == 0) {
		CHECK_EQ(pthread_create(&w->thread, NULL, work, w), 0);
		return;
	}
	struct parcel *p = mgc_new(&parcel_type);
	p->box = make_box(l, false);
	p->id = p->box->id;
	p->place = w;
	CHECK_EQ(mgc_thread_create(&w->thread, NULL, work_with_parcel, p), 0);
}

/* ── signals ────────────────────────────────────────────────────────────────────────────── */

static void on_user(int sig)
{
	int saved = errno;
	volatile uintptr_t words[64];
	for (size_t i = 0; i < 64; i++)
		words[i] = (uintptr_t)sig;
	errno = (int)words[63];
	errno = saved;
	__atomic_fetch_add(&nsignals, 1, __ATOMIC_RELAXED);
}

static void *storm(void *arg)
{
	while (__atomic_load_n(&stop, __ATOMIC_RELAXED) == 0) {
		kill(getpid(), SIGUSR1);
		kill(getpid(), SIGUSR2);
		usleep(300);
	}
	return arg;
}

/* ── forks ──────────────────────────────────────────────────────────────────────────────── */

static void look_at_mail(struct life *l)
{
	for (size_t i = 0; i < NMAIL; i++) {
		struct mail *m = mailbox[i];
		CHECK(m != NULL && m->canary == canary_of(m, 1));
		for (size_t k = 0; k < NSLOTS; k++) {
			struct box *b = m->slot[k];
			if (b == NULL)
				continue;
			CHECK(b->home == home_of(m, k));
			for (int n = 0; n < 8; n++)
				walk(b, b->id, &l->rng);
		}
	}
}

static void child(struct life *l)
{
	look_at_mail(l);
	look_at_all(l);
	for (int i = 0; i < 2; i++) {
		for (int n = 0; n < 500; n++)
			operate(l);
		mgc_collect();
		look_at_mail(l);
		look_at_all(l);
		heap_verify(&runtime.heap);
	}
	_exit(0);
}

static void fork_one(struct life *l)
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		child(l);
	CHECK(pid > 0);
	while (waitpid(pid, &status, 0) < 0)
		CHECK_EQ(errno, EINTR);
	CHECK_EQ(status, 0);
}

/* ── all of it ──────────────────────────────────────────────────────────────────────────── */

static void make_ballast(struct life *l)
{
	for (size_t i = test_size(100000); i > 0; i--) {
		struct box *b = make_box(l, false);
		b->edge[0] = ballast;
		b->edge_id[0] = ballast != NULL ? ballast->id : 0;
		mgc_write(&ballast, b);
	}
}

static void look_at_ballast(void)
{
	for (const struct box *b = ballast; b != NULL; b = b->edge[0]) {
		look_at_box(b, b->id);
		CHECK(b->edge[0] == NULL || b->edge[0]->id == b->edge_id[0]);
	}
}

static size_t nthreads(void)
{
	const char *text = getenv("THREADS");
	size_t n = text != NULL ? strtoul(text, NULL, 10) : TEST_SLOW ? 8 : 16;
	return n < MAX_THREADS ? n : MAX_THREADS;
}

static void begin(struct life *l)
{
	struct sigaction sa = { .sa_handler = on_user, .sa_flags = SA_RESTART | SA_ONSTACK };
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_flags = SA_RESTART;
	sigaction(SIGUSR2, &sa, NULL);
	CHECK_EQ(mgc_root_add(mailbox, sizeof mailbox, 0), 0);
	CHECK_EQ(mgc_root_add(shelves, sizeof shelves, 0), 0);
	CHECK_EQ(mgc_root_add(&ballast, sizeof ballast, 0), 0);
	for (size_t i = 0; i < NMAIL; i++)
		mgc_write(&mailbox[i], make_mail());
	make_ballast(l);
	for (int i = 0; i < NFIBERS; i++)
		make_fiber((unsigned)i);
}

/* tend - joins who is over, starts others in their place. */
static void tend(struct life *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct place *w = &places[i];
		if (__atomic_load_n(&w->state, __ATOMIC_ACQUIRE) == 2) {
			pthread_join(w->thread, NULL);
			w->state = 0;
		}
		if (__atomic_load_n(&w->state, __ATOMIC_RELAXED) == 0) {
			w->row = i;
			start(l, w);
		}
	}
}

static void end(size_t n)
{
	publish(&stop, 1);
	for (size_t i = 0; i < n; i++)
		if (__atomic_load_n(&places[i].state, __ATOMIC_RELAXED) != 0)
			pthread_join(places[i].thread, NULL);
	for (size_t i = 0; i < NFIBERS; i++)
		look_at_all(&fibers[i].life);
}

/* to end takes long when 64 threads share a busy machine */
TEST_SECONDS(everything_at_once, 150)
{
	struct box *held[NHELD] = { NULL };
	struct life l;
	pthread_t storming;
	size_t n = nthreads();
	unsigned nforks = 0;
	setenv("MGC_DEBUG", "clobberfree=1,gcstress=100", 0);
	mgc_thread_attach();
	seed = test_seed();
	born(&l, held, MAX_THREADS - 1);
	begin(&l);
	CHECK_EQ(pthread_create(&storming, NULL, storm, NULL), 0);
	double until = now_seconds() + test_seconds(6);
	for (size_t round = 0; now_seconds() < until; round++) {
		tend(&l, n);
		for (int i = 0; i < 50; i++)
			operate(&l);
		if (WITH_FORKS && round % 16 == 0) {
			fork_one(&l);
			nforks++;
		}
		usleep(2000);
	}
	end(n);
	pthread_join(storming, NULL);
	look_at_mail(&l);
	look_at_ballast();
	dies(&l);
	mgc_collect();
	heap_verify(&runtime.heap);
	uint64_t ncycles = __atomic_load_n(&runtime.gc.ncycles, __ATOMIC_RELAXED);
	printf("  %zu threads: %llu lives, %llu boxes, %llu letters, %llu finalized, %llu signals, "
	       "%u forks, "
	       "%llu collections\n",
	       n, (unsigned long long)nlives, (unsigned long long)nops, (unsigned long long)nletters,
	       (unsigned long long)__atomic_load_n(&nfinalized, __ATOMIC_RELAXED),
	       (unsigned long long)__atomic_load_n(&nsignals, __ATOMIC_RELAXED), nforks,
	       (unsigned long long)ncycles);
	CHECK((nforks > 0 || !WITH_FORKS) && nletters > 0 && ncycles > 3);
	mgc_keep_alive(held);
}
