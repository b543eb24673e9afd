/* lifetime_model_test.c (plain) - random graphs in which what lives hangs on weak references, ephemerons, a
 * weak map, finalizers and cleanups, next to a plain model of reachability; several threads, and cycles
 * beside them.
 *
 * WHAT   Each node has a short weak reference and a cleanup, its certificate of death; some have a long
 *        reference, a finalizer that hands the node back, an ephemeron between two others, or a pair in
 *        the map. At any moment: what the model reaches is whole, its weak references say so, its pairs
 *        are there, and no certificate of it ever comes; each comes once. What weak references still
 *        give is put back to use, with all that it reaches. When a world's thread and stack are gone,
 *        what the model does not reach is certified dead, exactly.
 * WHO    one world for each thread. The model keeps addresses hidden. */
#include "lib/afar.h"

#include "face/runtime.h"

#define NNODES 600
#define NROOTS 24
#define NEDGES 3
#define NWORLDS 4
#define NONE (-1)

struct object {
	struct object *out[NEDGES];
	struct mgc_ephemeron *eph;
	uintptr_t number, serial;
};
static struct mgc_type object_type = { .size = sizeof(struct object), .ptr_bytes = 32 };

struct node {
	uintptr_t hidden; /* 0: the id is free */
	uintptr_t serial;
	int32_t out[NEDGES];
	int32_t eph_key, eph_value; /* of its ephemeron */
	int32_t pair; /* its value in the map */
	bool has_finalizer;
	bool is_due; /* its finalizer is, and something else has brought it back before that ran */
	uint32_t nin; /* edges, roots and values that refer to it */
	uint32_t reached;
	mgc_cleanup_id cleanup;
};

/* What the collector reads, and what others write. */
struct shared {
	struct object *root[NROOTS];
	struct mgc_weak *weak[NNODES], *long_weak[NNODES];
	struct object *revived[NNODES]; /* by finalizers */
	struct mgc_weakmap *map;
};

struct world {
	struct shared *s;
	struct rng rng;
	struct node node[NNODES];
	int32_t root[NROOTS];
	uint32_t ndeaths[NNODES]; /* atomic: certificates that came */
	uint32_t check; /* number of the last walk */
	uint64_t nops, ndead, nrevived, nupgraded, nfreed, nlost;
	bool cycles; /* it collects by itself, too */
};

static struct world worlds[NWORLDS];

/* ── the model ──────────────────────────────────────────────────────────────────────────── */

static bool is_reached(const struct world *w, int32_t id)
{
	return id != NONE && w->node[id].reached == w->check;
}

static bool reach(struct world *w, int32_t id)
{
	if (id == NONE || w->node[id].reached == w->check)
		return false;
	w->node[id].reached = w->check;
	return true;
}

/* walk - stamps what the roots reach: naive rounds until nothing is new. */
static void walk(struct world *w)
{
	bool more = true;
	w->check++;
	for (unsigned r = 0; r < NROOTS; r++)
		reach(w, w->root[r]);
	while (more) {
		more = false;
		for (int32_t id = 0; id < NNODES; id++) {
			const struct node *n = &w->node[id];
			if (n->hidden == 0 || n->reached != w->check)
				continue;
			for (unsigned e = 0; e < NEDGES; e++)
				more |= reach(w, n->out[e]);
			more |= reach(w, n->pair);
			if (is_reached(w, n->eph_key))
				more |= reach(w, n->eph_value);
		}
	}
}

static void refer(struct world *w, int32_t *from, int32_t to)
{
	if (*from != NONE)
		w->node[*from].nin--;
	if (to != NONE)
		w->node[to].nin++;
	*from = to;
}

