/* pprof.c - see pprof.h. STATE none: buffers are on the stack, one table of addresses is mapped. A number in a
 * name FIELD_… is the field's in profile.proto. */
#include "sample/pprof.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/check.h"
#include "base/out.h"
#include "base/statout.h"
#include "os/os.h"

enum profile_field {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE = 2,
	PROFILE_MAPPING = 3,
	PROFILE_LOCATION = 4,
	PROFILE_FUNCTION = 5,
	PROFILE_STRING = 6,
	PROFILE_DROP_FRAMES = 7,
	PROFILE_TIME = 9,
	PROFILE_DURATION = 10,
	PROFILE_PERIOD_TYPE = 11,
	PROFILE_PERIOD = 12,
	PROFILE_DEFAULT_TYPE = 14,
};

/* The first strings, in their order. */
enum fixed_string {
	STR_NONE,
	STR_ALLOC_OBJECTS,
	STR_COUNT,
	STR_ALLOC_SPACE,
	STR_BYTES,
	STR_INUSE_OBJECTS,
	STR_INUSE_SPACE,
	STR_SPACE,
	STR_DROP,
	NFIXED
};
/* Where the library itself is: what pprof leaves out. */
static const char drop_frames[] =
	"gc_alloc.*|alloc_large|sampled|new_slow|mgc_(alloc|new).*|api_.*"
	"|GC_.*alloc.*|libgc_alloc.*|"
	"alloc_dense_(slow|first)|alloc_many|malloc.*|calloc|realloc|realloc_long|aligned_"
	"alloc|memalign|posix_memalign|"
	"operator new.*|_Zn[aw].*|new_long|try_new";

static const char *const fixed_strings[NFIXED] = {
	"",      "alloc_objects", "count", "alloc_space", "bytes", "inuse_objects", "inuse_space",
	"space", drop_frames,
};

/* ── protobuf ───────────────────────────────────────────────────────────────────────────── */

/* A message that is not longer than this: a stack has SAMPLE_FRAMES addresses of at most 10 bytes. */
struct message {
	size_t n;
	uint8_t byte[PATH_MAX + 1024];
};

