/* interface_test.c - each function of the malloc face at its edges: what it returns, errno, alignment, zero
 * sizes, overflow; C++'s operators by their mangled names; what happens outside main.
 * links: malloc */
#include "lib/plain.h"

#include <limits.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>

/* The compiler knows malloc, and folds calls whose end it sees. */
static volatile size_t huge = (size_t)PTRDIFF_MAX + 1, most = SIZE_MAX;

void free_sized(void *p, size_t nbytes);
void free_aligned_sized(void *p, size_t align, size_t nbytes);
void *_Znwm(size_t nbytes);
void *_Znam(size_t nbytes);
void *_ZnwmRKSt9nothrow_t(size_t nbytes, const void *tag);
void *_ZnwmSt11align_val_t(size_t nbytes, size_t align);
void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t nbytes, size_t align, const void *tag);
void _ZdlPv(void *p);
void _ZdaPvm(void *p, size_t nbytes);
void _ZdlPvSt11align_val_t(void *p, size_t align);

/* Allocated before main, freed in it. */
static void *early;
__attribute__((constructor)) static void allocate_early(void)
{
	early = malloc(100);
	memset(early, 1, 100);
}

/* Variables, so that the compiler does not judge the arguments. */
static volatile size_t vast = (size_t)1 << 62, odd = 48;

#define CHECK_NO_MEMORY(call) \
	do { \
		errno = 0; \
		CHECK((call) == NULL); \
		CHECK_EQ(errno, ENOMEM); \
	} while (0)

TEST(sizes_and_alignment)
{
	for (size_t n = 0; n < 70000; n += n < 2100 ? 1 : 997) {
		unsigned char *p = malloc(n), *q = malloc(n);
		CHECK(p != NULL && q != NULL && p != q);
		CHECK((uintptr_t)p % 16 == 0 && (uintptr_t)q % 16 == 0);
		CHECK(malloc_usable_size(p) >= n &&
		      malloc_usable_size(p) <= n + n / 4 + (n > 32768 ? 65536 : 16));
		memset(p, 0xaa, malloc_usable_size(p));
		memset(q, 0x55, malloc_usable_size(q));
		CHECK(n == 0 || (p[0] == 0xaa && p[n - 1] == 0xaa));
		free(p);
		free_sized(q, n);
	}
	CHECK_EQ(malloc_usable_size(NULL), 0);
	free(NULL);
	free_sized(NULL, 0);
	free_aligned_sized(NULL, 0, 0);
	free(early);
}

TEST(too_much)
{
	CHECK_NO_MEMORY(malloc(huge));
	CHECK_NO_MEMORY(malloc(most));
	CHECK_NO_MEMORY(malloc(most - 15));
	CHECK_NO_MEMORY(malloc((size_t)PTRDIFF_MAX));
	CHECK_NO_MEMORY(calloc(most, 2));
	CHECK_NO_MEMORY(calloc(huge, 1));
	CHECK_NO_MEMORY(calloc(most / 3, 4));
	CHECK_NO_MEMORY(aligned_alloc(64, huge));
	CHECK_NO_MEMORY(aligned_alloc(vast, 100));
	CHECK_NO_MEMORY(memalign(4096, most - 4096));
	CHECK_NO_MEMORY(valloc(most));
	CHECK_NO_MEMORY(pvalloc(most));
	CHECK_NO_MEMORY(pvalloc(huge - 2));
	char *p = malloc(100);
	memset(p, 'x', 100);
	CHECK_NO_MEMORY(realloc(p, huge));
	CHECK_NO_MEMORY(reallocarray(p, most, 16));
	CHECK(p[0] == 'x' && p[99] == 'x'); /* still ours */
	free(p);
	char *big = malloc(1 << 20);
	CHECK_NO_MEMORY(realloc(big, huge));
	free(big);
	void *out = &out;
	errno = 77;
	CHECK_EQ(posix_memalign(&out, 16, huge), ENOMEM);
	CHECK(out == &out && errno == 77);
}

TEST(zeroed)
{
	for (size_t n = 1; n < (size_t)1 << 22; n = n * 3 / 2 + 1) {
		unsigned char *p = malloc(n);
		memset(p, 0xff, n);
		free(p);
		p = calloc(1, n);
		for (size_t i = 0; i < n; i++)
			CHECK_EQ(p[i], 0);
		free(p);
	}
	free(calloc(0, 8));
	free(calloc(8, 0));
}

