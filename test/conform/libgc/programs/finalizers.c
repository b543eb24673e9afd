/* finalizers.c - four orders, links, toggle references, disclaim procedures. */
#define GC_THREADS
#include "common.h"
#include <gc/gc_disclaim.h>
#include <gc/gc_mark.h>
#include <gc/javaxfc.h>

#define N (MANY / 2)

struct node {
	struct node *to, *self;
	long number, pad;
};

static int run_at[2 * N], nrun, resurrected, awaited, notified;
static struct node *volatile kept[2 * N];

static void on_final(void *obj, void *cd)
{
	run_at[(long)cd] = ++nrun;
	resurrected += ((struct node *)obj)->number == (long)cd;
}

static void on_final_keep(void *obj, void *cd)
{
	on_final(obj, cd);
	kept[(long)cd] = obj;
}

static void drop_kept(void)
{
	for (int i = 0; i < 2 * N; i++)
		kept[i] = NULL;
}

static void on_await(void *obj)
{
	awaited += GC_base(obj) == obj;
}

static void on_notify(void)
{
	notified++;
}

typedef void (*register_fn)(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);
static register_fn order;
static int cyclic, selfish;

/* Pairs: node i refers to node N + i. */
static void make_pairs(void)
{
	for (long i = 0; i < N; i++) {
		struct node *a = GC_NEW(struct node), *b = GC_NEW(struct node);
		a->to = b;
		b->to = cyclic ? a : NULL;
		a->self = selfish ? a : NULL;
		a->number = i;
		b->number = N + i;
		order(a, on_final, (void *)i, NULL, NULL);
		order(b, on_final, (void *)(N + i), NULL, NULL);
	}
}

static void round_of(const char *name)
{
	int first = 0, second = 0, in_order = 0;
	memset(run_at, 0, sizeof run_at);
	nrun = resurrected = 0;
	afar(make_pairs);
	for (int round = 0; round < 2; round++) {
		collect();
		int n = 0;
		afar((void (*)(void))GC_invoke_finalizers);
		for (int i = 0; i < N; i++)
			n += run_at[i] != 0, second += round == 0 && run_at[N + i] != 0;
		first += round == 0 ? n : 0;
	}
	for (int i = 0; i < N; i++)
		in_order += run_at[i] != 0 && run_at[i] < run_at[N + i];
	printf("%s: ", name);
	say("referrers first", first, N);
	say("  referred to in the same round", second, N);
	if (order != GC_register_finalizer_no_order)
		say("  in order", in_order, N);
	say("  run in the end", nrun, 2 * N);
	say("  objects whole", resurrected, nrun > 0 ? nrun : 1);
}

static void make_unreachable(void)
{
	for (long i = 0; i < N; i++) {
		struct node *a = GC_NEW(struct node), *b = GC_NEW(struct node);
		a->to = b;
		a->number = i;
		b->number = N + i;
		GC_register_finalizer_no_order(a, on_final_keep, (void *)i, NULL, NULL);
		GC_register_finalizer_unreachable(b, on_final, (void *)(N + i), NULL, NULL);
	}
}

static void unreachable(void)
{
	int n = 0, late = 0;
	memset(run_at, 0, sizeof run_at);
	nrun = 0;
	afar(make_unreachable);
	collect();
	GC_invoke_finalizers();
	for (int i = 0; i < N; i++)
		n += run_at[i] != 0, late += run_at[N + i] != 0;
	say("unreachable: first", n, N);
	say("  while another's object reaches it", late, N);
	drop_kept();
	collect();
	GC_invoke_finalizers();
	late = 0;
	for (int i = 0; i < N; i++)
		late += run_at[N + i] != 0;
	say("  later", late, N);
}

static void *long_links[MANY];

static void make_linked(void)
{
	for (long i = 0; i < N; i++) {
		struct node *a = GC_NEW(struct node);
		a->number = i;
		watch((int)i, a);
		long_links[i] = (void *)GC_HIDE_POINTER(a);
		GC_register_long_link(&long_links[i], a);
		GC_register_finalizer_no_order(a, on_final_keep, (void *)i, NULL, NULL);
	}
}

static void count_long(const char *when)
{
	int n = 0;
	for (int i = 0; i < N; i++)
		n += long_links[i] == NULL;
	say(when, n, N);
}

