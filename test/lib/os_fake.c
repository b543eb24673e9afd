/* os_fake.c - see os_fake.h. A name that is not in the table below aborts: a new call must be
 * added here, or fault runs would pass it by in silence. */
#include "lib/os_fake.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/os.h"

#define MAX_RULES 8

static struct call {
	const char *name;
	bool can_fail;
	uint64_t made, refused;
} calls[] = {
	{ "reserve", true, 0, 0 },
	{ "reserve_at", true, 0, 0 },
	{ "reserve_readable", true, 0, 0 },
	{ "reserve_readable_at", true, 0, 0 },
	{ "commit", true, 0, 0 },
	{ "decommit", true, 0, 0 },
	{ "discard", true, 0, 0 },
	{ "move", true, 0, 0 },
	{ "renew", true, 0, 0 },
	{ "alloc", true, 0, 0 },
	{ "spawn", true, 0, 0 },
	{ "membarrier", true, 0, 0 },
	{ "written_start", true, 0, 0 },
	{ "written_each", true, 0, 0 },
	{ "written_ignore", true, 0, 0 },
	{ "release", false, 0, 0 },
	{ "advise_huge", false, 0, 0 },
	{ "populate", false, 0, 0 },
	{ "populate_read", false, 0, 0 },
};
#define NCALLS (sizeof calls / sizeof calls[0])

static struct rule {
	const struct call *call; /* NULL: any that can fail */
	uint64_t nth, count, seen;
	int error;
} rules[MAX_RULES];
static unsigned nrules;

static struct call *find(const char *name)
{
	for (size_t i = 0; i < NCALLS; i++)
		if (strcmp(calls[i].name, name) == 0)
			return &calls[i];
	fprintf(stderr, "os_fake: no call is named '%s'\n", name);
	abort();
}

/* verdict - this call counts for every rule it matches; the first that is due decides. */
static int verdict(const struct call *call)
{
	int error = 0;
	for (unsigned i = 0; i < nrules; i++) {
		struct rule *r = &rules[i];
		if (r->call != NULL ? r->call != call : !call->can_fail)
			continue;
		uint64_t n = __atomic_add_fetch(&r->seen, 1, __ATOMIC_RELAXED);
		if (error == 0 && n >= r->nth && n - r->nth < r->count)
			error = r->error;
	}
	return error;
}

static int on_call(const char *name, size_t nbytes)
{
	struct call *call = find(name);
	int error = verdict(call);
	(void)nbytes;
	__atomic_add_fetch(&call->made, 1, __ATOMIC_RELAXED);
	if (error != 0)
		__atomic_add_fetch(&call->refused, 1, __ATOMIC_RELAXED);
	return error;
}

void os_fake_start(void)
{
	nrules = 0;
	for (size_t i = 0; i < NCALLS; i++)
		calls[i].made = calls[i].refused = 0;
	os_set_fault_hook(on_call);
}

void os_fake_stop(void)
{
	os_set_fault_hook(NULL);
}

void os_fake_fail(const char *call, uint64_t nth, uint64_t count, int error)
{
	if (nrules == MAX_RULES || nth == 0) {
		fprintf(stderr, "os_fake: too many rules, or a call before the first\n");
		abort();
	}
	rules[nrules] = (struct rule){ call != NULL ? find(call) : NULL, nth, count, 0, error };
	nrules++;
}

uint64_t os_fake_calls(const char *call)
{
	uint64_t n = 0;
	for (size_t i = 0; i < NCALLS; i++)
		if (call == NULL || &calls[i] == find(call))
			n += __atomic_load_n(&calls[i].made, __ATOMIC_RELAXED);
	return n;
}

uint64_t os_fake_refused(const char *call)
{
	uint64_t n = 0;
	for (size_t i = 0; i < NCALLS; i++)
		if (call == NULL || &calls[i] == find(call))
			n += __atomic_load_n(&calls[i].refused, __ATOMIC_RELAXED);
	return n;
}