TEST(resized)
{
	unsigned char *p = realloc(NULL, 1);
	p[0] = 7;
	for (size_t n = 1; n < (size_t)40 << 20; n = n * 5 / 3 + 1) {
		p = realloc(p, n);
		CHECK(p[0] == 7 && p[n / 2] == (n < 5 ? p[n / 2] : 7));
		memset(p, 7, n);
	}
	for (size_t n = (size_t)30 << 20; n > 0; n /= 3) {
		p = realloc(p, n);
		CHECK(p[0] == 7 && p[n - 1] == 7);
		CHECK(malloc_usable_size(p) <= 4 * n + 16384);
	}
	errno = 5;
	CHECK(realloc(p, 0) == NULL); /* freed, as glibc does */
	CHECK_EQ(errno, 5);
	p = reallocarray(NULL, 10, 10);
	CHECK(p != NULL);
	free(p);
}

TEST(aligned)
{
	for (size_t align = 1; align <= (size_t)(MGC_HOSTILE ? 2 : 32) << 20; align *= 2)
		for (size_t n = 0; n <= 200000; n = n * 7 + 1) {
			unsigned char *p = memalign(align, n);
			CHECK(p != NULL && (uintptr_t)p % align == 0 && (uintptr_t)p % 16 == 0);
			CHECK(malloc_usable_size(p) >= n);
			memset(p, 1, n);
			free_aligned_sized(p, align, n);
			p = aligned_alloc(align, n);
			CHECK(p != NULL && (uintptr_t)p % align == 0);
			p = realloc(p, n + 1);
			CHECK(p != NULL);
			free(p);
		}
	void *out = NULL;
	CHECK_EQ(posix_memalign(&out, 3, 8), EINVAL);
	CHECK_EQ(posix_memalign(&out, 4, 8), EINVAL);
	CHECK_EQ(posix_memalign(&out, 0, 8), EINVAL);
	CHECK_EQ(posix_memalign(&out, 8, 0), 0);
	CHECK(out != NULL);
	free(out);
	errno = 0;
	CHECK(aligned_alloc(odd, 100) == NULL && errno == EINVAL);
	out = memalign(odd, 100); /* as glibc: the next power of two */
	CHECK(out != NULL && (uintptr_t)out % 64 == 0);
	free(out);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	out = valloc(1);
	CHECK((uintptr_t)out % page == 0);
	free(out);
	out = pvalloc(page + 1);
	CHECK((uintptr_t)out % page == 0 && malloc_usable_size(out) >= 2 * page);
	free(out);
}

/* errno changes only to say why a call failed. */
TEST(errno_is_kept)
{
	static void *p[3000];
	errno = 12345;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 3000; i++)
			p[i] = malloc(i % 100 == 0 ? i * 1000 : i);
		for (size_t i = 0; i < 3000; i++)
			free(p[i]);
		malloc_trim(0);
	}
	free(malloc((size_t)64 << 20));
	CHECK_EQ(errno, 12345);
}

TEST(cxx_operators)
{
	void *p = _Znwm(0), *q = _Znam(40);
	CHECK(p != NULL && q != NULL && p != q);
	_ZdlPv(p);
	_ZdaPvm(q, 40);
	_ZdlPv(NULL);
	p = _ZnwmSt11align_val_t(100, 256);
	CHECK((uintptr_t)p % 256 == 0);
	_ZdlPvSt11align_val_t(p, 256);
	CHECK(_ZnwmRKSt9nothrow_t(huge, "") == NULL);
	CHECK(_ZnamSt11align_val_tRKSt9nothrow_t(huge, 64, "") == NULL);
}

/* ── what it says of itself ─────────────────────────────────────────────────────────────── */

TEST(numbers)
{
	struct mallinfo2 before = mallinfo2();
	void *p[1000];
	for (int i = 0; i < 1000; i++)
		p[i] = malloc(1000);
	void *volatile big = malloc((size_t)100 << 20);
	struct mallinfo2 during = mallinfo2();
	size_t grown = during.uordblks - before.uordblks;
	CHECK(grown >= 1000000 + ((size_t)100 << 20) && grown < 1100000 + ((size_t)100 << 20));
	CHECK(during.arena >= during.uordblks && during.fordblks == during.arena - during.uordblks);
	for (int i = 0; i < 1000; i++)
		free(p[i]);
	free(big);
	CHECK(mallinfo2().uordblks - before.uordblks < 5000);
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	CHECK_EQ(malloc_info(0, out), 0);
	fclose(out);
	CHECK(strstr(text, "<malloc version=") == text && strstr(text, "</malloc>\n") != NULL);
	free(text);
	errno = 0;
	CHECK(malloc_info(1, stdout) == -1 && errno == EINVAL);
	CHECK_EQ(mallopt(M_ARENA_MAX, 1), 1);
	CHECK_EQ(mallopt(-12345, 1), 0);
}

