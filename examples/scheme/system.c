/* system.c - the collector, the clock and the process, as the program sees them. */
#include "scheme.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "vm.h"

PRIMITIVE(p_gc)
{
	mgc_collect();
	return V_UNSPECIFIED;
}

static value entry(const char *name, uint64_t n, value rest)
{
	return cons(cons(symbol(name), big_from_double((double)n)), rest);
}

PRIMITIVE(p_gc_stats)
{
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	value list = entry("objects-marked", s.objects_marked, V_NIL);
	list = entry("longest-pause-ns", s.pause_max_ns, list);
	list = entry("gc-cpu-ns", s.gc_cpu_ns, list);
	list = entry("total-allocated", s.total_allocated, list);
	list = entry("heap-goal", s.heap_goal, list);
	list = entry("heap-now", s.heap_now, list);
	list = entry("heap-live", s.heap_live, list);
	return entry("cycles", s.cycles, list);
}

PRIMITIVE(p_gc_limit) /* bytes, or #f: none */
{
	return big_from_double(
		(double)mgc_set_memory_limit(a[0] == V_FALSE ? INT64_MAX : want_fixnum(a[0])));
}

static double seconds(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

RETURNS(p_current_second, make_flonum(seconds(CLOCK_REALTIME)))
RETURNS(p_current_jiffy, fixnum((intptr_t)(seconds(CLOCK_MONOTONIC) * 1e9)))
RETURNS(p_jiffies_per_second, fixnum(1000000000))

PRIMITIVE(p_exit)
{
	port_flush(root.stdout_port);
	port_flush(root.stderr_port);
	exit(n == 0 || a[0] == V_TRUE ? 0 : is_fixnum(a[0]) ? (int)fixnum_of(a[0]) : 1);
}

PRIMITIVE(p_getenv)
{
	const char *v = getenv(string_utf8(want(a[0], KIND_STRING, "string"), NULL));
	return v != NULL ? string_from(v) : V_FALSE;
}

PRIMITIVE(p_globals) /* every symbol that has a value */
{
	value list = V_NIL;
	for (size_t i = 0; i < length_of(root.symbols); i++)
		for (value l = slot_of(root.symbols, i); l != V_NIL; l = cdr(l))
			if (symbol_of(car(l))->global != V_UNDEFINED)
				list = cons(car(l), list);
	return list;
}

static const struct prim_info system_table[] = {
	{ "%globals", p_globals, 0, 0, 0 },
	{ "gc", p_gc, 0, 0, 0 },
	{ "gc-stats", p_gc_stats, 0, 0, 0 },
	{ "gc-set-memory-limit!", p_gc_limit, 1, 1, 0 },
	{ "current-second", p_current_second, 0, 0, 0 },
	{ "current-jiffy", p_current_jiffy, 0, 0, 0 },
	{ "jiffies-per-second", p_jiffies_per_second, 0, 0, 0 },
	{ "exit", p_exit, 0, 1, 0 },
	{ "emergency-exit", p_exit, 0, 1, 0 },
	{ "get-environment-variable", p_getenv, 1, 1, 0 },
};

void system_init(void)
{
	DEFINE_ALL(system_table);
}
