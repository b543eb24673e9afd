/* annotate.c - see annotate.h. WHO the functions there. */
#include "base/annotate.h"

#define WEAK __attribute__((weak, visibility("default")))

void __asan_poison_memory_region(void const volatile *p, size_t nbytes) WEAK;
void __asan_unpoison_memory_region(void const volatile *p, size_t nbytes) WEAK;
void __lsan_register_root_region(const void *p, size_t nbytes) WEAK;
void *__asan_get_current_fake_stack(void) WEAK;
void *__asan_addr_is_in_fake_stack(void *fake_stack, void *addr, void **lo, void **hi) WEAK;

bool annotate_on;
static bool under_valgrind;

/* Requests to Valgrind, and to memcheck ('M', 'C' in the upper half). */
enum {
	RUNNING_ON_VALGRIND = 0x1001,
	CHANGE_ERROR_DISABLEMENT = 0x1801,
	MAKE_NOACCESS = 0x4d430000,
	MAKE_UNDEFINED,
	MAKE_DEFINED,
};

/* request - 0 where no Valgrind is listening: rotations that cancel out, and an exchange of a register with
 * itself. */
static uintptr_t request(uintptr_t what, uintptr_t a, uintptr_t b)
{
	const volatile uintptr_t args[6] = { what, a, b, 0, 0, 0 };
	uintptr_t result = 0;
#if defined(__x86_64__)
	__asm__ volatile("rolq $3, %%rdi\n rolq $13, %%rdi\n rolq $61, %%rdi\n rolq $51, %%rdi\n"
			 "xchgq %%rbx, %%rbx"
			 : "+d"(result)
			 : "a"(args)
			 : "cc", "memory");
#elif defined(__aarch64__)
	register const volatile uintptr_t *x4 __asm__("x4") = args;
	register uintptr_t x3 __asm__("x3") = 0;
	__asm__ volatile("ror x12, x12, #3\n ror x12, x12, #13\n ror x12, x12, #51\n"
			 "ror x12, x12, #61\n orr x10, x10, x10"
			 : "+r"(x3)
			 : "r"(x4)
			 : "cc", "memory");
	result = x3;
#endif
	return result;
}

void annotate_start(void)
{
	under_valgrind = request(RUNNING_ON_VALGRIND, 0, 0) != 0;
	annotate_on = under_valgrind || __asan_poison_memory_region != NULL;
}

void annotate_free_slow(uintptr_t p, size_t nbytes)
{
	if (under_valgrind)
		(void)request(MAKE_NOACCESS, p, nbytes);
	if (__asan_poison_memory_region != NULL)
		__asan_poison_memory_region((void *)p, nbytes);
}

void annotate_alloc_slow(uintptr_t p, size_t nbytes, bool defined)
{
	if (under_valgrind)
		(void)request(defined ? MAKE_DEFINED : MAKE_UNDEFINED, p, nbytes);
	if (__asan_unpoison_memory_region != NULL)
		__asan_unpoison_memory_region((void *)p, nbytes);
}

void annotate_heap_slow(uintptr_t p, size_t nbytes)
{
	if (__lsan_register_root_region != NULL)
		__lsan_register_root_region((void *)p, nbytes);
}

void annotate_quiet_slow(bool on)
{
	if (under_valgrind)
		(void)request(CHANGE_ERROR_DISABLEMENT, on ? 1 : (uintptr_t)-1, 0);
}

void *annotate_fake_stack(void)
{
	return __asan_get_current_fake_stack != NULL ? __asan_get_current_fake_stack() : NULL;
}

bool annotate_fake_frame(void *fake_stack, uintptr_t word, uintptr_t *lo, uintptr_t *hi)
{
	void *begin, *end;
	if (__asan_addr_is_in_fake_stack(fake_stack, (void *)word, &begin, &end) == NULL)
		return false;
	*lo = (uintptr_t)begin;
	*hi = (uintptr_t)end;
	return true;
}
