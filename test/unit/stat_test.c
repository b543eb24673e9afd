/* stat_test.c - the rows of stat.def against the struct, the summary at exit and what a program did. */
#include "lib/afar.h"
#include "lib/plain.h"

#include "mallocgc.h"

#include "face/runtime.h"

static const struct row {
	const char *id, *name, *kind, *unit;
	size_t offset;
} rows[] = {
#define MGC_STAT(id, name, kind, unit, help) \
	{ #id, name, #kind, unit, offsetof(struct mgc_stats, id) },
#include "base/stat.def"
#undef MGC_STAT
};
#define NROWS (sizeof rows / sizeof rows[0])

static uint64_t value(const struct mgc_stats *s, size_t i)
{
	return *(const uint64_t *)((const char *)s + rows[i].offset);
}

static struct mgc_stats stats(void)
{
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	return s;
}

TEST(names_are_unique_and_end_with_their_unit)
{
	for (size_t i = 0; i < NROWS; i++) {
		const char *colon = strchr(rows[i].name, ':');
		CHECK(rows[i].name[0] == '/' && colon != NULL && strcmp(colon + 1, rows[i].unit) == 0);
		CHECK(strcmp(rows[i].kind, "counter") == 0 || strcmp(rows[i].kind, "gauge") == 0);
		CHECK(strstr(rows[i].id, "_ns") == NULL || strcmp(rows[i].unit, "nanoseconds") == 0);
		for (size_t k = 0; k < i; k++)
			CHECK(strcmp(rows[i].name, rows[k].name) != 0);
	}
}

/* When it is over: what is read before is all of the cycle before. */
TEST(a_cycle_publishes_its_figures_once)
{
	mgc_collect();
	uint64_t turn = load_relaxed(&runtime.gc.published.turn), cycles = stats().cycles;
	mgc_collect();
	uint64_t ncycles = stats().cycles - cycles; /* a hostile build has more of them */
	CHECK(MGC_HOSTILE || load_relaxed(&runtime.gc.published.turn) - turn == ncycles);
}

/* Every field is written, and no byte behind what the caller knows. */
TEST(all_fields_are_filled)
{
	struct {
		struct mgc_stats s;
		uint64_t behind;
	} a, b;
	memset(&a, 0x5a, sizeof a);
	memset(&b, 0xa5, sizeof b);
	a.s.struct_size = b.s.struct_size = sizeof a.s;
	mgc_read_stats(&a.s);
	mgc_read_stats(&b.s);
	for (size_t i = 0; i < NROWS; i++)
		CHECK_EQ(value(&a.s, i), value(&b.s, i)); /* nothing happens in between */
	CHECK(a.behind == UINT64_C(0x5a5a5a5a5a5a5a5a) && b.behind == UINT64_C(0xa5a5a5a5a5a5a5a5));
}

static void ignore(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
}

#define NOBJECTS 3000

static void *make_finalized(void *arg)
{
	(void)arg;
	for (int i = 0; i < NOBJECTS; i++)
		CHECK_EQ(mgc_finalizer_set(mgc_alloc(64, NULL, 0), ignore, NULL), 0);
	return NULL;
}

TEST(counters_rise_and_gauges_follow)
{
	static void *root[5000];
	mgc_run_finalizers(); /* by hand from now on */
	struct mgc_stats a = stats();
	CHECK_EQ(a.percent, 100);
	CHECK_EQ(a.limit, UINT64_MAX);
	mgc_set_percent(-1);
	mgc_set_memory_limit((int64_t)1 << 40);
	CHECK_EQ(mgc_root_add(root, sizeof root, 0), 0);
	on_thread(make_finalized, NULL);
	struct mgc_stats b = stats();
	CHECK(b.percent == UINT64_MAX && b.limit == UINT64_C(1) << 40);
	CHECK(b.specials == NOBJECTS && b.metadata_specials > NOBJECTS * 16);
	CHECK(b.metadata_mutators > 0 && b.metadata_tables >= b.heap_in_spans / 64);
	CHECK(b.heap_reserved >= b.heap_in_spans + b.heap_free_dirty + b.heap_free_clean);
	collect_afar();
	struct mgc_stats c = stats();
	CHECK(c.finalizers_due > NOBJECTS - 50 && c.finalizers_due <= NOBJECTS);
	CHECK(c.stacks_scanned > 0 && c.stacks_scanned < (1 << 20) && c.metadata_marking > 0);
	CHECK(c.roots_scanned >= sizeof root && c.roots_scanned < 2 * sizeof root);
	size_t nrun = mgc_run_finalizers();
	struct mgc_stats d = stats();
	CHECK(nrun == c.finalizers_due && d.finalizers_run - c.finalizers_run == nrun);
	CHECK_EQ(d.finalizers_due, 0);
	CHECK_EQ(d.specials, NOBJECTS - nrun);
	const struct mgc_stats *all[] = { &a, &b, &c, &d };
	for (size_t i = 0; i < NROWS; i++)
		for (size_t k = 1; k < 4 && rows[i].kind[0] == 'c'; k++)
			CHECK(value(all[k], i) >= value(all[k - 1], i));
}

/* ── the summary at exit ────────────────────────────────────────────────────────────────── */

static void leave_with_summary(void *level)
{
	setenv("MGC_DEBUG", level, 1);
	mgc_alloc(100000, NULL, 0);
	mgc_collect();
	mgc_collect();
	struct mgc_stats s = stats();
	fprintf(stderr, "allocated %llu\n", (unsigned long long)s.total_allocated);
	exit(0);
}

TEST(summary_has_every_row)
{
	static struct ending e;
	char line[200];
	e = ending_of(leave_with_summary, (void *)"exitstats=1");
	CHECK(e.status == 0 && strstr(e.text, " collections (2 forced), ") != NULL);
	CHECK(strstr(e.text, "/gc/") == NULL);
	e = ending_of(leave_with_summary, (void *)"exitstats=2");
	CHECK_EQ(e.status, 0);
	for (size_t i = 0; i < NROWS; i++) {
		snprintf(line, sizeof line, "\n%s ", rows[i].name);
		CHECK(strstr(e.text, line) != NULL);
	}
	unsigned long long allocated = strtoull(strstr(e.text, "allocated ") + 10, NULL, 10);
	snprintf(line, sizeof line, "\n/gc/heap/allocs:bytes %llu\n", allocated);
	CHECK(allocated >= 100000 && strstr(e.text, line) != NULL);
	CHECK(strstr(e.text, "\n/gc/cycles/forced:gc-cycles 2\n") != NULL);
}

/* ── give-back, a line each ─────────────────────────────────────────────────────────────── */

static void give_back(void *arg)
{
	(void)arg;
	setenv("MGC_DEBUG", "scavtrace=1", 1);
	for (int i = 0; i < 64; i++)
		memset(mgc_alloc((size_t)1 << 20, NULL, MGC_NOSCAN), 1, (size_t)1 << 20);
	mgc_collect();
	for (int i = 0; i < 400 && stats().scavenged < (uint64_t)1 << 20; i++)
		usleep(10000);
	usleep(10000); /* the line comes after the count */
	exit(0);
}

TEST(scavtrace_has_gos_form)
{
	struct ending e = ending_of(give_back, NULL);
	unsigned long work, total, util;
	const char *line = strstr(e.text, "scav ");
	CHECK_EQ(e.status, 0);
	CHECK(line != NULL &&
	      sscanf(line, "scav %lu KiB work (bg), 0 KiB work (eager), %lu KiB total, %lu%% util",
		     &work, &total, &util) == 3);
	CHECK(work >= 1024 && total >= work && util <= 100);
}