static void two_kinds_of_links(void)
{
	afar(make_linked);
	collect();
	say("links: short gone", gone(0, N), N);
	count_long("  long gone before the finalizer");
	afar((void (*)(void))GC_invoke_finalizers);
	collect();
	count_long("  long gone while kept again");
	drop_kept();
	collect();
	count_long("  long gone in the end");
	void *obj = GC_malloc(32), *x = (void *)GC_HIDE_POINTER(obj), *y = x, *z = x;
	printf("  %d", GC_general_register_disappearing_link(&x, obj));
	printf(" %d", GC_general_register_disappearing_link(&x, obj));
	printf(" %d", GC_move_disappearing_link(&x, &y));
	printf(" %d", GC_move_disappearing_link(&x, &z));
	printf(" %d", GC_unregister_disappearing_link(&x));
	printf(" %d", GC_unregister_disappearing_link(&y));
	printf(" %d", GC_register_long_link(&z, obj));
	printf(" %d\n", GC_unregister_long_link(&z));
	GC_reachable_here(obj);
}

static void previous(void)
{
	GC_finalization_proc old = NULL;
	void *obj = GC_malloc(64), *cd = NULL;
	GC_register_finalizer(obj, on_final, (void *)7, &old, &cd);
	printf("previous: %d %ld", old != NULL, (long)cd);
	GC_register_finalizer_no_order(obj, on_final_keep, (void *)8, &old, &cd);
	printf(" %d %ld", old == on_final, (long)cd);
	GC_register_finalizer(obj, NULL, NULL, &old, &cd);
	printf(" %d %ld", old == on_final_keep, (long)cd);
	GC_register_finalizer(&old, on_final, NULL, &old, &cd);
	printf(" %d\n", old == NULL);
	GC_reachable_here(obj);
}

/* Toggle references: those with an even number say strong, the others weak. */
static GC_ToggleRefStatus toggle(void *obj)
{
	return ((struct node *)obj)->number % 2 == 0 ? GC_TOGGLE_REF_STRONG : GC_TOGGLE_REF_WEAK;
}

static void make_toggles(void)
{
	for (int i = 0; i < MANY; i++) {
		struct node *a = GC_NEW(struct node);
		a->number = i < N ? 2 * i : 2 * i + 1;
		watch(i, a);
		GC_toggleref_add(a, 1);
	}
}

static void toggles(void)
{
	GC_set_toggleref_func(toggle);
	afar(make_toggles);
	collect();
	say("toggles: strong ones gone", gone(0, N), N);
	say("  weak ones gone", gone(N, MANY), N);
}

static int asked, refused;
static unsigned kind;

static int GC_CALLBACK ask(void *obj)
{
	struct node *n = obj;
	if ((n->number & 1) == 0) /* one that was never filled in */
		return 0;
	asked++;
	if (n->pad++ > 0)
		return 0;
	refused++;
	return 1;
}

static void make_asked(void)
{
	for (long i = 0; i < N; i++) {
		struct node *n = GC_generic_malloc(sizeof *n, (int)kind);
		n->number = 2 * i + 1;
	}
}

static int closed;

static void on_close(void *obj, void *cd)
{
	closed += *(long *)obj == 11 && *(long *)cd == 22;
}

static long closure_data = 22;
static const struct GC_finalizer_closure closure = { on_close, &closure_data };

static void make_closed(void)
{
	for (int i = 0; i < N; i++)
		*(long *)GC_finalized_malloc(24, &closure) = 11;
}

/* Rows of three: each one's is whole while the one that refers to it is closed. */
struct link {
	long magic;
	struct link *next;
};

static int closed_in_rows, broken;

static void on_close_link(void *obj, void *cd)
{
	struct link *l = obj;
	closed_in_rows++;
	broken += l->magic != 33 || cd != NULL || (l->next != NULL && l->next->magic != 33);
	l->magic = 0;
	l->next = NULL;
}

static const struct GC_finalizer_closure link_closure = { on_close_link, NULL };

static void make_rows(void)
{
	struct link *next = NULL;
	for (int i = 0; i < 3 * N; i++) {
		struct link *l = GC_finalized_malloc(sizeof *l, &link_closure);
		l->magic = 33;
		l->next = i % 3 != 0 ? next : NULL;
		next = l;
	}
}

/* Who asks finds them dead, as long as nobody says otherwise. */
static unsigned dead_kind;
static int found_dead;

static int GC_CALLBACK ask_mark(void *obj)
{
	struct node *n = obj;
	if ((n->number & 1) == 0)
		return 0;
	if (GC_is_marked(obj))
		return 1;
	n->number = 0;
	found_dead++;
	return 0;
}

static void make_dead(void)
{
	for (long i = 0; i < N; i++)
		((struct node *)GC_generic_malloc(sizeof(struct node), (int)dead_kind))->number =
			2 * i + 1;
}

