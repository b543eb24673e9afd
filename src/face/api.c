/* api.c - include/mallocgc.h on the default heap. Each function: make sure that the thread is
 * attached, check the arguments, call the layer below. */
#include "face/api.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "base/statout.h"
#include "gc/background.h"
#include "gc/barrier.h"
#include "gc/cycle.h"
#include "gc/type.h"
#include "mallocgc.h"
#include "os/os.h"
#include "sample/pprof.h"

/* What mgc_init was given; written before the library starts. */
static unsigned init_flags;

static void apply_init_flags(struct knobs *k)
{
	if (init_flags & MGC_INIT_POLL)
		k->poll = 1;
}

const struct runtime_config api_config = {
	.name = "native", .own_finalizer_thread = true, .concurrent = true, .adjust = apply_init_flags
};

MGC_COLD struct mutator *api_attach_writer(void)
{
	struct mutator *m = runtime_attach(&api_config);
	if (m == NULL)
		mgc_fatal("no memory to attach a thread that stores references");
	return m;
}

MGC_COLD void api_blocks(const struct mutator *m)
{
	mgc_misuse("a call between mgc_blocking_enter and mgc_blocking_leave (thread %d): its "
		   "stack counts as it was at the first of them, so what it gets now could be "
		   "freed under it",
		   m->tid);
}

MGC_COLD void api_null(const char *call, const char *argument)
{
	mgc_misuse("%s: %s is NULL", call, argument);
}

void *api_no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

int api_fail(int err)
{
	errno = err;
	return -1;
}

static void *result(uintptr_t p)
{
	return MGC_LIKELY(p != 0) ? (void *)p : api_no_memory();
}

int mgc_init(unsigned flags)
{
	if (flags & ~(unsigned)MGC_INIT_POLL)
		return api_fail(EINVAL);
	if (runtime_started())
		return api_fail(EALREADY);
	init_flags = flags;
	int err = runtime_try_start(&api_config);
	return err == 0 ? 0 : api_fail(err);
}

/* ── allocation ─────────────────────────────────────────────────────────────────────────── */

static MGC_NOINLINE void *new_slow(struct mgc_type *t)
{
	struct mutator *m = api_self();
	if (m == NULL)
		return api_no_memory();
	uint64_t id = type_id(&runtime.heap.layouts, t);
	if (type_spanclass(id) != 0)
		return result(gc_alloc_slot(&runtime.gc, m, type_spanclass(id), type_slot_nbytes(id)));
	if (type_layout(id) == LAYOUT_ID_NOSCAN && t->size < MGC_MAX_TINY)
		return result(gc_alloc_tiny(&runtime.gc, m, t->size));
	return result(gc_alloc(&runtime.gc, m, type_layout(id), t->size));
}

void *mgc_new(struct mgc_type *type)
{
	if (MGC_ASSERT && type == NULL) /* else address 0 says so */
		api_null("mgc_new", "type");
	uint64_t id = load_acquire(&type->mgc_id); /* pairs: type-id */
	/* an unknown type, and a thread that is not attached, have an empty run: class 0 has none */
	uintptr_t p = cache_pop(mutator_self(), type_spanclass(id), type_slot_nbytes(id));
	return MGC_LIKELY(p != 0) ? (void *)p : new_slow(type);
}

void *mgc_new_array(struct mgc_type *type, size_t n)
{
	struct mutator *m = api_self();
	size_t nbytes;
	if (type == NULL)
		api_null("mgc_new_array", "type");
	if (mul_overflows(type->size, n, &nbytes) || nbytes > PTRDIFF_MAX) {
		errno = EOVERFLOW;
		return NULL;
	}
	if (m == NULL)
		return api_no_memory();
	uint64_t id = type_id(&runtime.heap.layouts, type);
	return result(gc_alloc(&runtime.gc, m, type_layout(id), nbytes));
}

/* layout_for - the layout that mgc_alloc's type and flags describe; 0 with errno set. */
static unsigned layout_for(struct mgc_type *type, unsigned flags)
{
	struct layouts *ls = &runtime.heap.layouts;
	bool untyped_noscan = flags & MGC_NOSCAN;
	bool noscan = untyped_noscan || (type != NULL && type->ptr_bytes == 0 &&
					 type->trace == NULL && type->trace_part == NULL);
	if ((flags & MGC_NOZERO && !noscan) ||
	    flags & ~(unsigned)(MGC_NOSCAN | MGC_NOZERO | MGC_UNCOLLECTABLE | MGC_ARRAY)) {
		errno = EINVAL;
		return 0;
	}
	unsigned plain = untyped_noscan ? LAYOUT_ID_NOSCAN
			 : type != NULL ? type_layout(type_id(ls, type))
					: LAYOUT_ID_WORDS;
	unsigned more = (flags & MGC_NOZERO ? LAYOUT_NOZERO : 0) |
			(flags & MGC_UNCOLLECTABLE ? LAYOUT_UNCOLLECTABLE : 0);
	if (more == 0)
		return plain;
	struct layout_desc d = ls->layout[plain].desc;
	d.flags |= more;
	unsigned id = layout_intern(ls, &d);
	if (id == 0)
		errno = ENOMEM;
	else if (type != NULL && type->name != NULL && load_relaxed(&ls->layout[id].name) == NULL)
		layout_add_name(ls, id, type->name);
	return id;
}

