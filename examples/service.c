/* service.c - a service to look at with `mallocgc top`, `report`, `profile` and `trace`: threads that keep
 * sessions, each a list of orders with a text, and forget old ones.
 * usage: service [SECONDS] [THREADS]      default: a fifth of a second, two threads */
#include <mallocgc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NSESSIONS = 2000, ORDERS_KEPT = 20, MAX_THREADS = 64 };

struct order {
	struct order *next;
	char *text;
	long number;
};
struct session {
	struct order *orders;
	long norders;
};

static const uint8_t order_pointers[] = { 3 }, session_pointers[] = { 1 };
static struct mgc_type order_type = {
	.name = "order", .size = sizeof(struct order), .ptr_bytes = 16, .ptr_mask = order_pointers
};
static struct mgc_type session_type = {
	.name = "session", .size = sizeof(struct session), .ptr_bytes = 8, .ptr_mask = session_pointers
};

static struct session *sessions[MAX_THREADS][NSESSIONS];
static double seconds = 0.2;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *checked(void *p)
{
	if (p == NULL) {
		perror("service");
		exit(1);
	}
	return p;
}

static __attribute__((noinline)) char *write_text(long number)
{
	char *text = checked(mgc_alloc(20 + (size_t)(number * 7 % 300), NULL, MGC_NOSCAN));
	sprintf(text, "order %ld", number);
	return text;
}

static __attribute__((noinline)) void take_order(struct session *s, long number)
{
	struct order *o = checked(mgc_new(&order_type));
	o->text = write_text(number);
	o->number = number;
	o->next = s->orders;
	mgc_write(&s->orders, o);
	s->norders++;
}

static struct session *open_session(void)
{
	return checked(mgc_new(&session_type));
}

static void *serve(void *arg)
{
	struct session **mine = arg;
	double end = now() + seconds;
	for (long n = 0; n % 1000 != 0 || now() < end; n++) {
		struct session **s = &mine[(unsigned long)n * 2654435761u % NSESSIONS];
		if (*s == NULL || (*s)->norders == ORDERS_KEPT) /* a new customer in its place */
			mgc_write(s, open_session());
		take_order(*s, n);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread[MAX_THREADS];
	int nthreads = argc > 2 ? atoi(argv[2]) : 2;
	if (argc > 1)
		seconds = strtod(argv[1], NULL);
	if (nthreads < 1 || nthreads > MAX_THREADS || seconds < 0) {
		fprintf(stderr, "usage: service [SECONDS] [THREADS]\n");
		return 2;
	}
	if (mgc_root_add(sessions, sizeof sessions, 0) != 0)
		return 1;
	for (int i = 0; i < nthreads; i++)
		if (mgc_thread_create(&thread[i], NULL, serve, sessions[i]) != 0)
			return 1;
	for (int i = 0; i < nthreads; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < nthreads; i++)
		for (int k = 0; k < NSESSIONS; k++)
			for (struct order *o = sessions[i][k] ? sessions[i][k]->orders : NULL;
			     o != NULL; o = o->next)
				if (strtol(o->text + 6, NULL, 10) != o->number)
					return 1;
	return 0;
}
