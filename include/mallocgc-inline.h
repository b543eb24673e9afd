/* mallocgc-inline.h - the same API with its short paths inlined: include it instead of <mallocgc.h>, and
 * mgc_new, mgc_write, mgc_cas, mgc_exchange and mgc_safepoint become a few instructions in the program
 * itself, with a call only where something is to be done (a run used up, a collection under way).
 *
 * WHAT IT COSTS  The program then knows a part of the library's memory, and must be compiled again for a
 *          library of another layout. A constructor that this header puts into each object file compares
 *          the layout before main (or in dlopen), and ends the process with a message that names both;
 *          a library without this check has no symbol of that name, and the loader refuses the program.
 * INSTRUCTIONS (x86-64, gcc 12 -O2; docs/adr/0022-inlined-paths.md has times, and what the calls cost)
 *          mgc_new 14, mgc_write 15 outside a collection, mgc_safepoint 5. A store into an object that is
 *          not published yet is a plain store: one.
 * `mgc_new` and its like are macros here, and functions still: &mgc_new, or (mgc_new)(type), is the called one. */
#ifndef MALLOCGC_INLINE_H
#define MALLOCGC_INLINE_H
#include <mallocgc.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes whenever what stands below about the library's memory does. */
#define MGC_INLINE_LAYOUT 1u

/* What the library keeps for each thread begins like this. Behind it: one run for each class of objects. */
struct mgc_inline_thread {
	uint32_t section; /* not 0: inside the library, or not attached */
	uint32_t asked; /* not 0: a safepoint has something to do */
	const uint64_t *phase; /* its low byte is 0 outside a collection */
};

/* Objects to be handed out: the next one, and where they end. */
struct mgc_inline_run {
	uintptr_t next, end;
};

extern MGC_API __thread struct mgc_inline_thread *mgc_inline_self
	__attribute__((tls_model("initial-exec")));

/* mgc_inline_this - the calling thread's. A fiber may go on in another thread after any call; gcc's code for
 * x86-64 asks the thread register for each load. On arm64 it may keep that register's value, and so may clang, and
 * whoever passes the variable's address to a sanitizer. */
static inline struct mgc_inline_thread *mgc_inline_this(void)
{
#if defined(__aarch64__)
	struct mgc_inline_thread *self;
	uintptr_t thread;
	__asm__ volatile("mrs %1, tpidr_el0\n\tadrp %0, :gottprel:mgc_inline_self\n\t"
			 "ldr %0, [%0, :gottprel_lo12:mgc_inline_self]\n\tldr %0, [%1, %0]"
			 : "=&r"(self), "=&r"(thread)
			 :
			 : "memory");
	return self;
#elif defined(__x86_64__) && \
	(defined(__clang__) || defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__))
	struct mgc_inline_thread *self;
	__asm__ volatile("movq mgc_inline_self@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0"
			 : "=r"(self)
			 :
			 : "memory");
	return self;
#else
	return mgc_inline_self;
#endif
}

/* mgc_inline_check - dies unless the library has that layout. `version` is the header's. */
MGC_API void mgc_inline_check(uint32_t layout, const char *version);

#define MGC_INLINE_TEXT_(x) #x
#define MGC_INLINE_TEXT(x) MGC_INLINE_TEXT_(x)

#ifndef MGC_IMPL /* the library itself needs no check */
__attribute__((constructor(101), used)) static void mgc_inline_check_at_start(void)
{
	mgc_inline_check(MGC_INLINE_LAYOUT,
			 MGC_INLINE_TEXT(MGC_VERSION_MAJOR) "." MGC_INLINE_TEXT(
				 MGC_VERSION_MINOR) "." MGC_INLINE_TEXT(MGC_VERSION_PATCH));
}
#endif

#define MGC_INLINE_FENCE() __asm__ volatile("" : : : "memory")
#define MGC_INLINE_UNLIKELY(x) __builtin_expect(!!(x), 0)