void *mgc_alloc(size_t size, struct mgc_type *type, unsigned flags)
{
	struct mutator *m = api_self();
	if (m == NULL || size > PTRDIFF_MAX)
		return api_no_memory();
	unsigned layout = layout_for(type, flags);
	if (layout == 0)
		return NULL;
	if (layout == LAYOUT_ID_NOSCAN && size < MGC_MAX_TINY)
		return result(gc_alloc_tiny(&runtime.gc, m, size));
	return result(gc_alloc(&runtime.gc, m, layout, size));
}

void mgc_free(void *p)
{
	if (p == NULL)
		return;
	struct mutator *m = api_self();
	if (m == NULL)
		mgc_misuse("free of %p by a thread that has no memory to attach", p);
	gc_free(&runtime.gc, m, (uintptr_t)p);
}

void *mgc_base(const void *p)
{
	size_t nbytes;
	if (!runtime_started())
		return NULL;
	return (void *)gc_object(&runtime.gc, (uintptr_t)p, &nbytes);
}

size_t mgc_size(const void *p)
{
	size_t nbytes = 0;
	if (!runtime_started())
		return 0;
	return gc_object(&runtime.gc, (uintptr_t)p, &nbytes) != 0 ? nbytes : 0;
}

int mgc_is_heap(const void *p)
{
	return mgc_base(p) != NULL;
}

/* ── stores ─────────────────────────────────────────────────────────────────────────────── */

void mgc_write(void *slot, void *ptr)
{
	barrier_write(api_writer(), slot, (uintptr_t)ptr);
}

void mgc_write_range(void *slots, void *const *src, size_t n)
{
	barrier_move(api_writer(), slots, (const uintptr_t *)(const void *)src, n);
}

/* whole_words - dies unless a range of references is made of words. */
static void whole_words(const char *who, const void *p, size_t nbytes)
{
	if (MGC_UNLIKELY(((uintptr_t)p | nbytes) % sizeof(void *) != 0))
		mgc_misuse("%s: %zu bytes at %p are not whole 8-byte words", who, nbytes, p);
}

void mgc_move(void *dst, const void *src, size_t nbytes)
{
	whole_words("mgc_move", dst, nbytes);
	whole_words("mgc_move", src, nbytes);
	barrier_move(api_writer(), dst, src, nbytes / sizeof(void *));
}

void mgc_clear(void *dst, size_t nbytes)
{
	whole_words("mgc_clear", dst, nbytes);
	barrier_move(api_writer(), dst, NULL, nbytes / sizeof(void *));
}

int mgc_cas(void *slot, void *expected, void *ptr)
{
	return barrier_cas(api_writer(), slot, (uintptr_t)expected, (uintptr_t)ptr);
}

void *mgc_exchange(void *slot, void *ptr)
{
	return (void *)barrier_exchange(api_writer(), slot, (uintptr_t)ptr);
}

/* ── roots ──────────────────────────────────────────────────────────────────────────────── */

int mgc_root_add(void *start, size_t nbytes, unsigned flags)
{
	uintptr_t lo = (uintptr_t)start;
	if (api_self() == NULL)
		return api_fail(ENOMEM);
	if (lo == 0 || nbytes == 0 || lo + nbytes < lo ||
	    flags & ~(unsigned)(MGC_ROOT_UNBARRIERED | MGC_ROOT_AMBIGUOUS))
		return api_fail(EINVAL);
	int err = roots_add(&runtime.gc.roots, lo, lo + nbytes, flags);
	return err == 0 ? 0 : api_fail(err);
}

int mgc_stack_add_owned(struct mgc_stack *stack, void *start, size_t nbytes, void **top)
{
	struct mutator *m = api_self();
	uintptr_t lo = (uintptr_t)start;
	if (m == NULL)
		return api_fail(ENOMEM);
	if (lo == 0 || nbytes == 0 || lo + nbytes < lo || top == NULL)
		return api_fail(EINVAL);
	struct roots *r = &runtime.gc.roots;
	struct owned_range **list = stack != NULL ? &stack->owned : roots_own_list(r, m);
	int err = list != NULL
			  ? roots_add_owned(r, lo, lo + nbytes, (const uintptr_t *)(void *)top, list)
			  : ENOMEM;
	return err == 0 ? 0 : api_fail(err);
}