static size_t resident(void)
{
	size_t size, rss = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	CHECK(f != NULL && fscanf(f, "%zu %zu", &size, &rss) == 2);
	fclose(f);
	return rss * (size_t)sysconf(_SC_PAGESIZE);
}

/* Frees alone give memory back: nothing is called afterwards, and there is one thread. */
TEST(memory_goes_back)
{
	enum { N = 100000 };
	static void *p[N];
	const char *debug = getenv("MGC_DEBUG");
	if (debug != NULL && strstr(debug, "secure=1") != NULL)
		SKIP("blocks that wait keep their slabs");
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < N; i++) {
			size_t n = (size_t)512 << i % 3;
			p[i] = malloc(n);
			memset(p[i], 1, n);
		}
		size_t full = resident();
		CHECK(full > (size_t)N * 1024);
		for (size_t i = 0; i < N; i++)
			free(p[i * 7919 % N]);
		if (round == 0)
			CHECK(resident() < full / 4);
	}
	malloc_trim(0);
	CHECK(resident() < (size_t)20 << 20);
}

/* ── threads, fork, limits ──────────────────────────────────────────────────────────────── */

/* returned - as malloc_info says. */
static size_t returned(void)
{
	static const char row[] = "<system type=\"returned\" size=\"";
	char text[20000];
	FILE *out = fmemopen(text, sizeof text, "w");
	CHECK(out != NULL && malloc_info(0, out) == 0 && fclose(out) == 0);
	const char *at = strstr(text, row);
	CHECK(at != NULL);
	return strtoul(at + sizeof row - 1, NULL, 10);
}

/* What went back and came again is not counted twice. */
TEST(returned_is_what_is_away)
{
	const size_t nbytes = (size_t)40 << 20;
	const char *debug = getenv("MGC_DEBUG");
	if (debug != NULL && strstr(debug, "secure=1") != NULL)
		SKIP("large objects wait, without their memory");
	size_t before = returned();
	for (int round = 0; round < 3; round++) {
		char *volatile p = malloc(nbytes);
		memset(p, 1, nbytes);
		size_t there = returned();
		free(p);
		malloc_trim(0);
		size_t away = returned();
		CHECK(away >= there + nbytes / 2 && away <= before + nbytes + ((size_t)8 << 20));
		CHECK(there <= before + ((size_t)8 << 20));
	}
}

static pthread_key_t key;

static void late(void *arg)
{
	/* our own destructor may have run before or may run after */
	for (size_t n = 10; n < 3000000; n *= 6) {
		char *p = malloc(n), *q = aligned_alloc(64, n), *r = calloc(1, n);
		CHECK(p != NULL && q != NULL && r != NULL && r[0] == 0 && r[n - 1] == 0);
		memset(p, 2, n);
		p = realloc(p, 2 * n);
		CHECK(p != NULL && p[n - 1] == 2);
		free(p);
		free(q);
		free(r);
	}
	free(arg);
	static __thread int again;
	if (again++ < 3)
		pthread_setspecific(key, malloc(50));
}

static void *with_destructor(void *arg)
{
	pthread_setspecific(key, malloc(100));
	return realloc(arg, 5000);
}

TEST(destructors_of_threads)
{
	CHECK_EQ(pthread_key_create(&key, late), 0);
	for (int i = 0; i < 200; i++) {
		pthread_t t;
		void *p = malloc(10);
		CHECK_EQ(pthread_create(&t, NULL, with_destructor, p), 0);
		CHECK_EQ(pthread_join(t, &p), 0);
		free(p);
	}
}

static void *shared[256];

static void *churn(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	for (;;) {
		void *p = malloc(rng_below(&r, 3000));
		p = __atomic_exchange_n(&shared[rng_below(&r, 256)], p, __ATOMIC_ACQ_REL);
		free(p);
	}
	return NULL;
}

static void allocate_in_handler(void)
{
	free(malloc(5000));
	free(calloc(1, 200000));
}

/* Children of a process whose threads never rest can allocate, and free what those threads made. */
/* What a thread keeps of large objects is still its own in the child, and nobody else's. */
TEST(child_keeps_what_was_freed)
{
	enum { N = 12 };
	char *p[N];
	for (int i = 0; i < N; i++)
		p[i] = malloc(100000);
	for (int i = 0; i < N; i++)
		free(p[i]);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		for (int i = 0; i < N; i++)
			memset(p[i] = malloc(100000), i, 100000);
		for (int i = 0; i < N; i++)
			if (p[i][0] != i || p[i][99999] != i)
				_exit(1);
		_exit(0);
	}
	int status;
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
}