/* bury - the node is dead: nothing that is alive refers to it. */
static void bury(struct world *w, int32_t id)
{
	struct node *n = &w->node[id];
	for (unsigned e = 0; e < NEDGES; e++)
		refer(w, &n->out[e], NONE);
	refer(w, &n->pair, NONE);
	refer(w, &n->eph_value, NONE);
	n->eph_key = NONE;
	for (int32_t other = 0; other < NNODES; other++) {
		struct node *o = &w->node[other];
		if (o->hidden == 0)
			continue;
		for (unsigned e = 0; e < NEDGES; e++)
			if (o->out[e] == id)
				refer(w, &o->out[e], NONE);
		if (o->pair == id)
			refer(w, &o->pair, NONE);
		if (o->eph_key == id) {
			o->eph_key = NONE;
			refer(w, &o->eph_value, NONE);
		}
		if (o->eph_value == id)
			refer(w, &o->eph_value, NONE);
	}
	CHECK_EQ(n->nin, 0);
	n->hidden = 0;
	w->ndead++;
}

/* ── the heap next to it ────────────────────────────────────────────────────────────────── */

static struct object *check_object(const struct world *w, int32_t id, struct object *p)
{
	CHECK(hide(p) == w->node[id].hidden);
	CHECK(p->number == (uintptr_t)id && p->serial == w->node[id].serial);
	return p;
}

/* certify - runs on some thread of the library's own. */
static void certify(void *arg)
{
	uintptr_t number = (uintptr_t)arg;
	__atomic_add_fetch(&worlds[number / NNODES].ndeaths[number % NNODES], 1, __ATOMIC_RELEASE);
}

static void give_back(void *obj, void *arg)
{
	uintptr_t number = (uintptr_t)arg;
	struct object *o = obj;
	CHECK_EQ(o->number, number % NNODES);
	mgc_write(&worlds[number / NNODES].s->revived[number % NNODES], obj);
}

static void set_root(struct world *w, unsigned r, int32_t id, struct object *p)
{
	refer(w, &w->root[r], id);
	mgc_write(&w->s->root[r], p);
}

static unsigned any_root(struct world *w)
{
	return (unsigned)rng_below(&w->rng, NROOTS);
}

static void make_weaks(struct world *w, int32_t id, struct object *p)
{
	struct mgc_weak *weak = mgc_weak_new(p);
	CHECK(weak != NULL && mgc_weak_new(p) == weak);
	mgc_write(&w->s->weak[id], weak);
}

/* pick - a node that is reached: a root, and some steps of any kind from there. */
static struct object *pick(struct world *w, int32_t *id)
{
	unsigned r = any_root(w);
	*id = w->root[r];
	if (*id == NONE)
		return NULL;
	struct object *p = check_object(w, *id, w->s->root[r]);
	for (size_t steps = rng_below(&w->rng, 6); steps > 0; steps--) {
		const struct node *n = &w->node[*id];
		unsigned e = (unsigned)rng_below(&w->rng, NEDGES + 1);
		int32_t next = e < NEDGES ? n->out[e] : n->pair;
		struct object *q = e < NEDGES ? p->out[e] : mgc_weakmap_get(w->s->map, p);
		CHECK((next == NONE) == (q == NULL));
		if (next == NONE)
			break;
		*id = next;
		p = check_object(w, next, q);
	}
	return p;
}

static void make_node(struct world *w)
{
	int32_t id = (int32_t)rng_below(&w->rng, NNODES);
	struct node *n = &w->node[id];
	if (n->hidden != 0)
		return;
	struct object *p = mgc_new(&object_type);
	p->number = (uintptr_t)id;
	p->serial = w->nops;
	*n = (struct node){ .hidden = hide(p),
			    .serial = w->nops,
			    .out = { NONE, NONE, NONE },
			    .eph_key = NONE,
			    .eph_value = NONE,
			    .pair = NONE };
	w->ndeaths[id] = 0;
	void *arg = (void *)((uintptr_t)(w - worlds) * NNODES + (uintptr_t)id);
	make_weaks(w, id, p);
	if (rng_below(&w->rng, 3) == 0)
		mgc_write(&w->s->long_weak[id], mgc_weak_new_long(p));
	n->cleanup = mgc_cleanup_add(p, certify, arg);
	CHECK(n->cleanup != 0);
	n->has_finalizer = rng_below(&w->rng, 8) == 0; /* such ones get no edges: no circles */
	if (n->has_finalizer)
		CHECK_EQ(mgc_finalizer_set(p, give_back, arg), 0);
	set_root(w, any_root(w), id, p);
}