int mgc_root_add_owned(void *start, size_t nbytes, void **top)
{
	return mgc_stack_add_owned(NULL, start, nbytes, top);
}

int mgc_root_give(void *start, struct mgc_stack *stack)
{
	struct mutator *m = api_self();
	if (m == NULL)
		return api_fail(ENOMEM);
	struct roots *r = &runtime.gc.roots;
	struct owned_range **list = stack != NULL ? &stack->owned : roots_own_list(r, m);
	int err = list != NULL ? roots_give_owned(r, (uintptr_t)start, list) : ENOMEM;
	return err == 0 ? 0 : api_fail(err);
}

/* remove_root - to a cycle that has not read the range yet, its references are overwritten. */
static int remove_root(struct mutator *m, uintptr_t lo)
{
	struct roots *r = &runtime.gc.roots;
	roots_acquire(r);
	if (heap_phase(m->heap) != PHASE_OFF)
		for (const uintptr_t *w = (const uintptr_t *)lo, *end = w + roots_words(r, lo);
		     w < end; w++)
			barrier_shade(m, load_relaxed(w));
	int err = roots_remove(r, lo);
	roots_release(r);
	return err;
}

int mgc_root_remove(void *start)
{
	struct mutator *m = api_self();
	if (m == NULL)
		return api_fail(ENOMEM);
	int err = remove_root(m, (uintptr_t)start);
	return err == 0 ? 0 : api_fail(err);
}

int mgc_root_add_globals(void)
{
	int err = runtime_try_start(&api_config);
	if (err != 0)
		return api_fail(err);
	cycle_take_world(&runtime.gc);
	store_relaxed(&runtime.gc.roots.globals, true);
	lock_release(&runtime.gc.world);
	return 0;
}

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

int mgc_thread_attach(void)
{
	return api_self() != NULL ? 0 : api_fail(ENOMEM);
}

void mgc_thread_detach(void)
{
	runtime_detach();
}

struct thread_start {
	void *(*fn)(void *);
	void *arg;
	uint32_t attached; /* atomic, futex */
	int err;
};

/* The record lies on the creator's stack, which keeps arg, until `attached` is set. */
static void *thread_main(void *p)
{
	struct thread_start *s = p;
	void *(*fn)(void *) = s->fn;
	void *arg = s->arg;
	s->err = api_self() != NULL ? 0 : ENOMEM;
	bool ok = s->err == 0;
	store_release(&s->attached, 1u); /* pairs: thread-attached */
	os_wake(&s->attached, 1);
	return ok ? fn(arg) : NULL;
}

int mgc_thread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	struct thread_start s = { .fn = fn, .arg = arg };
	if (thread == NULL || fn == NULL)
		return EINVAL;
	struct mutator *m = api_self();
	if (m == NULL)
		return ENOMEM;
	int err = runtime_create_thread(m, thread, attr, thread_main, &s);
	while (err == 0 && load_acquire(&s.attached) == 0) /* pairs: thread-attached */
		os_wait(&s.attached, 0, 0);
	return err != 0 ? err : s.err;
}

void blocking_enter(uintptr_t a, uintptr_t b, const uintptr_t *regs, uintptr_t sp);
__attribute__((used)) void blocking_enter(uintptr_t a, uintptr_t b, const uintptr_t *regs, uintptr_t sp)
{
	struct mutator *m = runtime_self(&api_config);
	(void)a;
	(void)b;
	if (m == NULL)
		return;
	mutator_check_entry(m);
	stw_block_regs(m, regs, sp);
}
STW_ENTRY(mgc_blocking_enter, blocking_enter);

void mgc_blocking_leave(void)
{
	if (!mutator_attached())
		mgc_misuse("mgc_blocking_leave in a thread that is not attached");
	stw_unblock(&runtime.gc.stw, mutator_self());
}

void mgc_safepoint(void)
{
	struct mutator *m = mutator_self();
	if (MGC_UNLIKELY(load_relaxed(&m->pending) != 0) && m != &mutator_none)
		stw_park(&runtime.gc.stw, m);
}

struct mgc_stack *mgc_stack_register(void *lo, void *hi)
{
	struct mutator *m = api_self();
	if (m == NULL)
		return api_no_memory();
	if (lo == NULL || lo >= hi) {
		errno = EINVAL;
		return NULL;
	}
	struct mgc_stack *s = stacks_add(&runtime.gc.roots, (uintptr_t)lo, (uintptr_t)hi);
	return s != NULL ? s : api_no_memory();
}

void mgc_stack_unregister(struct mgc_stack *stack)
{
	struct mutator *m = api_self();
	if (stack == NULL || m == NULL)
		return;
	if (load_relaxed(&stack->running) != NULL)
		mgc_misuse("mgc_stack_unregister of a stack that a thread runs on");
	stacks_remove(&runtime.gc.roots, stack);
}