TEST_SECONDS(fork_while_others_allocate, 60)
{
	CHECK_EQ(pthread_key_create(&key, late), 0);
	CHECK_EQ(pthread_atfork(allocate_in_handler, allocate_in_handler, allocate_in_handler), 0);
	pthread_t t[3];
	for (size_t i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, churn, (void *)(i + 1)), 0);
	double until = now_seconds() + 20;
	for (int i = 0; i < (TEST_SLOW ? 10 : 40) && (i < 10 || now_seconds() < until); i++) {
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			alarm(100); /* if it hangs it ends then; the test's own limit is shorter */
			for (int k = 0; k < 256; k++)
				free(__atomic_exchange_n(&shared[k], NULL, __ATOMIC_ACQ_REL));
			for (int k = 0; k < 5000; k++)
				shared[k % 256] = realloc(shared[k % 256], (size_t)k);
			pthread_t more;
			if (pthread_create(&more, NULL, with_destructor, NULL) != 0)
				_exit(2);
			pthread_join(more, NULL);
			_exit(0);
		}
		int status;
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK_EQ(status, 0);
	}
	_exit(0);
}

static void run_under(struct rlimit limit, const char *name)
{
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		setrlimit(RLIMIT_AS, &limit);
		execl("/proc/self/exe", "interface_test", name, (char *)NULL);
		_exit(3);
	}
	int status;
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
}

TEST(address_space_limit)
{
	run_under((struct rlimit){ (rlim_t)400 << 20, (rlim_t)400 << 20 }, "child_of_limit");
}

/* A limit that was there at the start, and that the program may lift. */
TEST(address_space_limit_that_is_lifted)
{
	struct rlimit r;
	CHECK_EQ(getrlimit(RLIMIT_AS, &r), 0);
	if (r.rlim_max != RLIM_INFINITY)
		SKIP("a hard limit");
	run_under((struct rlimit){ (rlim_t)400 << 20, r.rlim_max }, "child_that_lifts");
}

static size_t count_mib(size_t bound)
{
	size_t n = 0;
	void *list = NULL;
	for (void *p; n < bound && (p = malloc(1 << 20)) != NULL; n++) {
		*(void **)p = list;
		list = p;
	}
	for (void *next; list != NULL; list = next) {
		next = *(void **)list;
		free(list);
	}
	return n;
}

TEST(child_that_lifts)
{
	struct rlimit r;
	CHECK_EQ(getrlimit(RLIMIT_AS, &r), 0);
	size_t n = count_mib(1000);
	CHECK(n > 150 && (r.rlim_cur == RLIM_INFINITY || n < 400));
	free(NULL);
	CHECK_EQ(malloc_usable_size(NULL), 0);
	r.rlim_cur = r.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_AS, &r), 0);
	CHECK_EQ(count_mib(1000), 1000);
	void *p = malloc((size_t)700 << 20);
	CHECK(p != NULL);
	free(p);
}

static void *nothing(void *arg)
{
	return arg;
}

/* room - a thread and a mapping can be had. */
static bool room(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, nothing, NULL) != 0)
		return false;
	pthread_join(thread, NULL);
	void *p = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p != MAP_FAILED && munmap(p, 1 << 20) == 0;
}

#define LATE_LIMIT ((rlim_t)600 << 20)

/* The program limits its address space when the heap is there: others have what the limit leaves, and malloc not more. */
TEST(address_space_limit_set_late)
{
#ifdef TEST_EMULATED
	SKIP("an emulator ignores it");
#endif
	struct rlimit all, r;
	unsigned char *p = malloc((size_t)5 << 20), *q = malloc(100);
	memset(p, 0x5a, (size_t)5 << 20);
	CHECK_EQ(getrlimit(RLIMIT_AS, &all), 0);
	r = all;
	r.rlim_cur = LATE_LIMIT;
	errno = 5;
	CHECK_EQ(setrlimit(RLIMIT_AS, &r), 0);
	CHECK_EQ(errno, 5);
	CHECK(room());
	CHECK_NO_MEMORY(malloc(LATE_LIMIT));
	for (int i = 0; i < 40; i++)
		CHECK((p = realloc(p, (size_t)(i + 6) << 20)) != NULL);
	CHECK(p[0] == 0x5a && p[((size_t)5 << 20) - 1] == 0x5a);
	free(NULL);
	CHECK_EQ(malloc_usable_size(NULL), 0);
	free(q);
	free(p);
	CHECK(room());
	CHECK_EQ(setrlimit(RLIMIT_AS, &all), 0);
	CHECK((p = malloc(LATE_LIMIT)) != NULL);
	free(p);
	errno = 0;
	r.rlim_cur = 2;
	r.rlim_max = 1;
	CHECK_EQ(setrlimit(RLIMIT_AS, &r), -1);
	CHECK_EQ(errno, EINVAL);
}

