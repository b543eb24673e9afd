/* gctrace.c - see gctrace.h. UNITS milliseconds with three digits, whole MB (2^20) as Go prints them.
 *
 *   gc N @Ts U%: a+b+c ms clock, d+e/f/g+h ms cpu, H0->H1->L MB, G MB goal, S MB stacks, R MB globals,
 *   P P [(forced)] [; pause p ms, stop s ms, objects n, threads t, sweep w ms]
 *
 * a and c are the parts with the world stopped (here: all of it stands in a, and c is 0), b what ran
 * beside the program; e and f are the processor time of assists and of the background. What was sent, the
 * longest snapshot, and what held an allocation up longest follow behind. */
#include "obs/gctrace.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/check.h"
#include "mallocgc.h"
#include "os/os.h"

static int log_fd(const struct gc *gc)
{
	static int fd = -1;
	if (fd < 0 && gc->knobs.log != NULL) {
		fd = open(gc->knobs.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (fd < 0) {
			mgc_print(STDERR_FILENO, "mallocgc: MGC_LOG=%s cannot be written (errno %d); traces go to standard error\n",
				  gc->knobs.log, errno);
			fd = STDERR_FILENO;
		}
	}
	return fd >= 0 ? fd : STDERR_FILENO;
}

struct ms {
	char text[24];
};

static struct ms ms(uint64_t ns)
{
	struct ms out;
	uint64_t us = (ns + 500) / 1000;
	mgc_format(out.text, sizeof out.text, "%lu.%03lu", us / 1000, us % 1000);
	return out;
}

static unsigned long mb(uint64_t nbytes)
{
	return (nbytes + (1 << 19)) >> 20;
}

struct limit_text {
	char text[64];
};

/* limit_text - the limit, how far the heap was above it, and whether collecting has taken its half of the
 * processor time, so that the goal may be. */
static struct limit_text limit_text(const struct gc *gc, const struct cycle_record *r)
{
	struct limit_text out = { "" };
	if (gc->pacer.limit_nbytes != UINT64_MAX)
		mgc_format(out.text, sizeof out.text, ", limit %lu MB, over %lu KB%s",
			   mb(gc->pacer.limit_nbytes), (unsigned long)(r->over_nbytes >> 10),
			   gc->pacer.limiter.passes ? " (cpu)" : "");
	return out;
}

static void print_cycle(const struct gc *gc, const struct cycle_record *r)
{
	uint64_t now = os_now_ns() - gc->start_ns;
	unsigned nprocs = os_nprocs();
	uint64_t percent = now > 0 ? 100 * r->total_gc_cpu_ns / (now * nprocs) : 0;
	uint64_t beside = r->cycle_ns > r->pause_ns ? r->cycle_ns - r->pause_ns : 0;
	uint64_t stopped_cpu = r->cycle_ns == 0 ? r->cpu_ns : 0;
	uint64_t background_cpu = r->cycle_ns != 0 ? r->cpu_ns - r->assist_ns : 0;
	mgc_print(log_fd(gc),
		  "gc %lu @%ss %lu%%: %s+%s+0 ms clock, %s+%s/%s/0+0 ms cpu, %lu->%lu->%lu MB, %lu "
		  "MB "
		  "goal, "
		  "%lu MB stacks, %lu MB globals, %u P%s; pause %s ms, stop %s ms, objects %lu, "
		  "threads %u, sweep %s ms, snapshot %s ms, signals %lu, longest refill %s ms, "
		  "assist %s ms, "
		  "wait %s ms, rescanned %lu KB%s\n",
		  r->number, ms(r->start_ns / 1000).text, percent, ms(r->pause_ns).text,
		  ms(beside).text, ms(stopped_cpu).text, ms(r->assist_ns).text, ms(background_cpu).text,
		  mb(r->heap_before), mb(r->heap_before + r->born_nbytes), mb(r->heap_live),
		  mb(r->heap_goal), mb(r->stack_nbytes), mb(r->roots_nbytes), r->nworkers,
		  r->reason == CYCLE_FORCED ? " (forced)"
		  : r->young                ? " (young)"
					    : "",
		  ms(r->pause_ns).text, ms(r->stopping_ns).text, r->marked_objects, r->nmutators,
		  ms(r->sweep_ns).text, ms(r->snapshot_max_ns).text, r->nsignals,
		  ms(r->longest_ns[DELAY_REFILL]).text, ms(r->longest_ns[DELAY_ASSIST]).text,
		  ms(r->longest_ns[DELAY_WAIT]).text, r->rescanned_nbytes >> 10,
		  limit_text(gc, r).text);
}

void gctrace_start(struct gc *gc)
{
	gc->observer = print_cycle;
	gc->delays = true;
}

/* Go's line; everything here is given back in the background, or by who needed the room and pays for it. */
static void print_scavenge(struct gc *gc, size_t nbytes)
{
	struct pageheap_stats s;
	pageheap_read_stats(&gc->heap->pageheap, &s);
	size_t resident = s.used_nbytes + s.dirty_nbytes;
	mgc_print(log_fd(gc), "scav %zu KiB work (bg), 0 KiB work (eager), %zu KiB total, %zu%% util\n",
		  nbytes >> 10, s.clean_nbytes >> 10,
		  resident > 0 ? 100 * s.used_nbytes / resident : 100);
}

void gctrace_start_scav(struct gc *gc)
{
	gc->scavenged = print_scavenge;
}

void gctrace_exit_summary(struct gc *gc)
{
	struct mgc_stats s = { .struct_size = sizeof s };
	gc_read_stats(gc, &s);
	mgc_print(log_fd(gc),
		  "mallocgc: %lu collections (%lu forced), world stopped %s ms in all, %s ms at "
		  "most; "
		  "%lu MB allocated, %lu MB live after the last; heap %lu MB in use, %lu MB free, "
		  "%lu MB given back\n",
		  s.cycles, s.forced_cycles, ms(s.pause_total_ns).text, ms(s.pause_max_ns).text,
		  mb(s.total_allocated), mb(s.heap_live), mb(s.heap_in_spans),
		  mb(s.heap_free_dirty), mb(s.scavenged));
	if (gc->knobs.exitstats < 2)
		return;
#define MGC_STAT(id, name, kind, unit, help) mgc_print(log_fd(gc), "%s %lu\n", name, s.id);
#include "base/stat.def"
#undef MGC_STAT
}
