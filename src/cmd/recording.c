/* recording.c - see recording.h. STATE none of its own. */
#include "cmd/recording.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/json.h"
#include "os/os.h"

/* So many stacks are written: those that hold most, and those that allocate most. */
enum { MAX_SITES = 40 };

typedef unsigned long long ull;

/* ── text ───────────────────────────────────────────────────────────────────────────────── */

/* put_string - as JSON; what is no text becomes a question mark. */
static void put_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
		size_t n = utf8_sequence(s);
		if (n == 1 && (*s < ' ' || *s == '"' || *s == '\\' || *s == 0x7f))
			fprintf(out, "\\u%04x", *s);
		else if (n == 0)
			fputc('?', out);
		else
			fwrite(s, 1, n, out);
		s += n > 0 ? n : 1;
	}
	fputc('"', out);
}

static ull since(const struct recording *r, uint64_t ns)
{
	return ns > r->origin_ns ? ns - r->origin_ns : 0;
}

/* ── the lines ──────────────────────────────────────────────────────────────────────────── */

void recording_begin(struct recording *r, FILE *out, const struct target *t, const struct view *v)
{
	char date[32];
	time_t now = time(NULL);
	struct tm utc;
	*r = (struct recording){ .out = out,
				 .collected = v->collected,
				 .origin_ns = v->start_ns != 0 ? v->start_ns : v->now_ns };
	gmtime_r(&now, &utc);
	strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
	fprintf(out, "{\"mallocgc\":\"recording\",\"format\":%d,\"version\":\"%s\",\"date\":\"%s\"",
		RECORDING_FORMAT, MGC_VERSION_STRING, date);
	fprintf(out, ",\"pid\":%d,\"cpus\":%u,\"face\":", (int)t->pid, os_nprocs());
	put_string(out, t->face);
	fputs(",\"command\":", out);
	put_string(out, t->command);
	fputs(",\"object\":", out);
	put_string(out, t->object);
	fprintf(out, ",\"arena\":%zu}\n", MGC_ARENA_SIZE);
}

static void put_cycle(const struct recording *r, const struct cycle_record *c)
{
	FILE *out = r->out;
	const char *separator = "";
	fprintf(out, "{\"cycle\":%llu,\"start\":%llu,\"forced\":%s,\"young\":%s", (ull)c->number,
		(ull)c->start_ns, c->reason == CYCLE_FORCED ? "true" : "false",
		c->young ? "true" : "false");
	fprintf(out, ",\"sweep\":%llu,\"stopping\":%llu,\"pause\":%llu,\"mark\":%llu,\"beside\":%llu",
		(ull)c->sweep_ns, (ull)c->stopping_ns, (ull)c->pause_ns, (ull)c->mark_ns,
		(ull)c->cycle_ns);
	fprintf(out, ",\"cpu\":%llu,\"assist\":%llu,\"snapshot\":%llu,\"signals\":%llu",
		(ull)c->cpu_ns, (ull)c->assist_ns, (ull)c->snapshot_max_ns, (ull)c->nsignals);
	fprintf(out, ",\"before\":%llu,\"live\":%llu,\"goal\":%llu,\"born\":%llu,\"over\":%llu",
		(ull)c->heap_before, (ull)c->heap_live, (ull)c->heap_goal, (ull)c->born_nbytes,
		(ull)c->over_nbytes);
	fprintf(out, ",\"stacks\":%llu,\"roots\":%llu,\"objects\":%llu,\"workers\":%u,\"threads\":%u",
		(ull)c->stack_nbytes, (ull)c->roots_nbytes, (ull)c->marked_objects, c->nworkers,
		c->nmutators);
	fputs(",\"phases\":{", out);
	for (unsigned i = PHASE_ARM; i <= PHASE_FLIP; i++) {
		if (c->phase_at_ns[i] == 0)
			continue;
		fprintf(out, "%s\"%s\":%llu", separator, phase_name(i), (ull)c->phase_at_ns[i]);
		separator = ",";
	}
	fputs("}}\n", out);
}

void recording_cycles(struct recording *r, const struct view *v)
{
	for (; r->ncycles < v->ncycles; r->ncycles++) {
		const struct cycle_record *c = view_cycle(v, r->ncycles + 1);
		if (c != NULL)
			put_cycle(r, c);
		else
			r->nlost++;
	}
}

void recording_sample(struct recording *r, const struct view *v)
{
	fprintf(r->out, "{\"sample\":%llu,\"rss\":%llu,\"pages\":%llu,\"free\":%llu,\"released\":%llu",
		since(r, v->now_ns), (ull)v->rss_nbytes, (ull)v->used_nbytes, (ull)v->dirty_nbytes,
		(ull)v->clean_nbytes);
	fprintf(r->out, ",\"scavenged\":%llu", (ull)v->scavenged_nbytes);
	if (v->counted)
		fprintf(r->out, ",\"allocated\":%llu", (ull)v->allocated_nbytes);
	if (v->collected)
		fprintf(r->out, ",\"heap\":%llu,\"goal\":%llu,\"cycles\":%llu,\"phase\":\"%s\"",
			(ull)v->live_nbytes, (ull)v->goal_nbytes, (ull)v->ncycles,
			phase_name(v->phase));
	fputs("}\n", r->out);
}

