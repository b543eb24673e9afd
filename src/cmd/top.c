/* top.c - mallocgc top: the heap of a running process, again and again.
 * WHAT   counters, span classes, threads; read from outside (observe.h). On a terminal with ncurses; otherwise, or with
 *        --batch, as text.
 * WHO    main.c.  STATE the view before, for rates.  LOCKS none. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if MGC_WITH_CURSES
#include <curses.h>
#endif

#include "cmd/cmd.h"
#include "cmd/observe.h"
#include "cmd/options.h"
#include "os/os.h"

/* A page is made for 80 columns. LINES_AROUND: of a screen, all but the rows of classes and threads. */
enum { MAX_THREADS = 4096, LINES_AROUND = 16 };

struct options {
	bool batch;
	unsigned count; /* 0: for ever */
	double delay;
};

static const struct option_row options[] = {
	{ "batch", NULL, &option_flag, offsetof(struct options, batch),
	  "text without a terminal's commands (also when the output is no terminal)" },
	{ "count", "N", &option_number, offsetof(struct options, count), "end after N views" },
	{ "delay", "SECS", &option_seconds, offsetof(struct options, delay), "between two (1)" },
	{ 0 },
};

/* ── a page of text ─────────────────────────────────────────────────────────────────────── */

struct page {
	size_t n;
	char text[1 << 16];
};

__attribute__((format(printf, 2, 3))) static void put(struct page *p, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(p->text + p->n, sizeof p->text - p->n, format, args);
	va_end(args);
	p->n += n > 0 ? (size_t)n : 0;
	if (p->n >= sizeof p->text)
		p->n = sizeof p->text - 1;
}

static const char *ms(uint64_t ns, char out[24])
{
	snprintf(out, 24, "%.3f ms", (double)ns / 1e6);
	return out;
}

static void put_durations(struct page *p, const char *what, const struct histogram *h)
{
	char a[24], b[24], c[24];
	if (histogram_total(h) > 0)
		put(p, "%-11s %8llu   50%% ≤ %s   99%% ≤ %s   all ≤ %s\n", what,
		    (unsigned long long)histogram_total(h), ms(histogram_percentile(h, 50), a),
		    ms(histogram_percentile(h, 99), b), ms(histogram_percentile(h, 100), c));
}

/* put_rate - of allocation since the view before. Malloc's counts are read one after the other, so they may seem to go back. */
static void put_rate(struct page *p, const struct view *v, const struct view *before)
{
	double seconds = (double)(v->now_ns - before->now_ns) / 1e9;
	uint64_t nbytes = v->allocated_nbytes - before->allocated_nbytes;
	if (seconds > 0 && v->counted)
		put(p, "   allocating %s/s",
		    bytes_text((int64_t)nbytes > 0 ? (uint64_t)((double)nbytes / seconds) : 0).s);
}

static void put_collected(struct page *p, const struct view *v, const struct view *before)
{
	const struct cycle_record *last = view_cycle(v, v->ncycles);
	char a[24];
	put(p, "heap        %8s of %s goal", bytes_text(v->live_nbytes).s,
	    bytes_text(v->goal_nbytes).s);
	put_rate(p, v, before);
	put(p, "\ncycles      %8llu   phase %s\n", (unsigned long long)v->ncycles, phase_name(v->phase));
	if (last != NULL)
		put(p, "last cycle  %8s found live in %llu objects, %s, %s stopped\n",
		    bytes_text(last->heap_live).s, (unsigned long long)last->marked_objects,
		    ms(last->pause_ns > last->cycle_ns ? last->pause_ns : last->cycle_ns, a),
		    last->pause_ns != 0 ? "world" : "nobody");
	put_durations(p, "pauses", &v->pauses);
	put_durations(p, "snapshots", &v->snapshots);
	put_durations(p, "handshakes", &v->handshakes);
}

/* shown - how many of n rows there is place for; the last line says how many are left. */
static size_t shown(size_t n, int rows)
{
	return n <= (size_t)rows ? n : (size_t)rows - 1;
}

static void put_left(struct page *p, size_t nleft)
{
	if (nleft > 0)
		put(p, "%9s %zu more\n", "…", nleft);
}

static int by_allocated(const void *a, const void *b)
{
	const struct thread_usage *x = a, *y = b;
	if (x->allocated_nbytes != y->allocated_nbytes)
		return x->allocated_nbytes < y->allocated_nbytes ? 1 : -1;
	return x->tid > y->tid ? 1 : -1;
}

/* put_threads - those first that allocated most. */
static void put_threads(struct page *p, const struct target *t, int rows)
{
	static struct thread_usage threads[MAX_THREADS];
	size_t n = threads_read(t, threads, MAX_THREADS), nshown = shown(n, rows);
	char a[24];
	qsort(threads, n, sizeof threads[0], by_allocated);
	if (n > 0)
		put(p, "\n%8s %-16s %c %12s %10s %14s\n", "thread", "name", 'S', "allocated",
		    "in hand", "last snapshot");
	for (size_t i = 0; i < nshown; i++) {
		thread_look(t, &threads[i]);
		put(p, "%8d %-16s %c %12s %10s %14s\n", threads[i].tid, threads[i].name,
		    threads[i].state, bytes_text(threads[i].allocated_nbytes).s,
		    bytes_text(threads[i].held_nbytes).s, ms(threads[i].snapshot_ns, a));
	}
	put_left(p, n - nshown);
}

