/* lifetimes_test.c - mistakes with weak references, pairs and handles that the library can see: each ends the
 * process with a message that names it.
 * not under: thread */
#include "lib/plain.h"

#include <mallocgc.h>

/* ── weak references ────────────────────────────────────────────────────────────────────── */

static void get_of_no_weak(void *arg)
{
	void *p = mgc_alloc(64, NULL, 0);
	mgc_weak_get(arg != NULL ? (const struct mgc_weak *)p : (const struct mgc_weak *)&p);
}

/* Its bytes, elsewhere: the collector would not null them. */
static void get_of_a_copy(void *arg)
{
	char *p = mgc_alloc(16, NULL, MGC_NOSCAN);
	(void)arg;
	memcpy(p, mgc_weak_new(mgc_alloc(64, NULL, 0)), 16);
	mgc_weak_get((const struct mgc_weak *)(const void *)p);
}

static void free_weak(void *arg)
{
	void *p = mgc_alloc(64, NULL, 0);
	(void)arg;
	mgc_free(mgc_weak_new(p));
	mgc_keep_alive(p);
}

TEST(weak_references)
{
	CHECK_DIES(get_of_no_weak, NULL, "is no weak reference");
	CHECK_DIES(get_of_no_weak, (void *)1, "is no weak reference");
	CHECK_DIES(get_of_a_copy, NULL, "is no weak reference");
	CHECK_DIES(free_weak, NULL, "a weak reference: it dies by itself");
}

/* ── pairs ──────────────────────────────────────────────────────────────────────────────── */

static void use_no_map(void *arg)
{
	struct mgc_weakmap *map = arg == NULL ? NULL : mgc_alloc(64, NULL, 0);
	if ((uintptr_t)arg == 2)
		mgc_weakmap_set(map, arg, arg);
	else
		mgc_weakmap_get(map, arg);
}

static void use_no_ephemeron(void *arg)
{
	void *p = mgc_alloc(64, NULL, 0);
	char *e = (char *)mgc_ephemeron_new(p, p);
	switch ((uintptr_t)arg) {
	case 0:
		mgc_ephemeron_value(p);
		break;
	case 1:
		mgc_ephemeron_key((struct mgc_ephemeron *)(void *)&p);
		break;
	default:
		mgc_ephemeron_set((struct mgc_ephemeron *)(void *)(e + 8), p);
	}
}

TEST(pairs)
{
	CHECK_DIES(use_no_map, NULL, "mgc_weakmap_get: 0x0 is no weak map");
	CHECK_DIES(use_no_map, (void *)1, "is no weak map");
	CHECK_DIES(use_no_map, (void *)2, "mgc_weakmap_set");
	CHECK_DIES(use_no_ephemeron, (void *)0, "mgc_ephemeron_value");
	CHECK_DIES(use_no_ephemeron, (void *)1, "is no ephemeron");
	CHECK_DIES(use_no_ephemeron, (void *)2, "is no ephemeron");
}

/* ── handles ────────────────────────────────────────────────────────────────────────────── */

static void free_handle_twice(void *arg)
{
	mgc_handle h = mgc_handle_new(mgc_alloc(16, NULL, 0));
	mgc_handle_free(h);
	if (arg != NULL) /* its place is taken by another one */
		mgc_handle_new(mgc_alloc(16, NULL, 0));
	mgc_handle_free(h);
}

static void get_freed_handle(void *arg)
{
	mgc_handle h = mgc_handle_new(mgc_alloc(16, NULL, 0));
	mgc_handle_free(h);
	if (arg != NULL)
		mgc_handle_new(mgc_alloc(16, NULL, 0));
	mgc_handle_get(h);
}

static void get_no_handle(void *arg)
{
	mgc_thread_attach();
	mgc_handle_get((mgc_handle)arg);
}

TEST(handles)
{
	CHECK_DIES(free_handle_twice, NULL, "mgc_handle_free: there is no handle");
	CHECK_DIES(free_handle_twice, (void *)1, "mgc_handle_free: there is no handle");
	CHECK_DIES(get_freed_handle, NULL, "it was freed");
	CHECK_DIES(get_freed_handle, (void *)1, "it was freed");
	CHECK_DIES(get_no_handle, (void *)1, "never made");
	CHECK_DIES(get_no_handle, (void *)(uintptr_t)-1, "never made");
}