/* shade_words - of [lo, hi), if a cycle is on. */
static void shade_words(struct mutator *m, uintptr_t lo, uintptr_t hi)
{
	if (heap_phase(m->heap) == PHASE_OFF)
		return;
	for (const uintptr_t *w = (const uintptr_t *)lo; (uintptr_t)w < hi; w++)
		barrier_shade(m, load_relaxed(w));
}

void mgc_stack_prepare(struct mgc_stack *stack, void *sp)
{
	struct mutator *m = api_writer();
	uintptr_t from = (uintptr_t)sp;
	if (stack == NULL)
		api_null("mgc_stack_prepare", "stack");
	if (from < stack->lo || from > stack->hi || from % sizeof(void *) != 0)
		mgc_misuse("mgc_stack_prepare: %p is not in the stack from %p to %p", sp,
			   (void *)stack->lo, (void *)stack->hi);
	if (load_relaxed(&stack->running) != NULL)
		mgc_misuse("mgc_stack_prepare of a stack that a thread runs on");
	mutator_enter(m);
	stacks_prepare(stack, from);
	shade_words(m, from, stack->hi);
	mutator_leave(m);
}

void stack_switch(struct mgc_stack *from, struct mgc_stack *to, const uintptr_t *regs, uintptr_t sp);
__attribute__((used)) void stack_switch(struct mgc_stack *from, struct mgc_stack *to,
					const uintptr_t *regs, uintptr_t sp)
{
	struct mutator *m = api_self();
	if (m == NULL)
		mgc_fatal("no memory to attach the thread");
	mutator_enter(m);
	stacks_switch(&runtime.gc.pool, m, from, to, regs, sp);
	mutator_leave(m);
}
STW_ENTRY(mgc_stack_switch, stack_switch);

/* ── control and statistics ─────────────────────────────────────────────────────────────── */

void mgc_collect(void)
{
	struct mutator *m = api_self();
	if (m != NULL)
		cycle_collect(&runtime.gc, m, CYCLE_FORCED);
}

/* with_world - changes a setting between collections. */
static int64_t change(int64_t (*set)(int64_t), int64_t value)
{
	runtime_start(&api_config);
	cycle_take_world(&runtime.gc);
	int64_t old = set(value);
	cycle_set_goal(&runtime.gc);
	lock_release(&runtime.gc.world);
	return old;
}

static int64_t set_percent(int64_t value)
{
	int64_t old = runtime.gc.pacer.percent;
	runtime.gc.pacer.percent = value < 0 ? KNOB_OFF : value;
	return old;
}

static int64_t set_limit(int64_t value)
{
	uint64_t old = runtime.gc.limit_is_set ? runtime.gc.pacer.limit_nbytes : UINT64_MAX;
	if (value >= 0)
		gc_set_limit(&runtime.gc, value == INT64_MAX ? UINT64_MAX : (uint64_t)value);
	return old > INT64_MAX ? INT64_MAX : (int64_t)old;
}

int mgc_set_percent(int percent)
{
	return (int)change(set_percent, percent);
}

int64_t mgc_set_memory_limit(int64_t nbytes)
{
	return change(set_limit, nbytes);
}

size_t mgc_release(void)
{
	runtime_start(&api_config);
	return background_release(&runtime.gc);
}

void mgc_read_stats(struct mgc_stats *stats)
{
	if (stats == NULL)
		api_null("mgc_read_stats", "stats");
	struct mgc_stats s = { .struct_size = stats->struct_size };
	runtime_start(&api_config);
	gc_read_stats(&runtime.gc, &s);
	if (stats->struct_size < sizeof s.struct_size)
		mgc_misuse("mgc_read_stats: struct_size is %zu; set it to sizeof(struct mgc_stats)",
			   stats->struct_size);
	memcpy(stats, &s, min_size(stats->struct_size, sizeof s));
}

int mgc_write_stats(int fd, const char *format)
{
	enum stat_format f;
	const char *file;
	struct stat_values values;
	if (format == NULL || !stat_target(format, &f, &file) || file != NULL) {
		errno = EINVAL;
		return -1;
	}
	runtime_start(&api_config);
	runtime_read_stats(&values);
	int err = stat_write(fd, f, &values);
	if (err != 0)
		errno = err;
	return err == 0 ? 0 : -1;
}

int mgc_write_profile(int fd)
{
	runtime_start(&api_config);
	struct pprof_source own = pprof_own();
	int err = pprof_write(fd, &own);
	if (err != 0)
		errno = err;
	return err == 0 ? 0 : -1;
}

size_t mgc_set_sample_rate(size_t nbytes)
{
	runtime_start(&api_config);
	return swap_acq_rel(&sampler.rate_nbytes, (uint64_t)nbytes);
}

const char *mgc_version(void)
{
	return "0.1.0";
}