static void put_varint(struct message *m, uint64_t v)
{
	while (v >= 0x80) {
		m->byte[m->n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	m->byte[m->n++] = (uint8_t)v;
}

static void put_number(struct message *m, unsigned field, uint64_t v)
{
	put_varint(m, field << 3);
	put_varint(m, v);
}

static void put_bytes(struct message *m, unsigned field, const void *bytes, size_t n)
{
	put_varint(m, field << 3 | 2);
	put_varint(m, n);
	memcpy(m->byte + m->n, bytes, n);
	m->n += n;
}

/* emit - the message as a field of the profile. */
static void emit(struct out *o, enum profile_field field, const struct message *m)
{
	struct message head = { 0 };
	put_varint(&head, (uint64_t)field << 3 | 2);
	put_varint(&head, m->n);
	out_bytes(o, head.byte, head.n);
	out_bytes(o, m->byte, m->n);
}

static void emit_number(struct out *o, enum profile_field field, uint64_t v)
{
	struct message m = { 0 };
	put_number(&m, field, v);
	out_bytes(o, m.byte, m.n);
}

/* ── the profile ────────────────────────────────────────────────────────────────────────── */

struct writer {
	const struct pprof_source *source;
	struct out out;
	uint64_t nstrings, nfunctions;
	uintptr_t *pc; /* all addresses, each once, rising */
	size_t npc, nbytes;
};

/* add_string - its number. */
static uint64_t add_string(struct writer *w, const char *s)
{
	struct message m = { 0 };
	size_t n = strnlen(s, PATH_MAX);
	put_varint(&m, PROFILE_STRING << 3 | 2);
	put_varint(&m, n);
	out_bytes(&w->out, m.byte, m.n);
	out_bytes(&w->out, s, n);
	return w->nstrings++;
}

static void emit_type(struct writer *w, enum profile_field field, unsigned type, unsigned unit)
{
	struct message m = { 0 };
	put_number(&m, 1, type);
	put_number(&m, 2, unit);
	emit(&w->out, field, &m);
}

static void emit_head(struct writer *w)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	for (unsigned i = 0; i < NFIXED; i++)
		add_string(w, fixed_strings[i]);
	emit_type(w, PROFILE_SAMPLE_TYPE, STR_ALLOC_OBJECTS, STR_COUNT);
	emit_type(w, PROFILE_SAMPLE_TYPE, STR_ALLOC_SPACE, STR_BYTES);
	emit_type(w, PROFILE_SAMPLE_TYPE, STR_INUSE_OBJECTS, STR_COUNT);
	emit_type(w, PROFILE_SAMPLE_TYPE, STR_INUSE_SPACE, STR_BYTES);
	emit_type(w, PROFILE_PERIOD_TYPE, STR_SPACE, STR_BYTES);
	emit_number(&w->out, PROFILE_PERIOD, w->source->rate_nbytes);
	uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	emit_number(&w->out, PROFILE_TIME, w->source->time_ns != 0 ? w->source->time_ns : now_ns);
	emit_number(&w->out, PROFILE_DURATION, w->source->duration_ns);
	emit_number(&w->out, PROFILE_DROP_FRAMES, STR_DROP);
	emit_number(&w->out, PROFILE_DEFAULT_TYPE, STR_INUSE_SPACE);
}

static uint64_t whole(double v)
{
	return v > 0 ? (uint64_t)(v + 0.5) : 0;
}

static void emit_sample(struct writer *w, const struct sample_stack *s)
{
	struct message list = { 0 }, m = { 0 };
	for (uint32_t i = 0; i < s->nframes && i < SAMPLE_FRAMES; i++)
		put_varint(&list, s->pc[i]); /* an address is its location's id */
	put_bytes(&m, 1, list.byte, list.n);
	list.n = 0;
	put_varint(&list, whole(s->allocated_objects));
	put_varint(&list, whole(s->allocated_nbytes));
	put_varint(&list, whole(s->live_objects));
	put_varint(&list, whole(s->live_nbytes));
	put_bytes(&m, 2, list.byte, list.n);
	emit(&w->out, PROFILE_SAMPLE, &m);
}

static void sift_down(uintptr_t *v, size_t at, size_t n)
{
	for (size_t child; (child = 2 * at + 1) < n; at = child) {
		child += child + 1 < n && v[child + 1] > v[child];
		if (v[at] >= v[child])
			return;
		uintptr_t t = v[at];
		v[at] = v[child];
		v[child] = t;
	}
}

static void sort(uintptr_t *v, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift_down(v, i, n);
	for (size_t i = n; i-- > 1;) {
		uintptr_t t = v[0];
		v[0] = v[i];
		v[i] = t;
		sift_down(v, 0, i);
	}
}

static bool is_sampled(const struct sample_stack *s)
{
	return s->nsamples != 0 && s->nframes <= SAMPLE_FRAMES;
}

/* collect_addresses - fills w->pc. False: no memory. */
static bool collect_addresses(struct writer *w)
{
	const struct pprof_source *src = w->source;
	size_t n = 0, kept = 0;
	for (size_t i = 0; i < src->nstacks; i++)
		n += is_sampled(&src->stacks[i]) ? src->stacks[i].nframes : 0;
	w->nbytes = align_up((n + 1) * sizeof *w->pc, os_page_size());
	w->pc = (uintptr_t *)os_alloc(w->nbytes);
	if (w->pc == NULL)
		return false;
	n = 0;
	for (size_t i = 0; i < src->nstacks && n * sizeof *w->pc < w->nbytes; i++)
		for (uint32_t k = 0; is_sampled(&src->stacks[i]) && k < src->stacks[i].nframes; k++)
			if ((n + 1) * sizeof *w->pc <= w->nbytes)
				w->pc[n++] = src->stacks[i].pc[k];
	sort(w->pc, n);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || w->pc[kept - 1] != w->pc[i])
			w->pc[kept++] = w->pc[i];
	w->npc = kept;
	return true;
}

static uint64_t emit_function(struct writer *w, const struct pprof_line *line)
{
	struct message m = { 0 };
	put_number(&m, 1, ++w->nfunctions);
	uint64_t name = add_string(w, line->function);
	put_number(&m, 2, name);
	put_number(&m, 3, line->linkage != NULL ? add_string(w, line->linkage) : name);
	if (line->file != NULL)
		put_number(&m, 4, add_string(w, line->file));
	emit(&w->out, PROFILE_FUNCTION, &m);
	return w->nfunctions;
}

static void emit_location(struct writer *w, uintptr_t pc, uint64_t mapping)
{
	struct message m = { 0 }, l = { 0 };
	struct pprof_line line[PPROF_LINES];
	size_t n = w->source->symbolize != NULL
			   ? w->source->symbolize(w->source->arg, pc, line, PPROF_LINES)
			   : 0;
	put_number(&m, 1, pc);
	put_number(&m, 2, mapping);
	put_number(&m, 3, pc);
	for (size_t i = 0; i < n; i++) {
		l.n = 0;
		put_number(&l, 1, emit_function(w, &line[i]));
		put_number(&l, 2, line[i].line);
		put_bytes(&m, 4, l.byte, l.n);
	}
	emit(&w->out, PROFILE_LOCATION, &m);
}

/* ── mappings: lines of /proc/PID/maps ──────────────────────────────────────────────────── */

