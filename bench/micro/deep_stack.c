/* deep_stack.c - how long a thread's own snapshot takes, by the depth of its stack.
 *
 * WHAT   A thread recurses until so much of its stack is in use, every third word a reference, and spins; the
 *        main thread collects, and the library's trace says how long the longest snapshot of each
 *        collection took: that is the deep thread's, in the handler of its signal. Minimum and median.
 * WHO    run by hand: cc -O2 -std=gnu17 -Iinclude bench/micro/deep_stack.c -Lbuild/lib -lmallocgc -lpthread
 *        LD_LIBRARY_PATH=build/lib ./a.out
 * UNITS  µs; KiB of stack. */
#include <mallocgc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REPS = 15, FRAME_WORDS = 120 };

static char trace_path[] = "/tmp/deep-stack-XXXXXX";
static int ready, leave;

static __attribute__((noinline)) void descend(size_t nbytes, void *object)
{
	void *volatile words[FRAME_WORDS];
	for (int i = 0; i < FRAME_WORDS; i++)
		words[i] = i % 3 == 0 ? (char *)object + i : (void *)(uintptr_t)(i * 12345678L);
	if (nbytes > sizeof words) {
		descend(nbytes - sizeof words - 48, object);
	} else {
		__atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
		while (!__atomic_load_n(&leave, __ATOMIC_ACQUIRE))
			;
	}
	mgc_keep_alive((const void *)words[0]);
}

static void *deep(void *arg)
{
	descend((size_t)arg, mgc_alloc(4096, NULL, MGC_NOSCAN));
	return NULL;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* read_trace - the snapshots of the last REPS collections, in µs. */
static void read_trace(double *us)
{
	char line[512];
	FILE *f = fopen(trace_path, "r");
	int n = 0;
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		const char *at = strstr(line, "snapshot ");
		if (at != NULL)
			us[n++ % REPS] = 1000 * atof(at + 9);
	}
	if (f == NULL || n < REPS)
		exit(1);
	fclose(f);
	qsort(us, REPS, sizeof *us, compare);
}

int main(void)
{
	close(mkstemp(trace_path));
	setenv("MGC_LOG", trace_path, 1);
	setenv("MGC_DEBUG", "gctrace=1", 1);
	for (size_t kib = 16; kib <= 65536; kib *= 2) {
		pthread_t thread;
		pthread_attr_t attr;
		double us[REPS];
		ready = leave = 0;
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, (kib << 10) + (1 << 20));
		if (pthread_create(&thread, &attr, deep, (void *)(kib << 10)) != 0)
			return 1;
		while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
			usleep(100);
		for (int i = 0; i < REPS; i++)
			mgc_collect();
		__atomic_store_n(&leave, 1, __ATOMIC_RELEASE);
		pthread_join(thread, NULL);
		read_trace(us);
		printf("%6zu KiB  min %8.0f  median %8.0f us  %6.1f us/MiB\n", kib, us[0],
		       us[REPS / 2], us[REPS / 2] * 1024 / (double)kib);
	}
	unlink(trace_path);
	return 0;
}