static void put_classes(FILE *out, const struct census *c)
{
	fputs(",\"classes\":[", out);
	for (size_t i = 0; i < c->nclasses; i++) {
		const struct class_usage *u = &c->class[i];
		fprintf(out, "%s{\"slot\":%llu,\"spans\":%llu,\"pages\":%llu,\"slots\":%llu,\"taken\":%llu,\"bytes\":%llu,\"type\":",
			i > 0 ? "," : "", (ull)u->slot_nbytes, (ull)u->nspans, (ull)u->page_nbytes,
			(ull)u->nslots, (ull)u->nused, (ull)u->used_nbytes);
		put_string(out, u->name);
		fputc('}', out);
	}
	fputc(']', out);
}

void recording_census(struct recording *r, const struct census *c, uint64_t now_ns)
{
	FILE *out = r->out;
	fprintf(out, "{\"census\":%llu,\"base\":%llu,\"grown\":%llu,\"cell\":%llu",
		since(r, now_ns), (ull)c->base, (ull)c->grown_nbytes, (ull)c->cell_nbytes);
	if (c->resident_known)
		fprintf(out, ",\"resident\":%llu", (ull)c->resident_nbytes);
	if (c->huge_known)
		fprintf(out, ",\"huge\":%llu", (ull)c->huge_nbytes);
	put_classes(out, c);
	fputs(",\"cells\":[", out);
	for (size_t i = 0; i < c->ncells; i++) {
		const struct map_cell *m = &c->cell[i];
		fprintf(out, "%s[%u,%u,%u,%u,%u,%u,%u]", i > 0 ? "," : "", m->class, m->page_nbytes,
			m->used_nbytes, m->dirty_nbytes, m->clean_nbytes, m->resident_nbytes,
			m->huge_nbytes);
	}
	fputs("]}\n", out);
}

static void put_histogram(FILE *out, const char *name, const struct histogram *h)
{
	const char *separator = "";
	fprintf(out, "{\"histogram\":\"%s\",\"buckets\":[", name);
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (h->count[i] == 0)
			continue;
		fprintf(out, "%s[%llu,%llu,%u]", separator, (ull)histogram_floor(i),
			(ull)histogram_floor(i + 1), h->count[i]);
		separator = ",";
	}
	fputs("]}\n", out);
}

/* ── stacks that allocate ───────────────────────────────────────────────────────────────── */

static int by_live(const void *a, const void *b)
{
	const struct sample_stack *x = a, *y = b;
	return x->live_nbytes < y->live_nbytes ? 1 : x->live_nbytes > y->live_nbytes ? -1 : 0;
}

static int by_allocated(const void *a, const void *b)
{
	const struct sample_stack *x = a, *y = b;
	return x->allocated_nbytes < y->allocated_nbytes   ? 1
	       : x->allocated_nbytes > y->allocated_nbytes ? -1
							   : 0;
}

static ull whole(double v)
{
	return v > 0 ? (ull)(v + 0.5) : 0;
}

struct frame_list {
	FILE *out;
	bool lines; /* these instead of names */
	unsigned n;
};

static bool put_frame(void *arg, const char *name, const char *line)
{
	struct frame_list *l = arg;
	fputs(l->n++ > 0 ? "," : "", l->out);
	put_string(l->out, l->lines ? line : name);
	return true;
}

static void put_site(FILE *out, struct sites *s, const struct sample_stack *stack)
{
	struct frame_list names = { .out = out }, lines = { .out = out, .lines = true };
	fprintf(out, "{\"site\":%u,\"objects\":%llu,\"bytes\":%llu,\"live_objects\":%llu,\"live_bytes\":%llu,\"stack\":[",
		stack->hash, whole(stack->allocated_objects), whole(stack->allocated_nbytes),
		whole(stack->live_objects), whole(stack->live_nbytes));
	sites_walk(s, stack, put_frame, &names);
	fputs("],\"lines\":[", out);
	sites_walk(s, stack, put_frame, &lines);
	fputs("]}\n", out);
}

static void put_sites(FILE *out, struct sites *s)
{
	double objects = 0, nbytes = 0, live = 0;
	for (size_t i = 0; i < s->nstacks; i++) {
		objects += s->stacks[i].allocated_objects;
		nbytes += s->stacks[i].allocated_nbytes;
		live += s->stacks[i].live_nbytes;
	}
	fprintf(out, "{\"sites\":%zu,\"rate\":%llu,\"objects\":%llu,\"bytes\":%llu,\"live_bytes\":%llu}\n",
		s->nstacks, (ull)s->rate_nbytes, whole(objects), whole(nbytes), whole(live));
	qsort(s->stacks, s->nstacks, sizeof s->stacks[0], by_live);
	size_t n = s->nstacks < MAX_SITES ? s->nstacks : MAX_SITES;
	for (size_t i = 0; i < n; i++)
		if (s->stacks[i].nsamples > 0)
			put_site(out, s, &s->stacks[i]);
	qsort(s->stacks + n, s->nstacks - n, sizeof s->stacks[0], by_allocated);
	for (size_t i = n; i < s->nstacks && i < 2 * MAX_SITES; i++)
		if (s->stacks[i].nsamples > 0)
			put_site(out, s, &s->stacks[i]);
}

void recording_end(struct recording *r, const struct view *last, struct sites *sites,
		   const char *how, int status)
{
	if (last->collected) {
		put_histogram(r->out, "pauses", &last->pauses);
		put_histogram(r->out, "snapshots", &last->snapshots);
		put_histogram(r->out, "handshakes", &last->handshakes);
	}
	put_sites(r->out, sites);
	fprintf(r->out, "{\"end\":%llu,\"how\":\"%s\",\"status\":%d,\"lost\":%llu}\n",
		since(r, last->now_ns), how, status, (ull)r->nlost);
}
