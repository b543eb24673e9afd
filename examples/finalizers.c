/* finalizers.c - objects with something to give back, and a cache that does not keep what it holds.
 * A finalizer runs when its object is found dead; a link to an object is zeroed at that moment. */
#include <mallocgc.h>
#include <stdio.h>
#include <stdlib.h>

/* A temporary file that is closed when nobody uses it any more. The FILE is the C library's and not
 * in our heap, hence ptr_bytes = 0: there is nothing for the collector to follow. */
struct scratch {
	FILE *file;
	int number;
};
static struct mgc_type scratch_type = { .name = "scratch", .size = sizeof(struct scratch) };

enum { NFILES = 100 };
static int nclosed;

static void close_scratch(void *obj, void *arg)
{
	struct scratch *s = obj; /* still whole: a finalizer may use its object */
	int *counter = arg;
	fclose(s->file);
	++*counter;
}

static struct scratch *open_scratch(int number)
{
	struct scratch *s = mgc_new(&scratch_type);
	if (s == NULL || (s->file = tmpfile()) == NULL ||
	    mgc_finalizer_set(s, close_scratch, &nclosed) != 0) {
		perror("open_scratch");
		exit(1);
	}
	s->number = number;
	fprintf(s->file, "%d\n", number);
	return s;
}

/* The cache: links do not keep a scratch file alive, and are NULL once it is gone. */
static struct scratch *cache[NFILES];

/* Kept apart from main, so that none of its variables is left on main's stack. */
static __attribute__((noinline)) void open_all(struct scratch **kept)
{
	for (int i = 0; i < NFILES; i++) {
		struct scratch *s = open_scratch(i);
		cache[i] = s;
		if (mgc_link_set((void **)&cache[i], s) != 0)
			exit(1);
		if (i == 42)
			*kept = s;
	}
}

int main(void)
{
	struct scratch *kept = NULL;
	/* Finalizers run on a thread of the library's own, and then need locks; unless the program
	 * says that it calls them itself, by doing so once. */
	mgc_run_finalizers();
	open_all(&kept);

	/* Stacks are read conservatively, so a leftover word may keep a file or two a little longer: a
	 * program must not count on the moment. */
	for (int i = 0; i < 3; i++) {
		mgc_collect();
		mgc_run_finalizers();
	}

	int nempty = 0;
	for (int i = 0; i < NFILES; i++)
		nempty += cache[i] == NULL;
	rewind(kept->file);
	int number = 0;
	int read = fscanf(kept->file, "%d", &number);
	printf("%d of %d files closed, %d links empty, the kept one says %d\n", nclosed, NFILES,
	       nempty, number);
	int ok = read == 1 && number == 42 && cache[42] == kept && nclosed == nempty &&
		 nclosed >= NFILES * 9 / 10 && nclosed < NFILES;
	mgc_keep_alive(kept);
	for (int i = 0; i < NFILES; i++)
		mgc_link_clear((void **)&cache[i]);
	return ok ? 0 : 1;
}
