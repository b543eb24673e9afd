/* os_objects_test.c - os/os.h: data segments of loaded objects, and thread-local blocks. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "lib/probe.h"
#include "os/os.h"
#include "os/os_linux.h"

#define MS UINT64_C(1000000)
#define MAX_RANGES 1024
#define MARK 0x5ca1ab1e0ddba11

TestSuite(os_objects, .timeout = 40);

/* What a walk reported. */
struct ranges {
	size_t n, nwithin;
	struct os_segment at[MAX_RANGES];
};

static void note(void *arg, uintptr_t lo, uintptr_t hi)
{
	struct ranges *r = arg;
	if (r->n < MAX_RANGES)
		r->at[r->n] = (struct os_segment){ lo, hi };
	r->n++;
}

static void note_within(void *arg)
{
	((struct ranges *)arg)->nwithin++;
}

static bool holds(const struct ranges *r, const void *p)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->at[i].lo <= (uintptr_t)p && (uintptr_t)p < r->at[i].hi)
			return true;
	return false;
}

static struct ranges found;

static const struct ranges *data(void)
{
	found.n = found.nwithin = 0;
	os_each_data(note, note_within, &found);
	cr_assert_lt(found.n, MAX_RANGES);
	cr_assert_eq(found.nwithin, 1);
	return &found;
}

/* ── data ───────────────────────────────────────────────────────────────────────────────── */

static long initialised = 5, zeroed;
static char large_zeroed[100000];
static const long constant = 7;
static const char *const relocated[] = { "constant after relocation", "second" };

Test(os_objects, own_data)
{
	static long local = 3;
	const struct ranges *r = data();
	cr_assert(holds(r, &initialised));
	cr_assert(holds(r, &zeroed));
	cr_assert(holds(r, &large_zeroed[sizeof large_zeroed - 1]));
	cr_assert(holds(r, &local));
	cr_assert(!holds(r, &constant));
	cr_assert(!holds(r, relocated), "read-only after relocation");
}

Test(os_objects, data_of_the_c_library)
{
	cr_assert(holds(data(), stdout), "glibc and musl keep the stream itself in their data");
}

Test(os_objects, ranges_are_mapped_and_apart)
{
	const struct ranges *r = data();
	int local;
	char *heap = malloc(100);
	cr_assert_geq(r->n, 1);
	for (size_t i = 0; i < r->n; i++) {
		cr_assert_lt(r->at[i].lo, r->at[i].hi);
		cr_assert(probe_all_readable(r->at[i].lo, r->at[i].hi));
		cr_assert(probe_writable(r->at[i].lo));
		for (size_t j = 0; j < i; j++)
			cr_assert(r->at[j].hi <= r->at[i].lo || r->at[i].hi <= r->at[j].lo);
	}
	cr_assert(!holds(r, &local) && !holds(r, heap));
	free(heap);
}

Test(os_objects, nothing_within)
{
	found.n = 0;
	os_each_data(note, NULL, &found);
	cr_assert_geq(found.n, 1);
}

static const char plain_library[] = "long lib_data = 4; long lib_zero[5000];\n"
				    "const char *const lib_relro[] = { \"a\", \"b\" };\n";

Test(os_objects, data_comes_and_goes_with_the_object)
{
	char path[64];
	probe_library(plain_library, path);
	for (int round = 0; round < 3; round++) {
		void *lib = dlopen(path, RTLD_NOW);
		cr_assert_neq(lib, NULL, "%s", dlerror());
		char *bss = dlsym(lib, "lib_zero"), *dat = dlsym(lib, "lib_data");
		const struct ranges *r = data();
		cr_assert(holds(r, dat) && holds(r, bss) && holds(r, bss + 5000 * sizeof(long) - 1));
		cr_assert(!holds(r, dlsym(lib, "lib_relro")));
		cr_assert_eq(dlclose(lib), 0);
		cr_assert(!probe_readable((uintptr_t)dat), "really unloaded");
		r = data();
		cr_assert(!holds(r, dat) && !holds(r, bss));
	}
	unlink(path);
}

/* ── against a thread that loads and unloads all the time ───────────────────────────────── */

static struct {
	char path[64];
	uint32_t stop, nloads, busy;
} loader;

static void *load_and_unload(void *arg)
{
	(void)arg;
	while (load_acquire(&loader.stop) == 0) {
		void *lib = dlopen(loader.path, RTLD_NOW);
		if (lib != NULL)
			dlclose(lib);
		add_acq_rel(&loader.nloads, 1u);
	}
	return NULL;
}

static void read_ranges(void *arg)
{
	const struct ranges *r = arg;
	for (size_t i = 0; i < r->n && i < MAX_RANGES; i++)
		if (!probe_all_readable(r->at[i].lo, r->at[i].hi))
			abort();
}

