/* profile_file.c - see profile_file.h. A number at a field is profile.proto's. STATE none. */
#include "cmd/profile_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/cmd.h"

enum { MAX_PROFILE = 1 << 30 };
enum {
	FIELD_TYPE = 1,
	FIELD_SAMPLE,
	FIELD_MAPPING,
	FIELD_LOCATION,
	FIELD_STRING = 6,
	FIELD_TIME = 9,
	FIELD_DURATION,
	FIELD_PERIOD = 12
};

/* ── protobuf ───────────────────────────────────────────────────────────────────────────── */

/* What is left of a message, and its current field: a number, or bytes that may be a message themselves. */
struct message {
	const unsigned char *p, *end;
	unsigned field;
	uint64_t number;
	const unsigned char *bytes;
	size_t nbytes;
	bool bad;
};

static uint64_t get_varint(struct message *m)
{
	uint64_t v = 0;
	for (unsigned shift = 0; m->p < m->end && shift < 64; shift += 7) {
		v |= (uint64_t)(*m->p & 0x7f) << shift;
		if ((*m->p++ & 0x80) == 0)
			return v;
	}
	m->bad = true;
	return 0;
}

/* message_of - a field that is a number has no bytes (NULL): as a message it is empty. */
static struct message message_of(const unsigned char *bytes, size_t n)
{
	return (struct message){ .p = bytes, .end = n != 0 ? bytes + n : bytes };
}

/* next - false at the end, or when the rest is no message (bad). */
static bool next(struct message *m)
{
	if (m->p == m->end || m->bad)
		return false;
	uint64_t key = get_varint(m);
	m->field = (unsigned)(key >> 3);
	m->bytes = NULL;
	m->nbytes = 0;
	m->number = get_varint(m);
	if (key >> 3 > 1000 || ((key & 7) != 0 && (key & 7) != 2))
		m->bad = true;
	if ((key & 7) == 2 && !m->bad) {
		m->bad = m->number > (size_t)(m->end - m->p);
		m->bytes = m->p;
		m->nbytes = m->bad ? 0 : (size_t)m->number;
		m->p += m->nbytes;
	}
	return !m->bad;
}

/* ── the parts ──────────────────────────────────────────────────────────────────────────── */

struct text {
	const char *s;
	size_t n;
};

struct place {
	uint64_t id, addr;
};

struct parser {
	const char *path;
	const unsigned char *bytes;
	size_t nbytes;
	struct text *string;
	struct place *place; /* by id */
	size_t nstrings, nplaces, nsamples, nmappings;
	struct profile_file *out;
};

static int refuse(const struct parser *p, const char *what)
{
	complain("%s %s", p->path, what);
	return STATUS_FAILED;
}

static int by_id(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	return x->id < y->id ? -1 : x->id > y->id;
}

static struct place read_place(const struct message *of)
{
	struct message m = message_of(of->bytes, of->nbytes);
	struct place place = { 0 };
	while (next(&m)) {
		place.id = m.field == 1 ? m.number : place.id;
		place.addr = m.field == 3 ? m.number : place.addr;
	}
	return place;
}

/* count, then collect: strings and locations, which the other parts refer to. */
static int read_tables(struct parser *p)
{
	struct message m = message_of(p->bytes, p->nbytes);
	for (; next(&m);) {
		p->nstrings += m.field == FIELD_STRING && m.bytes != NULL;
		p->nplaces += m.field == FIELD_LOCATION && m.bytes != NULL;
		p->nsamples += m.field == FIELD_SAMPLE && m.bytes != NULL;
		p->nmappings += m.field == FIELD_MAPPING && m.bytes != NULL;
	}
	if (m.bad || p->nstrings == 0)
		return refuse(p, "is no profile (MGC_PROFILE, or `run --profile`, writes one)");
	p->string = calloc(p->nstrings, sizeof *p->string);
	p->place = calloc(p->nplaces + 1, sizeof *p->place);
	p->out->sites.stacks = calloc(p->nsamples + 1, sizeof *p->out->sites.stacks);
	if (p->string == NULL || p->place == NULL || p->out->sites.stacks == NULL)
		return refuse(p, "does not fit into memory");
	size_t nstrings = 0, nplaces = 0;
	m = message_of(p->bytes, p->nbytes);
	while (next(&m)) {
		if (m.field == FIELD_STRING && m.bytes != NULL)
			p->string[nstrings++] = (struct text){ (const char *)m.bytes, m.nbytes };
		if (m.field == FIELD_LOCATION && m.bytes != NULL)
			p->place[nplaces++] = read_place(&m);
	}
	qsort(p->place, nplaces, sizeof p->place[0], by_id);
	return 0;
}

static bool is_string(const struct parser *p, uint64_t number, const char *text)
{
	return number < p->nstrings && p->string[number].n == strlen(text) &&
	       memcmp(p->string[number].s, text, p->string[number].n) == 0;
}

static bool is_type(const struct parser *p, const struct message *of, const char *name)
{
	struct message m = message_of(of->bytes, of->nbytes);
	while (next(&m))
		if (m.field == 1)
			return is_string(p, m.number, name);
	return false;
}

static uintptr_t address_of(const struct parser *p, uint64_t id)
{
	const struct place key = { .id = id };
	const struct place *found = bsearch(&key, p->place, p->nplaces, sizeof key, by_id);
	return found != NULL ? (uintptr_t)found->addr : 0;
}