static void set_edge(struct world *w)
{
	int32_t a, b = NONE;
	struct object *p = pick(w, &a), *q = rng_below(&w->rng, 8) != 0 ? pick(w, &b) : NULL;
	if (p == NULL || w->node[a].has_finalizer)
		return;
	unsigned e = (unsigned)rng_below(&w->rng, NEDGES);
	refer(w, &w->node[a].out[e], q != NULL ? b : NONE);
	mgc_write(&p->out[e], q);
}

static void set_pair(struct world *w)
{
	int32_t k, v;
	struct object *p = pick(w, &k), *q = pick(w, &v);
	if (p == NULL || q == NULL)
		return;
	if (rng_below(&w->rng, 4) == 0) {
		CHECK_EQ(mgc_weakmap_remove(w->s->map, p), w->node[k].pair != NONE);
		refer(w, &w->node[k].pair, NONE);
		return;
	}
	CHECK_EQ(mgc_weakmap_set(w->s->map, p, q), 0);
	refer(w, &w->node[k].pair, v);
}

static void set_ephemeron(struct world *w)
{
	int32_t a, k, v;
	struct object *p = pick(w, &a), *pk = pick(w, &k), *pv = pick(w, &v);
	if (p == NULL || pk == NULL || pv == NULL || w->node[a].has_finalizer)
		return;
	struct node *n = &w->node[a];
	if (p->eph != NULL && n->eph_key != NONE && rng_below(&w->rng, 2) == 0) {
		struct object *key = mgc_ephemeron_key(p->eph);
		walk(w);
		if (key == NULL) { /* its death is not certified yet */
			CHECK(!is_reached(w, n->eph_key));
			return;
		}
		check_object(w, n->eph_key, key);
		mgc_ephemeron_set(p->eph, pv);
		refer(w, &n->eph_value, v);
		return;
	}
	mgc_write(&p->eph, mgc_ephemeron_new(pk, pv));
	n->eph_key = k;
	refer(w, &n->eph_value, v);
}

/* renew - all that p reaches is alive; what finalizers brought back has lost its short references. */
static void renew(struct world *w, int32_t id, struct object *p)
{
	check_object(w, id, p);
	if (w->node[id].reached == w->check)
		return;
	w->node[id].reached = w->check;
	CHECK_EQ(__atomic_load_n(&w->ndeaths[id], __ATOMIC_ACQUIRE), 0);
	w->node[id].is_due = w->node[id].has_finalizer;
	make_weaks(w, id, p);
	if (w->s->long_weak[id] != NULL)
		CHECK(mgc_weak_get(w->s->long_weak[id]) == p);
	for (unsigned e = 0; e < NEDGES; e++) {
		CHECK((p->out[e] == NULL) == (w->node[id].out[e] == NONE));
		if (p->out[e] != NULL)
			renew(w, w->node[id].out[e], p->out[e]);
	}
	struct object *v = mgc_weakmap_get(w->s->map, p);
	CHECK((v == NULL) == (w->node[id].pair == NONE));
	if (v != NULL)
		renew(w, w->node[id].pair, v);
}

/* renew_ephemerons - those whose key came back, or they themselves; `before`: was reached all the time. What
 * a weak reference still gives was never found dead, and may be used again. */
static bool renew_ephemerons(struct world *w, const bool *before)
{
	for (int32_t id = 0; id < NNODES; id++) {
		int32_t k = w->node[id].eph_key, v = w->node[id].eph_value;
		if (w->node[id].hidden == 0 || k == NONE || v == NONE || is_reached(w, v) || before[v])
			continue;
		struct object *p = mgc_weak_get(w->s->weak[id]), *key = mgc_weak_get(w->s->weak[k]);
		if (p == NULL || key == NULL)
			continue;
		check_object(w, id, p);
		CHECK(mgc_ephemeron_key(p->eph) == check_object(w, k, key));
		renew(w, v, mgc_ephemeron_value(p->eph));
		return true;
	}
	return false;
}

