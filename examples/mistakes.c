/* mistakes.c - what the library says to a program that makes mistakes, and to one that asks: the programs
 * of docs/debugging.md. `mistakes WORD` runs one of them; without a word it says which there are. */
#include <fcntl.h>
#include <mallocgc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct node {
	struct node *next;
	void *value;
};
static const uint8_t node_pointers[] = { 3 };
static struct mgc_type node_type = {
	.name = "node", .size = sizeof(struct node), .ptr_bytes = 16, .ptr_mask = node_pointers
};
static struct mgc_type text_type = { .name = "text", .size = 48 };

#define SLOTS 256
static struct mgc_type table_type = { .name = "table", .size = SLOTS * 8, .ptr_bytes = SLOTS * 8 };
struct node **table; /* a registered root, and a symbol that others can see */

static struct node *cons(void *value, struct node *next)
{
	struct node *n = mgc_new(&node_type);
	n->value = value; /* nobody else knows n yet: no barrier */
	n->next = next;
	return n;
}

static void start(void)
{
	mgc_root_add(&table, sizeof table, 0);
	mgc_write(&table, mgc_new(&table_type));
	for (size_t i = 0; i < SLOTS; i++)
		mgc_write(&table[i], cons(mgc_new(&text_type), NULL));
}

/* ── barrier: a plain store into an object that others know ─────────────────────────────── */

static void *push_for_ever(void *arg)
{
	(void)arg;
	for (size_t i = 0;; i++)
		table[i % SLOTS] = cons(NULL, i % 8 != 0 ? table[i % SLOTS] : NULL);
	return NULL;
}

static void barrier(void)
{
	pthread_t thread;
	start();
	mgc_thread_create(&thread, NULL, push_for_ever, NULL);
	for (;;)
		mgc_collect();
}

/* ── freed: mgc_free of an object that is still referred to ─────────────────────────────── */

static void freed(void)
{
	start();
	mgc_free(table[3]->value);
	mgc_collect();
}

static void verified(void)
{
	start();
	mgc_free(table[3]->value);
	mgc_verify();
}

/* ── clobbered: reading an object after it was freed ────────────────────────────────────── */

static void clobbered(void)
{
	uintptr_t *text = mgc_new(&text_type), *neighbour = mgc_new(&text_type);
	text[0] = 42;
	mgc_free(text);
	mgc_collect();
	printf("%#lx\n", (unsigned long)text[0]);
	mgc_keep_alive(neighbour);
}

/* ── why: who keeps an object alive ─────────────────────────────────────────────────────── */

static __attribute__((noinline)) void hang(void)
{
	mgc_write(&table[7]->next, cons(mgc_new(&text_type), NULL));
}

static void why(void)
{
	start();
	hang();
	mgc_explain(table[7]->next->value, STDOUT_FILENO);
}

/* ── leak: uncollectable objects that nothing refers to ─────────────────────────────────── */

static __attribute__((noinline)) void forget(void)
{
	struct node *ring = mgc_alloc(sizeof *ring, &node_type, MGC_UNCOLLECTABLE);
	for (int i = 0; i < 9; i++) {
		struct node *n = mgc_alloc(sizeof *n, &node_type, MGC_UNCOLLECTABLE);
		n->next = ring;
		ring = n;
	}
}

static __attribute__((noinline)) void wipe(void)
{
	char room[4096];
	memset(room, 0, sizeof room);
	__asm__ volatile("" : : "r"(room) : "memory");
}

static void leak(void)
{
	start();
	forget();
	wipe();
}

/* ── growth: objects by type ────────────────────────────────────────────────────────────── */

static void growth(void)
{
	struct mgc_type_usage now[8];
	start();
	for (int i = 0; i < 2; i++) {
		mgc_collect();
		size_t n = mgc_read_types(now, 8);
		for (size_t k = 0; k < n && k < 8; k++)
			printf("%-6s %5lu objects %7lu bytes\n", now[k].name,
			       (unsigned long)now[k].objects, (unsigned long)now[k].nbytes);
		for (int k = 0; k < 1000; k++)
			mgc_write(&table[0], cons(NULL, table[0]));
	}
}

/* ── dump: the whole heap in a file ─────────────────────────────────────────────────────── */

static void dump(void)
{
	int fd = open("heap.json", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	start();
	hang();
	if (fd < 0 || mgc_dump_heap(fd) != 0)
		perror("heap.json");
	else
		printf("heap.json: text %p\n", table[7]->next->value);
}

/* ── main ───────────────────────────────────────────────────────────────────────────────── */

static const struct {
	const char *word, *debug;
	void (*run)(void);
} programs[] = {
	{ "barrier", "gccheckmark=1", barrier },
	{ "freed", "types=1", freed },
	{ "verified", "types=1", verified },
	{ "clobbered", "clobberfree=1", clobbered },
	{ "why", "types=1", why },
	{ "leak", "leaks=1,types=1", leak },
	{ "growth", "types=1", growth },
	{ "dump", "types=1", dump },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
		if (argc < 2) {
			printf("MGC_DEBUG=%s %s %s\n", programs[i].debug, argv[0], programs[i].word);
		} else if (strcmp(argv[1], programs[i].word) == 0) {
			setenv("MGC_DEBUG", programs[i].debug, 0); /* read by the first call */
			programs[i].run();
		}
	}
	return 0;
}