/* hold - while this runs, no load that has begun can end. One that has passed already may count. */
static void hold(void *arg)
{
	uint32_t before = load_acquire(&loader.nloads);
	read_ranges(arg);
	os_sleep_ns(20 * MS);
	if (load_acquire(&loader.nloads) > before + 1)
		abort();
	read_ranges(arg);
}

/* wait_for_load - the loader's lock goes to whoever comes first, and a thread that walks again and again
 * always does: this lets the other one in. */
static void wait_for_load(void)
{
	uint32_t before = load_acquire(&loader.nloads);
	while (load_acquire(&loader.nloads) == before)
		os_sleep_ns(MS / 20);
}

/* walk - so many times; after the first of each so many, something is loaded. */
static void walk(void (*then)(void *arg), unsigned times, unsigned rounds_per_load)
{
	for (unsigned i = 0; i < times; i++) {
		found.n = 0;
		os_each_data(note, then, &found);
		cr_assert_gt(found.n, 1);
		if (i % rounds_per_load == 0)
			wait_for_load();
	}
}

Test(os_objects, nobody_loads_within)
{
	pthread_t thread;
	probe_library(plain_library, loader.path);
	cr_assert_eq(pthread_create(&thread, NULL, load_and_unload, NULL), 0);
	walk(hold, 20, 1);
	walk(read_ranges, 200, 4);
	store_release(&loader.stop, 1u);
	pthread_join(thread, NULL);
	cr_assert_geq(loader.nloads, 20 + 200 / 4);
	unlink(loader.path);
}

/* ── thread-local blocks ────────────────────────────────────────────────────────────────── */

#ifdef __GLIBC__
static __thread long own_tls = 9;
static __thread char own_tls_large[3000];

struct tls_walk {
	uintptr_t handle;
	struct ranges *out;
};

static void walk_tls_within(void *arg)
{
	struct tls_walk *w = arg;
	os_each_tls(w->handle, note, w->out);
}

static void ignore(void *arg, uintptr_t lo, uintptr_t hi)
{
	(void)arg;
	(void)lo;
	(void)hi;
}

/* tls_of - the blocks of a thread; each byte of them must be readable. */
static const struct ranges *tls_of(uintptr_t handle)
{
	struct tls_walk w = { handle, &found };
	found.n = 0;
	os_each_data(ignore, walk_tls_within, &w);
	cr_assert_lt(found.n, MAX_RANGES);
	for (size_t i = 0; i < found.n; i++) {
		cr_assert_lt(found.at[i].lo, found.at[i].hi);
		cr_assert(probe_all_readable(found.at[i].lo, found.at[i].hi));
	}
	return &found;
}

/* count_words - aligned words of the range with this value. */
static MGC_NO_SANITIZE long count_words(uintptr_t lo, uintptr_t hi, long value)
{
	long n = 0;
	for (uintptr_t at = align_up(lo, sizeof(long)); at + sizeof(long) <= hi; at += sizeof(long))
		n += *(const volatile long *)at == value;
	return n;
}

Test(os_objects, own_blocks)
{
	const struct ranges *r = tls_of(os_tls_self());
	cr_assert(holds(r, &own_tls));
	cr_assert(holds(r, own_tls_large) && holds(r, own_tls_large + sizeof own_tls_large - 1));
	cr_assert(holds(r, &errno), "of the C library");
	pthread_key_t key;
	long value = MARK, n = 0;
	cr_assert_eq(pthread_key_create(&key, NULL), 0);
	cr_assert_eq(pthread_setspecific(key, (void *)value), 0);
	r = tls_of(os_tls_self());
	for (size_t i = 0; i < r->n; i++)
		n += count_words(r->at[i].lo, r->at[i].hi, value);
	cr_assert_geq(n, 1, "a value of pthread_setspecific");
	cr_assert_eq(os_tls_self(), os_tls_self());
}

/* Another thread, which waits; it does what the test asks for first. */
static struct {
	uint32_t request, done;
	uintptr_t handle;
	void *own, *(*touch)(void), *touched;
} other;

static void *other_main(void *arg)
{
	(void)arg;
	other.handle = os_tls_self();
	other.own = &own_tls;
	for (uint32_t served = 0;; served++) {
		store_release(&other.done, served + 1);
		while (load_acquire(&other.request) == served)
			os_wait(&other.request, served, 0);
		if (other.touch == NULL)
			return NULL;
		other.touched = other.touch();
	}
}

static pthread_t other_start(void)
{
	pthread_t thread;
	cr_assert_eq(pthread_create(&thread, NULL, other_main, NULL), 0);
	while (load_acquire(&other.done) != 1)
		os_yield();
	return thread;
}