static void *volatile kept;

/* What becomes smaller needs no memory, or stays as it is. */
TEST(shrinks_where_there_is_no_memory)
{
#ifdef TEST_EMULATED
	SKIP("an emulator ignores it");
#endif
	static unsigned char *p[8000];
	static const size_t from[] = { 100000, 3000000, 30000 };
	struct rlimit all, r;
	size_t n = 0;
	CHECK_EQ(getrlimit(RLIMIT_AS, &all), 0);
	r = all;
	r.rlim_cur = LATE_LIMIT;
	CHECK_EQ(setrlimit(RLIMIT_AS, &r), 0);
	for (; n < 8000 && (p[n] = malloc(from[n % 3])) != NULL; n++)
		memset(p[n], (int)n, 1000);
	CHECK(n > 10 && n < 8000);
	for (size_t k = 1024; k >= 1; k /= 32) /* for good */
		while (kept = malloc(800 * k), kept != NULL)
			;
	for (size_t i = 0; i < n; i++) {
		errno = 5;
		p[i] = realloc(p[i], 700);
		CHECK(p[i] != NULL && p[i][0] == (unsigned char)i && p[i][699] == (unsigned char)i);
		CHECK_EQ(errno, 5);
	}
	CHECK_EQ(setrlimit(RLIMIT_AS, &all), 0);
	for (size_t i = 0; i < n; i++)
		free(p[i]);
}

/* Where the system refuses a mapping of more than it has, so does malloc: who gets it would be killed when it is used. */
TEST(more_than_there_is)
{
	struct sysinfo all;
	char mode = 0;
	FILE *file = fopen("/proc/sys/vm/overcommit_memory", "r");
	CHECK_EQ(sysinfo(&all), 0);
	if (file == NULL || fread(&mode, 1, 1, file) != 1 || mode != '0')
		SKIP("the system grants it, or says not");
	fclose(file);
	size_t there = ((size_t)all.totalram + all.totalswap) * all.mem_unit;
	void *p = malloc(100), *q = malloc((size_t)300 << 20);
	CHECK(p != NULL && q != NULL);
	CHECK_NO_MEMORY(malloc(there + 8192));
	CHECK_NO_MEMORY(calloc(2, there));
	CHECK_NO_MEMORY(realloc(p, there * 2));
	CHECK_NO_MEMORY(realloc(q, there * 2));
	CHECK_NO_MEMORY(aligned_alloc(64, there * 2));
	free(p);
	free(q);
	p = malloc(there / 2); /* nobody touches it */
	CHECK(p != NULL);
	free(p);
}

/* Another process does it, as the command prlimit. */
TEST(address_space_limit_from_outside)
{
#ifdef TEST_EMULATED
	SKIP("an emulator ignores it");
#endif
	struct rlimit r;
	CHECK_EQ(getrlimit(RLIMIT_AS, &r), 0);
	r.rlim_cur = LATE_LIMIT;
	CHECK_EQ(syscall(SYS_prlimit64, 0, RLIMIT_AS, &r, NULL), 0);
	void *p = malloc((size_t)100 << 20); /* grows the heap */
	CHECK(p != NULL && room());
	CHECK_NO_MEMORY(malloc(LATE_LIMIT));
	free(p);
}

/* Run by address_space_limit with a limit; by itself it has none and has less to say. */
TEST(child_of_limit)
{
	struct rlimit r;
	size_t n = 0;
	void *list = NULL;
	CHECK_EQ(getrlimit(RLIMIT_AS, &r), 0);
	for (void *p; n < 300 && (p = malloc(1 << 20)) != NULL; n++) {
		*(void **)p = list;
		list = p;
	}
	CHECK(n > 150);
	CHECK(r.rlim_cur == RLIM_INFINITY || malloc((size_t)350 << 20) == NULL);
	while (list != NULL) {
		void *next = *(void **)list;
		free(list);
		list = next;
	}
	free(malloc(100));
}
