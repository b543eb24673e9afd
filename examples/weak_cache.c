/* weak_cache.c - a cache of pictures by name that keeps none of them: whoever still uses a picture is given
 * the same one again, and what nobody uses goes.
 * Three kinds of lifetime work together:
 *   a weak reference  from the cache to the picture, for looking it up
 *   a cleanup         of the picture, that gives back its file, and takes its name out of the cache
 *   a weak map        from a picture to what others know of it (here: how often it was shown) */
#include <mallocgc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct picture {
	struct entry *entry; /* its name, which the picture keeps; the cache has it too */
	int width;
};
static const uint8_t first_word[] = { 1 };
static struct mgc_type picture_type = {
	.name = "picture", .size = sizeof(struct picture), .ptr_bytes = 8, .ptr_mask = first_word
};

/* An entry of the cache: in a list, under a lock, as cleanups run on a thread of the library's own. */
struct entry {
	struct entry *next;
	struct mgc_weak *picture; /* an object like any other: the entry keeps the reference only */
	long pad;
	FILE *file; /* what the cleanup has to give back */
	char name[32];
};
static const uint8_t first_two[] = { 3 };
static struct mgc_type entry_type = {
	.name = "entry", .size = sizeof(struct entry), .ptr_bytes = 16, .ptr_mask = first_two
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries; /* a root */
static struct mgc_weakmap *shown; /* a root: picture → count, kept as long as the picture */
static int nopened, nclosed;

/* The picture is gone; its entry is the cleanup's argument, which the library keeps. */
static void close_entry(void *arg)
{
	struct entry *e = arg;
	pthread_mutex_lock(&lock);
	struct entry **at = &entries;
	while (*at != e)
		at = &(*at)->next;
	mgc_write(at, e->next);
	nclosed++;
	pthread_mutex_unlock(&lock);
	fclose(e->file);
}

static void *check(void *p, const char *what)
{
	if (p == NULL) {
		perror(what);
		exit(1);
	}
	return p;
}

static struct picture *load(const char *name)
{
	struct picture *p = check(mgc_new(&picture_type), "mgc_new");
	struct entry *e = check(mgc_new(&entry_type), "mgc_new");
	e->file = check(tmpfile(), "tmpfile");
	snprintf(e->name, sizeof e->name, "%s", name);
	e->picture = check(mgc_weak_new(p), "mgc_weak_new"); /* nobody else has e yet: no mgc_write */
	e->next = entries;
	p->entry = e;
	p->width = ++nopened;
	if (mgc_cleanup_add(p, close_entry, e) == 0)
		check(NULL, "mgc_cleanup_add");
	mgc_write(&entries, e);
	return p;
}

/* open_picture - the one that is in use by that name, or a new one. */
static struct picture *open_picture(const char *name)
{
	struct picture *p = NULL;
	pthread_mutex_lock(&lock);
	for (struct entry *e = entries; e != NULL && p == NULL; e = e->next)
		if (strcmp(e->name, name) == 0)
			p = mgc_weak_get(e->picture); /* NULL: gone, its cleanup is on its way */
	if (p == NULL)
		p = load(name);
	pthread_mutex_unlock(&lock);
	return p;
}

static void show(struct picture *p)
{
	int *count = mgc_weakmap_get(shown, p);
	if (count == NULL) {
		count = check(mgc_alloc(sizeof *count, NULL, MGC_NOSCAN), "mgc_alloc");
		if (mgc_weakmap_set(shown, p, count) != 0)
			check(NULL, "mgc_weakmap_set");
	}
	++*count;
}

enum { NPICTURES = 100 };

/* Kept apart from main, so that none of its variables is left on main's stack. */
static __attribute__((noinline)) void show_all(struct picture **kept)
{
	char name[32];
	for (int i = 0; i < NPICTURES; i++) {
		snprintf(name, sizeof name, "picture %d", i);
		show(open_picture(name));
		if (i == 42)
			*kept = open_picture(name);
	}
}

int main(void)
{
	struct picture *kept = NULL;
	mgc_root_add(&entries, sizeof entries, 0);
	mgc_root_add(&shown, sizeof shown, 0);
	mgc_write(&shown, check(mgc_weakmap_new(), "mgc_weakmap_new"));
	mgc_run_finalizers(); /* we run the cleanups ourselves: then a test can count them */
	show_all(&kept);
	for (int i = 0; i < 3; i++) { /* stacks are read conservatively: a few may stay a little longer */
		mgc_collect();
		mgc_run_finalizers();
	}

	struct picture *again = open_picture("picture 42"), *other = open_picture("picture 7");
	show(again);
	int *count = mgc_weakmap_get(shown, again);
	printf("%d opened, %d closed, %zu counted; picture 42 is %s, shown %d times; picture 7 is "
	       "%s\n",
	       nopened, nclosed, mgc_weakmap_count(shown), again == kept ? "the same" : "another",
	       *count, other->width > NPICTURES ? "new" : "old");
	int ok = again == kept && *count == 2 && nclosed >= NPICTURES * 9 / 10 &&
		 nclosed < NPICTURES && mgc_weakmap_count(shown) <= (size_t)(NPICTURES - nclosed);
	mgc_keep_alive(kept);
	return ok ? 0 : 1;
}