static void disclaim(void)
{
	dead_kind = GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
	GC_register_disclaim_proc((int)dead_kind, ask_mark, 1);
	kind = GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
	GC_register_disclaim_proc((int)kind, ask, 1);
	GC_init_finalized_malloc();
	afar(make_asked);
	afar(make_closed);
	afar(make_rows);
	afar(make_dead);
	for (int i = 0; i < 6; i++) {
		collect();
		for (int k = 0; k < 20000; k++) /* sweeps, where that is put off */
			GC_generic_malloc(sizeof(struct node), i % 2 ? (int)kind : (int)dead_kind),
				GC_malloc(24 + 8);
	}
	say("disclaim: refused", refused, N);
	say("  asked again", asked, 2 * N);
	say("  closures", closed, N);
	say("  in rows", closed_in_rows, 3 * N);
	printf("  broken: %d\n", broken);
	say("  found dead", found_dead, N);
}

static int deepest, depth;

/* on_nested - asks for what else is due. */
static void on_nested(void *obj, void *cd)
{
	depth++;
	deepest = depth > deepest ? depth : deepest;
	on_final(obj, cd);
	while (GC_should_invoke_finalizers())
		GC_invoke_finalizers();
	depth--;
}

static void make_nested(void)
{
	for (long i = 0; i < N; i++) {
		struct node *n = GC_NEW(struct node);
		n->number = i;
		GC_register_finalizer(n, on_nested, (void *)i, NULL, NULL);
	}
}

static void nested(void)
{
	nrun = resurrected = 0;
	afar(make_nested);
	collect();
	GC_invoke_finalizers();
	say("nested: run", nrun, N);
	say("  inside others", deepest, N);
}

static int nrefused;

static int GC_CALLBACK refuse(void *obj)
{
	nrefused += ((struct node *)obj)->number == 77; /* and not one that was never filled in */
	return 1;
}

/* Only finalizers run that are registered: nobody is asked of live objects. */
static void all(void)
{
	static struct node *roots[N], *volatile asked_none, *volatile not_closed;
	unsigned strict = GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
	GC_register_disclaim_proc((int)strict, refuse, 1);
	asked_none = GC_generic_malloc(sizeof *asked_none, (int)strict);
	asked_none->number = 77;
	not_closed = GC_finalized_malloc(sizeof *not_closed, &closure);
	not_closed->number = 11;
	nrun = nrefused = closed = 0;
	for (long i = 0; i < N; i++) {
		roots[i] = GC_NEW(struct node);
		GC_register_finalizer(roots[i], on_final, (void *)i, NULL, NULL);
	}
	collect();
	GC_invoke_finalizers();
	printf("all: %d", nrun);
	GC_finalize_all();
	GC_invoke_finalizers();
	printf(" %d, asked: %d %d\n", nrun, nrefused, closed);
}

/* What the program kept for the want of memory need not be an object at all. */
static void *keep_back(size_t n)
{
	static long kept[8];
	(void)n;
	return kept;
}

static void without_memory(void)
{
	GC_oom_func old = GC_get_oom_fn();
	GC_set_oom_fn(keep_back);
	int got = GC_finalized_malloc((size_t)1 << 62, &closure) != NULL &&
		  GC_generic_malloc((size_t)1 << 62, (int)kind) != NULL;
	GC_set_oom_fn(old);
	closed = 0;
	collect();
	GC_invoke_finalizers();
	printf("kept for the want of memory: %d, closed: %d\n", got, closed);
}

int main(void)
{
	use_all();
	GC_INIT();
	GC_set_warn_proc(GC_ignore_warn_proc);
	previous();
	GC_set_finalize_on_demand(1);
	GC_set_finalizer_notifier(on_notify);
	GC_set_await_finalize_proc(on_await);
	order = GC_register_finalizer;
	round_of("ordered");
	printf("told: %d %d\n", notified > 0, awaited >= N);
	GC_set_await_finalize_proc(NULL);
	order = GC_register_finalizer, selfish = 1;
	round_of("ordered, to itself");
	order = GC_register_finalizer_ignore_self;
	round_of("ignoring itself");
	selfish = 0, cyclic = 1, order = GC_register_finalizer;
	round_of("ordered, in a cycle");
	order = GC_register_finalizer_unreachable;
	round_of("unreachable, in a cycle");
	cyclic = 0;
	round_of("unreachable, in a row");
	cyclic = 1;
	order = GC_register_finalizer_no_order;
	round_of("without order, in a cycle");
	unreachable();
	two_kinds_of_links();
	toggles();
	nested();
	GC_set_finalize_on_demand(0);
	disclaim();
	all();
	without_memory();
	return 0;
}