/* take_back - what a finalizer gave is put to use again, or dropped for good. */
static void take_back(struct world *w, int32_t id, bool keep)
{
	struct object *p = __atomic_load_n(&w->s->revived[id], __ATOMIC_ACQUIRE);
	if (p == NULL)
		return;
	walk(w);
	if (!w->node[id].is_due) {
		CHECK(!is_reached(w, id));
		CHECK(mgc_weak_get(w->s->weak[id]) == NULL);
	}
	bool before[NNODES];
	for (int32_t other = 0; other < NNODES; other++)
		before[other] = w->node[other].hidden != 0 && is_reached(w, other);
	w->check++;
	renew(w, id, p);
	while (renew_ephemerons(w, before))
		;
	w->node[id].has_finalizer = w->node[id].is_due = false;
	w->nrevived++;
	if (keep)
		set_root(w, any_root(w), id, p);
	mgc_write(&w->s->revived[id], NULL);
}

static void take_certificates(struct world *w, bool keep)
{
	for (int32_t id = 0; id < NNODES; id++)
		if (w->node[id].hidden != 0)
			take_back(w, id, keep && rng_below(&w->rng, 2) == 0);
	walk(w);
	for (int32_t id = 0; id < NNODES; id++) {
		uint32_t n = __atomic_load_n(&w->ndeaths[id], __ATOMIC_ACQUIRE);
		CHECK(n <= 1);
		if (w->node[id].hidden == 0 || n == 0)
			continue;
		CHECK(!is_reached(w, id));
		CHECK(mgc_weak_get(w->s->weak[id]) == NULL);
		CHECK(mgc_weak_get(w->s->long_weak[id]) == NULL);
		CHECK_EQ(mgc_cleanup_remove(w->node[id].cleanup), 0);
		mgc_write(&w->s->weak[id], NULL);
		mgc_write(&w->s->long_weak[id], NULL);
		bury(w, id);
	}
}

/* upgrade - what a weak reference still gives is in use again. */
static void upgrade(struct world *w)
{
	int32_t id = (int32_t)rng_below(&w->rng, NNODES);
	if (w->node[id].hidden == 0)
		return;
	struct object *p = mgc_weak_get(w->s->weak[id]);
	if (p == NULL) {
		walk(w);
		CHECK(!is_reached(w, id));
		w->nlost++;
		return;
	}
	check_object(w, id, p);
	CHECK(mgc_weak_new(p) == w->s->weak[id]);
	set_root(w, any_root(w), id, p);
	w->nupgraded++;
}

static bool is_key(const struct world *w, int32_t id)
{
	bool found = w->node[id].pair != NONE;
	for (int32_t other = 0; other < NNODES && !found; other++)
		found = w->node[other].hidden != 0 && w->node[other].eph_key == id;
	return found;
}

/* free_node - one that only a root has, and that is no key: those are left to the collector. */
static void free_node(struct world *w)
{
	unsigned r = any_root(w);
	int32_t id = w->root[r];
	if (id == NONE || w->node[id].nin != 1 || w->node[id].is_due || is_key(w, id))
		return;
	struct object *p = w->s->root[r];
	set_root(w, r, NONE, NULL);
	mgc_free(p);
	CHECK(mgc_weak_get(w->s->weak[id]) == NULL);
	CHECK(mgc_weak_get(w->s->long_weak[id]) == NULL);
	w->nfreed++;
}

static void operate(struct world *w)
{
	size_t dice = rng_below(&w->rng, 1000);
	w->nops++;
	if (dice < 250)
		make_node(w);
	else if (dice < 550)
		set_edge(w);
	else if (dice < 650)
		set_pair(w);
	else if (dice < 720)
		set_ephemeron(w);
	else if (dice < 800)
		set_root(w, any_root(w), NONE, NULL);
	else if (dice < 900)
		upgrade(w);
	else if (dice < 920)
		free_node(w);
	else if (dice < 922 && w->cycles)
		mgc_collect();
	if (w->nops % 256 == 0)
		take_certificates(w, true);
}

/* ── a life on one thread ───────────────────────────────────────────────────────────────── */