struct mapping {
	uint64_t lo, hi, offset;
	bool executable;
	const char *path;
};

static const char *parse_hex(const char *s, uint64_t *v)
{
	for (*v = 0;; s++) {
		int digit = *s >= '0' && *s <= '9'   ? *s - '0'
			    : *s >= 'a' && *s <= 'f' ? *s - 'a' + 10
						     : -1;
		if (digit < 0)
			return s;
		*v = *v << 4 | (uint64_t)digit;
	}
}

/* parse_mapping - "lo-hi perm offset dev inode   path"; false: the line is no such one. */
static bool parse_mapping(const char *line, struct mapping *m)
{
	const char *s = parse_hex(line, &m->lo);
	if (*s++ != '-')
		return false;
	s = parse_hex(s, &m->hi);
	if (strlen(s) < 6)
		return false;
	m->executable = s[3] == 'x';
	s = parse_hex(s + 6, &m->offset);
	for (int field = 0; field < 2 && *s == ' '; field++)
		s += 1 + strcspn(s + 1, " ");
	m->path = s + strspn(s, " ");
	return true;
}

static size_t emit_mapping(struct writer *w, const char *line, uint64_t id, size_t at)
{
	struct mapping m;
	struct message out = { 0 };
	if (!parse_mapping(line, &m) || !m.executable)
		return at;
	while (at < w->npc && w->pc[at] < m.lo) /* code that no file has */
		emit_location(w, w->pc[at++], 0);
	if (at == w->npc || w->pc[at] >= m.hi)
		return at;
	put_number(&out, 1, id);
	put_number(&out, 2, m.lo);
	put_number(&out, 3, m.hi);
	put_number(&out, 4, m.offset);
	put_number(&out, 5, add_string(w, m.path));
	for (unsigned has = 7; has <= 10 && w->source->symbolize != NULL; has++)
		put_number(&out, has, 1); /* functions, files, lines, inlined ones: pprof looks for no others */
	emit(&w->out, PROFILE_MAPPING, &out);
	for (; at < w->npc && w->pc[at] < m.hi; at++)
		emit_location(w, w->pc[at], id);
	return at;
}

/* emit_places - mappings that have addresses of ours in them, and all locations. ENODATA: no mappings. */
static int emit_places(struct writer *w)
{
	char buf[PATH_MAX + 512];
	size_t n = 0, at = 0;
	ssize_t got;
	uint64_t id = 1;
	int fd = open(w->source->maps, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && ((got = read(fd, buf + n, sizeof buf - 1 - n)) > 0 || n > 0)) {
		n += got > 0 ? (size_t)got : 0;
		buf[n] = '\0';
		char *end = strchr(buf, '\n');
		size_t length = end != NULL ? (size_t)(end - buf) : n - 1;
		buf[length] = '\0';
		at = emit_mapping(w, buf, id++, at);
		n -= length + 1;
		memmove(buf, buf + length + 1, n);
	}
	if (fd >= 0)
		close(fd);
	while (at < w->npc)
		emit_location(w, w->pc[at++], 0);
	return fd >= 0 ? 0 : ENODATA;
}

int pprof_write(int fd, const struct pprof_source *source)
{
	struct writer w = { .source = source };
	out_init(&w.out, fd);
	if (!collect_addresses(&w))
		return ENOMEM;
	emit_head(&w);
	for (size_t i = 0; i < source->nstacks; i++)
		if (is_sampled(&source->stacks[i]))
			emit_sample(&w, &source->stacks[i]);
	int err = emit_places(&w);
	os_release((uintptr_t)w.pc, w.nbytes);
	int failed = out_flush(&w.out);
	return failed != 0 ? failed : err;
}

struct pprof_source pprof_own(void)
{
	uint32_t n = load_acquire(&sampler.nstacks); /* pairs: sample-stacks */
	return (struct pprof_source){ .stacks = sampler.stacks,
				      .nstacks = n,
				      .rate_nbytes = load_relaxed(&sampler.rate_nbytes),
				      .duration_ns = n > 0 ? os_now_ns() - sampler.start_ns : 0,
				      .maps = "/proc/self/maps" };
}

void pprof_write_own(const char *file)
{
	char path[PATH_MAX];
	struct pprof_source own = pprof_own();
	stat_file_name(path, sizeof path, file);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int err = fd < 0 ? errno : pprof_write(fd, &own);
	if (fd >= 0)
		close(fd);
	if (err == ENODATA)
		mgc_print(STDERR_FILENO, "mallocgc: MGC_PROFILE: %s has addresses and no files: %s cannot be read (no /proc here?)\n",
			  path, own.maps);
	else if (err != 0)
		mgc_print(STDERR_FILENO, "mallocgc: MGC_PROFILE: %s cannot be written (error %d)\n",
			  path, err);
}