static void read_sample(const struct parser *p, const struct message *of)
{
	struct message m = message_of(of->bytes, of->nbytes);
	struct sample_stack *s = &p->out->sites.stacks[p->out->sites.nstacks++];
	double *const value[] = { &s->allocated_objects, &s->allocated_nbytes, &s->live_objects,
				  &s->live_nbytes };
	s->nsamples = 1;
	while (next(&m)) {
		struct message list = message_of(m.bytes, m.nbytes);
		unsigned n = 0;
		while (m.bytes != NULL && list.p < list.end && !list.bad) {
			uint64_t v = get_varint(&list);
			if (m.field == 1 && s->nframes < SAMPLE_FRAMES)
				s->pc[s->nframes++] = address_of(p, v);
			else if (m.field == 2 && n < 4)
				*value[n++] = (double)v;
		}
	}
}

/* note_change - names that are looked up in a file that is not the one that ran would be wrong. */
static void note_change(const struct parser *p, const char *path)
{
	struct stat st;
	if (stat(path, &st) == 0 && p->out->time_ns != 0 &&
	    (uint64_t)st.st_mtim.tv_sec > p->out->time_ns / 1000000000)
		complain("note: %s is younger than the profile: its names may be wrong", path);
}

static bool read_mapping(const struct parser *p, const struct message *of)
{
	struct message m = message_of(of->bytes, of->nbytes);
	uint64_t value[6] = { 0 };
	char path[512];
	while (next(&m))
		if (m.field < 6)
			value[m.field] = m.number;
	const struct text *name = &p->string[value[5] < p->nstrings ? value[5] : 0];
	if (name->n == 0 || name->n >= sizeof path || name->s[0] != '/' ||
	    memchr(name->s, '\n', name->n) != NULL)
		return true;
	snprintf(path, sizeof path, "%.*s", (int)name->n, name->s);
	const char *base = strrchr(path, '/') + 1;
	if (strncmp(base, "libmallocgc", 11) == 0 || strncmp(base, "libgc.so.", 9) == 0)
		snprintf(p->out->sites.object, sizeof p->out->sites.object, "%.*s",
			 (int)sizeof p->out->sites.object - 1, path);
	note_change(p, path);
	fprintf(p->out->maps, "%llx-%llx r-xp %08llx 00:00 0 %s\n", (unsigned long long)value[2],
		(unsigned long long)value[3], (unsigned long long)value[4], path);
	return symbols_map(&p->out->sites.symbols, (uintptr_t)value[2], (uintptr_t)value[3],
			   (uintptr_t)value[4], path);
}

static int read_parts(struct parser *p)
{
	static const char *const types[] = { "alloc_objects", "alloc_space", "inuse_objects",
					     "inuse_space" };
	struct message m = message_of(p->bytes, p->nbytes);
	size_t ntypes = 0;
	bool ours = true, memory = true;
	while (next(&m)) {
		if (m.field == FIELD_TYPE)
			ours = ours && ntypes < 4 && is_type(p, &m, types[ntypes++]);
		else if (m.field == FIELD_SAMPLE && m.bytes != NULL)
			read_sample(p, &m);
		else if (m.field == FIELD_TIME)
			p->out->time_ns = m.number;
		else if (m.field == FIELD_DURATION)
			p->out->duration_ns = m.number;
		else if (m.field == FIELD_PERIOD)
			p->out->rate_nbytes = m.number;
	}
	if (!ours || ntypes != 4)
		return refuse(
			p,
			"is a profile of something else: heap profiles of this library are read");
	for (m = message_of(p->bytes, p->nbytes); memory && next(&m);)
		if (m.field == FIELD_MAPPING && m.bytes != NULL)
			memory = read_mapping(p, &m);
	return memory ? 0 : refuse(p, "does not fit into memory");
}

static int parse(struct parser *p)
{
	if (p->nbytes >= 2 && p->bytes[0] == 0x1f && p->bytes[1] == 0x8b)
		return refuse(p, "is compressed: gunzip it first");
	int status = read_tables(p);
	return status != 0 ? status : read_parts(p);
}

/* ── the file ───────────────────────────────────────────────────────────────────────────── */

/* read_all - the content; NULL after a message. */
static unsigned char *read_all(const char *path, size_t *nbytes)
{
	struct stat st;
	unsigned char *bytes = NULL;
	FILE *file = fopen(path, "r");
	if (file == NULL || fstat(fileno(file), &st) != 0) {
		complain("%s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || st.st_size > MAX_PROFILE) {
		complain("%s is no file, or larger than profiles are", path);
	} else if ((bytes = malloc((size_t)st.st_size + 1)) != NULL) {
		*nbytes = fread(bytes, 1, (size_t)st.st_size, file);
	}
	if (file != NULL)
		fclose(file);
	return bytes;
}

int profile_file_read(struct profile_file *f, const char *path)
{
	struct parser p = { .path = path, .out = f };
	*f = (struct profile_file){ .maps = tmpfile() };
	unsigned char *bytes = read_all(path, &p.nbytes);
	int status = STATUS_FAILED;
	if (bytes != NULL && f->maps != NULL) {
		p.bytes = bytes;
		status = parse(&p);
		fflush(f->maps);
	}
	free(p.string);
	free(p.place);
	free(bytes);
	return status;
}

void profile_file_free(struct profile_file *f)
{
	if (f->maps != NULL)
		fclose(f->maps);
	sites_free(&f->sites);
}