struct life {
	struct world *w;
	size_t nops;
	bool alone;
};

static void *live(void *arg)
{
	struct life *l = arg;
	for (size_t i = 0; i < l->nops; i++)
		operate(l->w);
	return NULL;
}

static void *certificates(void *arg)
{
	take_certificates(arg, false);
	return NULL;
}

static void wait_for_runners(void)
{
	struct mgc_stats s = { .struct_size = sizeof s };
	do {
		usleep(1000);
		mgc_read_stats(&s);
	} while (s.cleanups_due != 0 || s.finalizers_due != 0);
	usleep(10000); /* the last one runs, perhaps */
}

/* settle - until all that is dead has died: two collections for what has a finalizer. */
static void settle(struct world *w)
{
	for (int i = 0; i < 4; i++) {
		collect_afar();
		wait_for_runners();
		on_thread(certificates, w);
	}
}

static void *live_and_die(void *arg)
{
	struct life *l = arg;
	struct world *w = l->w;
	size_t nretained = 0;
	for (int i = 0; i < 4; i++) {
		on_thread(live, l);
		settle(w);
		walk(w);
		for (int32_t id = 0; id < NNODES; id++)
			nretained += w->node[id].hidden != 0 && !is_reached(w, id);
		CHECK(l->alone ? nretained == 0 : nretained <= NNODES / 10);
	}
	printf("  %llu operations: %llu dead, %llu freed, %llu revived, %llu upgraded, %llu too "
	       "late\n",
	       (unsigned long long)w->nops, (unsigned long long)w->ndead,
	       (unsigned long long)w->nfreed, (unsigned long long)w->nrevived,
	       (unsigned long long)w->nupgraded, (unsigned long long)w->nlost);
	CHECK(w->ndead > w->nops / 500 && w->nrevived > 0 && w->nfreed > 0);
	CHECK(w->nupgraded > w->nops / 1000);
	return NULL;
}

static void *start_world(void *arg)
{
	struct world *w = arg;
	w->s = calloc(1, sizeof *w->s);
	w->rng.state = test_seed();
	for (unsigned r = 0; r < NROOTS; r++)
		w->root[r] = NONE;
	CHECK_EQ(mgc_root_add(w->s, sizeof *w->s, 0), 0);
	mgc_write(&w->s->map, mgc_weakmap_new());
	return arg;
}

static void run(unsigned nworlds, size_t nops)
{
	struct life l[NWORLDS];
	pthread_t t[NWORLDS];
	for (unsigned i = 0; i < nworlds; i++) {
		worlds[i].cycles = i == 0;
		on_thread(start_world, &worlds[i]);
		l[i] = (struct life){ &worlds[i], nops, nworlds == 1 };
	}
	for (unsigned i = 0; i < nworlds; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, live_and_die, &l[i]), 0);
	for (unsigned i = 0; i < nworlds; i++)
		pthread_join(t[i], NULL);
}

TEST_SECONDS(alone, 60)
{
	run(1, test_size(300000));
}

TEST_SECONDS(alone_under_stress, 60)
{
	setenv("MGC_DEBUG", "gcstress=4,verify=1,clobberfree=1", 1);
	run(1, test_size(100000));
}

TEST_SECONDS(alone_with_the_world_stopped, 60)
{
	setenv("MGC_DEBUG", "gcstress=8,concurrent=0,verify=1,clobberfree=1", 1);
	run(1, test_size(100000));
}

TEST_SECONDS(together, 60)
{
	setenv("MGC_DEBUG", "gcstress=16,clobberfree=1,cleanup_threads=3", 1);
	run(NWORLDS, test_size(100000));
	CHECK_EQ(runtime.gc.pause_total_ns, 0);
}

TEST_SECONDS(together_starved, 60)
{
	setenv("MGC_DEBUG", "gcstress=16,clobberfree=1", 1);
	on_thread(collect, NULL);
	grey_pool_destroy(&runtime.gc.pool);
	runtime.gc.pool.max_slabs = 0;
	run(NWORLDS, test_size(20000));
}