static void put_classes(struct page *p, const struct census *c, int rows)
{
	size_t nshown = shown(c->nclasses, rows);
	put(p, "\n%9s %-22s %7s %9s %9s %6s %9s\n", "slot", "type", "spans", "pages", "in use",
	    "full", "waste");
	for (size_t i = 0; i < nshown; i++) {
		const struct class_usage *u = &c->class[i];
		uint64_t used = u->used_nbytes < u->page_nbytes ? u->used_nbytes : u->page_nbytes;
		put(p, "%9s %-22.22s %7llu %9s %9s %5.0f%% %9s\n",
		    u->slot_nbytes != 0 ? bytes_text(u->slot_nbytes).s : "large", u->name,
		    (unsigned long long)u->nspans, bytes_text(u->page_nbytes).s, bytes_text(used).s,
		    100 * (double)used / (double)u->page_nbytes, bytes_text(u->page_nbytes - used).s);
	}
	put_left(p, c->nclasses - nshown);
}

/* compose - false: the process is gone. */
static bool compose(struct page *p, const struct target *t, struct view *before, int rows)
{
	static struct view v;
	static struct census c;
	p->n = 0;
	if (!view_read(t, &v) || !census_read(t, &c))
		return false;
	if (before->now_ns == 0)
		*before = v;
	put(p, "%d  %s\n%s face, %s\n\n", (int)t->pid, t->command, t->face, t->object);
	put(p, "resident    %8s   pages in use %s\n", bytes_text(v.rss_nbytes).s,
	    bytes_text(v.used_nbytes).s);
	put(p, "free pages  %8s resident, %s not   given back %s\n", bytes_text(v.dirty_nbytes).s,
	    bytes_text(v.clean_nbytes).s, bytes_text(v.scavenged_nbytes).s);
	if (v.collected) {
		put_collected(p, &v, before);
	} else if (v.counted) {
		put(p, "allocated   %8s", bytes_text(v.allocated_nbytes).s);
		put_rate(p, &v, before);
		put(p, "\n");
	}
	put_classes(p, &c, rows - rows / 2);
	put_threads(p, t, rows / 2);
	*before = v;
	return true;
}

/* ── the two ways to show it ────────────────────────────────────────────────────────────── */

static int gone(const struct target *t)
{
	complain("process %d %s", (int)t->pid, target_fate(t));
	return STATUS_FAILED;
}

static int show_batch(const struct target *t, const struct options *o)
{
	static struct page page;
	static struct view before;
	for (unsigned i = 0; o->count == 0 || i < o->count; i++) {
		if (i > 0)
			os_sleep_ns((uint64_t)(o->delay * 1e9));
		if (!compose(&page, t, &before, 1000))
			return gone(t);
		fwrite(page.text, 1, page.n, stdout);
		puts("");
		if (finish_output() != 0)
			return STATUS_FAILED;
	}
	return 0;
}

#if MGC_WITH_CURSES
/* show_lines - as far as the screen goes; a line that is too long ends at its edge. */
static void show_lines(const char *text)
{
	for (int y = 0; y < LINES && *text != '\0'; y++) {
		size_t n = strcspn(text, "\n");
		move(y, 0);
		for (const char *end = text + n; text < end;) {
			int length = mblen(text, (size_t)(end - text));
			length = length > 0 ? length : 1;
			if (getcurx(stdscr) == COLS - 1)
				break;
			addnstr(text, length);
			text += length;
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
}

/* open_keys - where keys come from: not from a standard input that is a file or a pipe, which may be at its end and is
 * somebody else's. NULL: from nowhere. */
static FILE *open_keys(void)
{
	return isatty(STDIN_FILENO) ? stdin : fopen("/dev/tty", "re");
}

static int show_screen(const struct target *t, const struct options *o)
{
	static struct page page;
	static struct view before;
	bool alive = true;
	FILE *keys = open_keys();
	SCREEN *screen = keys != NULL ? newterm(NULL, stdout, keys) : NULL;
	if (screen == NULL)
		return show_batch(t, o);
	cbreak();
	noecho();
	curs_set(0);
	timeout((int)(o->delay * 1000));
	for (unsigned i = 0; o->count == 0 || i < o->count; i++) {
		alive = compose(&page, t, &before, LINES > 2 + LINES_AROUND ? LINES - LINES_AROUND : 2);
		if (!alive)
			break;
		page.text[page.n] = '\0';
		erase();
		show_lines(page.text);
		refresh();
		if (getch() == 'q')
			break;
	}
	endwin();
	delscreen(screen);
	return alive ? 0 : gone(t);
}
#else
static int show_screen(const struct target *t, const struct options *o)
{
	return show_batch(t, o);
}
#endif

static int top_main(int argc, char **argv)
{
	struct options o = { .delay = 1 };
	struct target t;
	int status = options_parse(&cmd_top, &o, argc, argv);
	if (status >= 0)
		return status;
	pid_t pid = target_pid(&cmd_top, argc, argv);
	if (pid == 0 || (status = target_find(&t, pid)) != 0)
		return pid == 0 ? STATUS_FAILED : status;
	return o.batch || !isatty(STDOUT_FILENO) ? show_batch(&t, &o) : show_screen(&t, &o);
}

const struct subcommand cmd_top = {
	.name = "top",
	.summary = "show the heap of a running process",
	.help = "Usage: mallocgc top [OPTIONS] PID\n"
		"Shows the heap of a process that uses the library: how large it is, where the "
		"next collection\n"
		"starts, pauses, size classes, threads. The process needs no setting and does "
		"nothing for it.",
	.help_end = "Keys: q quit · space now.",
	.options = options,
	.main = top_main,
};