/* other_touch - the other thread calls fn and goes back to waiting; NULL ends it. */
static void other_touch(void *(*fn)(void))
{
	uint32_t n = add_acq_rel(&other.request, 0u);
	other.touch = fn;
	store_release(&other.request, n + 1);
	os_wake(&other.request, 1);
	while (fn != NULL && load_acquire(&other.done) != n + 2)
		os_yield();
}

Test(os_objects, blocks_of_another_thread)
{
	pthread_t thread = other_start();
	const struct ranges *r = tls_of(other.handle);
	cr_assert_neq(other.own, &own_tls);
	cr_assert(holds(r, other.own));
	cr_assert(!holds(r, &own_tls));
	cr_assert(holds(tls_of(os_tls_self()), &own_tls));
	other_touch(NULL);
	pthread_join(thread, NULL);
}

/* load_as - a library with a thread-local array of `nbytes`, whose address touch() returns. */
static void *load_as(const char *attribute, size_t nbytes, char *path, void *(**touch)(void))
{
	char source[256];
	snprintf(source, sizeof source,
		 "static __thread %s char block[%zu];\n"
		 "void *touch(void) { block[0]++; return block; }\n",
		 attribute, nbytes);
	probe_library(source, path);
	void *lib = dlopen(path, RTLD_NOW);
	cr_assert_neq(lib, NULL, "%s", dlerror());
	void *fn = dlsym(lib, "touch");
	memcpy(touch, &fn, sizeof fn);
	return lib;
}

static void *load(size_t nbytes, char *path, void *(**touch)(void))
{
	return load_as("", nbytes, path, touch);
}

/* A library that takes its block from the loader's surplus: threads that ran before it was loaded
 * have no entry for it. */
Test(os_objects, blocks_in_the_surplus)
{
	char path[64];
	void *(*touch)(void);
	pthread_t before = other_start();
	void *lib = load_as("__attribute__((tls_model(\"initial-exec\")))", 100, path, &touch);
	char *mine = touch();
	cr_assert(holds(tls_of(os_tls_self()), mine) && holds(tls_of(os_tls_self()), mine + 99));
	other_touch(touch);
	char *theirs = other.touched;
	cr_assert(holds(tls_of(other.handle), theirs) && holds(tls_of(other.handle), theirs + 99));
	other_touch(NULL);
	pthread_join(before, NULL);
	dlclose(lib);
	unlink(path);
}

/* A thread that is gone took its stack along; its handle gives nothing, and no fault. */
Test(os_objects, blocks_of_nobody)
{
	uintptr_t hole = os_reserve(os_page_size(), 0);
	cr_assert_eq(tls_of(hole)->n, 0);
	os_release(hole, os_page_size());
	cr_assert_eq(tls_of(hole)->n, 0);
}

Test(os_objects, blocks_of_a_loaded_library)
{
	enum { SIZE = 20000 };
	char path[64];
	void *(*touch)(void);
	pthread_t thread = other_start();
	void *lib = load(SIZE, path, &touch);
	size_t before = tls_of(other.handle)->n;
	char *mine = touch();
	cr_assert(holds(tls_of(os_tls_self()), mine));
	cr_assert(holds(tls_of(os_tls_self()), mine + SIZE - 1));
	cr_assert_eq(tls_of(other.handle)->n, before, "allocated at the first use, not earlier");
	other_touch(touch);
	char *theirs = other.touched;
	cr_assert_neq(theirs, mine);
	cr_assert(holds(tls_of(other.handle), theirs));
	cr_assert(holds(tls_of(other.handle), theirs + SIZE - 1));
	cr_assert(!holds(tls_of(other.handle), mine));
	cr_assert_eq(dlclose(lib), 0);
	cr_assert_eq(tls_of(other.handle)->n, before);
	other_touch(NULL);
	pthread_join(thread, NULL);
	unlink(path);
}

/* A thread's vector may still name the block of a module that is gone, under a number that now
 * belongs to a larger one: what is reported must end where memory ends. */
Test(os_objects, reused_module_number)
{
	char path1[64], path2[64];
	void *(*touch1)(void), *(*touch2)(void);
	pthread_t thread = other_start();
	void *lib1 = load(64, path1, &touch1);
	other_touch(touch1);
	cr_assert_eq(dlclose(lib1), 0);
	void *lib2 = load(32 << 20, path2, &touch2);
	tls_of(other.handle); /* checks that all of it can be read */
	other_touch(touch2);
	cr_assert(holds(tls_of(other.handle), (char *)other.touched + (30 << 20)));
	cr_assert_eq(dlclose(lib2), 0);
	other_touch(NULL);
	pthread_join(thread, NULL);
	unlink(path1);
	unlink(path2);
}

