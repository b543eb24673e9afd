/* compiler.h - attributes, and the marks for sanitizers that vanish when those are off. */
#ifndef MGC_BASE_COMPILER_H
#define MGC_BASE_COMPILER_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif

#define MGC_LIKELY(x) __builtin_expect(!!(x), 1)
#define MGC_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define MGC_INLINE static inline __attribute__((always_inline, unused))
#define MGC_NOINLINE __attribute__((noinline))
#define MGC_COLD __attribute__((cold, noinline))
#define MGC_NORETURN __attribute__((noreturn))
#define MGC_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define MGC_ALIGNED(n) __attribute__((aligned(n)))
#define MGC_TLS __thread __attribute__((tls_model("initial-exec")))

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define MGC_WITH_ASAN 1
#else
#define MGC_WITH_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define MGC_WITH_TSAN 1
#else
#define MGC_WITH_TSAN 0
#endif

/* clang's no_sanitize("thread") leaves atomics instrumented. */
#if MGC_WITH_TSAN && defined(__clang__)
#define MGC_NO_TSAN_ATOMICS disable_sanitizer_instrumentation,
#else
#define MGC_NO_TSAN_ATOMICS
#endif

/* A function that reads words it does not own: other threads' stacks, ambiguous ranges. Uses of it
 * are listed here, one by one: marker_range, load_word, next_near, copy_words, read_range,
 * read_fake_frames, lowest_pointer_into, shade_stack; all_home, allocated_by. */
#define MGC_NO_SANITIZE \
	__attribute__((no_sanitize("address", "thread", "undefined"), MGC_NO_TSAN_ATOMICS noinline))

/* Keeps the value alive, and unknown to the optimiser, up to here. */
#define MGC_KEEP(v) __asm__ volatile("" : : "r"(v) : "memory")
/* From here on the compiler knows nothing of where the value of v came from. */
#define MGC_OPAQUE(v) __asm__ volatile("" : "+r"(v) : : "memory")
#define MGC_COMPILER_FENCE() __asm__ volatile("" : : : "memory")

#endif