static inline MGC_NONNULL(1) void *mgc_inline_new(struct mgc_type *type)
{
	uint64_t id = __atomic_load_n(&type->mgc_id, __ATOMIC_ACQUIRE);
	struct mgc_inline_thread *self = mgc_inline_this();
	struct mgc_inline_run *run =
		(struct mgc_inline_run *)(void *)((char *)(self + 1) + (id & 0xfff0));
	uintptr_t object = __atomic_load_n(&run->next, __ATOMIC_RELAXED);
	uintptr_t next = object + (id >> 48);
	__asm__ volatile(""
			 : "+r"(next)); /* the compiler does not know that, and cannot do without `object` */
	/* next - 1: a type that was never used, or is large, has an empty run and objects of 0 bytes */
	if (MGC_INLINE_UNLIKELY(next - 1 >= __atomic_load_n(&run->end, __ATOMIC_RELAXED)))
		return mgc_new(type);
	__atomic_store_n(&run->next, next, __ATOMIC_RELAXED);
	/* the run has it no more, and a collection may look at this thread right here: now a register does */
	__asm__ volatile("" : "+r"(object) : : "memory");
	return (void *)object;
}

/* mgc_inline_enter - true: in a section, in which the phase cannot begin to matter. */
static inline int mgc_inline_enter(struct mgc_inline_thread *self)
{
	if (MGC_INLINE_UNLIKELY(self->section != 0))
		return 0; /* the called function attaches the thread, or names the mistake */
	__atomic_store_n(&self->section, 1u, __ATOMIC_RELAXED);
	MGC_INLINE_FENCE();
	if (__builtin_expect((__atomic_load_n(self->phase, __ATOMIC_ACQUIRE) & 0xff) == 0, 1))
		return 1;
	MGC_INLINE_FENCE();
	__atomic_store_n(&self->section, 0u, __ATOMIC_RELEASE);
	return 0;
}

static inline void mgc_inline_leave(struct mgc_inline_thread *self)
{
	MGC_INLINE_FENCE();
	__atomic_store_n(&self->section, 0u, __ATOMIC_RELEASE);
	MGC_INLINE_FENCE();
	if (MGC_INLINE_UNLIKELY(__atomic_load_n(&self->asked, __ATOMIC_RELAXED) != 0))
		mgc_safepoint();
}

static inline MGC_NONNULL(1) void mgc_inline_write(void *slot, void *ptr)
{
	struct mgc_inline_thread *self = mgc_inline_this();
	if (!mgc_inline_enter(self)) {
		mgc_write(slot, ptr);
		return;
	}
	__atomic_store_n((void **)slot, ptr, __ATOMIC_RELEASE);
	mgc_inline_leave(self);
}

static inline MGC_NONNULL(1) int mgc_inline_cas(void *slot, void *expected, void *ptr)
{
	struct mgc_inline_thread *self = mgc_inline_this();
	if (!mgc_inline_enter(self))
		return mgc_cas(slot, expected, ptr);
	int stored = __atomic_compare_exchange_n((void **)slot, &expected, ptr, 0, __ATOMIC_SEQ_CST,
						 __ATOMIC_SEQ_CST);
	mgc_inline_leave(self);
	return stored;
}

static inline MGC_NONNULL(1) void *mgc_inline_exchange(void *slot, void *ptr)
{
	struct mgc_inline_thread *self = mgc_inline_this();
	if (!mgc_inline_enter(self))
		return mgc_exchange(slot, ptr);
	void *old = __atomic_exchange_n((void **)slot, ptr, __ATOMIC_ACQ_REL);
	mgc_inline_leave(self);
	return old;
}

static inline void mgc_inline_safepoint(void)
{
	if (MGC_INLINE_UNLIKELY(__atomic_load_n(&mgc_inline_this()->asked, __ATOMIC_RELAXED) != 0))
		mgc_safepoint();
}

#ifdef __cplusplus
}
#endif

#define mgc_new(type) mgc_inline_new(type)
#define mgc_write(slot, ptr) mgc_inline_write(slot, ptr)
#define mgc_cas(slot, expected, ptr) mgc_inline_cas(slot, expected, ptr)
#define mgc_exchange(slot, ptr) mgc_inline_exchange(slot, ptr)
#define mgc_safepoint() mgc_inline_safepoint()

#endif