/* More modules than the vector had room for when the thread began. */
Test(os_objects, many_modules)
{
	enum { N = 40 };
	char path[N][64];
	void *lib[N], *(*touch[N])(void), *block[N];
	pthread_t thread = other_start();
	for (int i = 0; i < N; i++) {
		lib[i] = load(64 + (size_t)i, path[i], &touch[i]);
		tls_of(other.handle);
	}
	for (int i = 0; i < N; i++) {
		other_touch(touch[i]);
		block[i] = other.touched;
	}
	const struct ranges *r = tls_of(other.handle);
	for (int i = 0; i < N; i++)
		cr_assert(holds(r, (char *)block[i] + 63 + i));
	for (int i = 0; i < N; i++) {
		dlclose(lib[i]);
		unlink(path[i]);
	}
	tls_of(other.handle);
	other_touch(NULL);
	pthread_join(thread, NULL);
}

/* The vector of a stopped thread may be anything: a walk over nonsense reports only what can be
 * read, and does not fault. The thread's record is played by four words. */
Test(os_objects, nonsense_in_the_vector)
{
	size_t page = os_page_size();
	uintptr_t room = os_reserve(4 * page, 0), at = room + page;
	cr_assert_eq(os_commit(at, 2 * page), 0);
	static const uintptr_t counts[] = { 0, 1, 5, 100000, UINTPTR_MAX, UINTPTR_MAX / 16 };
	static const uintptr_t blocks[] = { 0, UINTPTR_MAX, 8, (uintptr_t)1 << 46, UINTPTR_MAX / 2 };
	uintptr_t vectors[] = { 0,
				1,
				16,
				UINTPTR_MAX - 15,
				room,
				at,
				at + 16,
				at + 2 * page - 16,
				at + 2 * page,
				at + 2 * page + 16,
				(uintptr_t)1 << 63 };
	for (size_t v = 0; v < sizeof vectors / sizeof vectors[0]; v++) {
		for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
			for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++) {
				uintptr_t record[4] = { vectors[v], vectors[v], 0, 0 };
				for (uintptr_t *w = (uintptr_t *)at;
				     w < (uintptr_t *)(at + 2 * page); w += 2) {
					w[0] = blocks[b];
					w[1] = b % 2;
				}
				if (vectors[v] == at + 16)
					*(uintptr_t *)at = counts[c];
				else if (vectors[v] == at + 2 * page - 16)
					*(uintptr_t *)(at + 2 * page - 32) = counts[c];
				tls_of((uintptr_t)record);
			}
		}
	}
	os_release(room, 4 * page);
}
#endif

/* ── names ──────────────────────────────────────────────────────────────────────────────── */

static __attribute__((noinline)) int nobody_exports_me(int n)
{
	return n + 1;
}

Test(os_objects, static_functions_have_names)
{
	char text[512];
	os_describe((uintptr_t)&nobody_exports_me + 1, text, sizeof text);
	cr_assert_not_null(strstr(text, "(nobody_exports_me+1)"), "%s", text);
	os_describe((uintptr_t)&malloc, text, sizeof text);
	cr_assert_not_null(strstr(text, "malloc+0"), "%s", text);
	os_describe((uintptr_t)&text, text, sizeof text);
	cr_assert_str_eq(text, "");
	cr_assert_eq(nobody_exports_me(1), 2);
}

/* A file that is cut short, or has any word of its first sections and headers wrong, names something or nothing. */
Test(os_objects, damaged_files)
{
	char name[64], path[] = "/tmp/mallocgc-elf-XXXXXX";
	static unsigned char bytes[4 << 20];
	uint64_t offset;
	FILE *self = fopen("/proc/self/exe", "rb");
	size_t n = fread(bytes, 1, sizeof bytes, self);
	fclose(self);
	int fd = mkstemp(path);
	cr_assert(fd >= 0 && n > 4096);
	uint64_t sections;
	memcpy(&sections, bytes + 0x28, sizeof sections); /* e_shoff */
	for (size_t round = 0; round < 400; round++) {
		size_t length = round < 100 ? n * round / 100 : n;
		cr_assert(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, length, 0) == (ssize_t)length);
		size_t at = round % 2 ? round % 64 : sections + (round - 100) * 8;
		uint32_t wrong = (uint32_t)(round * 0x9e3779b9u);
		if (round >= 100 && at + sizeof wrong <= n)
			cr_assert_eq(pwrite(fd, &wrong, sizeof wrong, (off_t)at), (ssize_t)sizeof wrong);
		if (os_file_symbol(path, round * 64, name, sizeof name, &offset))
			cr_assert_lt(strlen(name), sizeof name);
	}
	close(fd);
	unlink(path);
	cr_assert_not(os_file_symbol(path, 0, name, sizeof name, &offset));
	cr_assert_not(os_file_symbol("/dev/null", 0, name, sizeof name, &offset));
}
