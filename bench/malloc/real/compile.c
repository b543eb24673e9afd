/* compile.c - input for the compiler: many functions of some length, by macros. Never linked.
 * -DFUNCTION_GROUPS=1 makes it short. */
#include <complex.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
	struct item *next;
	char name[32];
	double weight[4];
	unsigned flags, kind;
};

#define FUNCTIONS(n) \
	static double walk_##n(const struct item *list, unsigned mask) \
	{ \
		double sum = n; \
		for (const struct item *i = list; i; i = i->next) { \
			for (int k = 0; k < 4; k++) \
				if (i->flags & mask << k) \
					sum += i->weight[k] * (k + n) / (1 + fabs(sum)); \
			switch (i->kind % 8) { \
			case 0: \
				sum += strlen(i->name); \
				break; \
			case 1: \
				sum -= i->weight[n % 4]; \
				break; \
			case 2: \
				sum *= 1 + i->flags % 3; \
				break; \
			case 3: \
				sum = sqrt(fabs(sum)) + mask; \
				break; \
			case 4: \
				continue; \
			case 5: \
				mask ^= i->flags >> n % 5; \
				break; \
			default: \
				sum += n; \
			} \
		} \
		return sum; \
	} \
	struct item *make_##n(const char *text, size_t len) \
	{ \
		struct item *head = NULL, **tail = &head; \
		while (len > n % 7 + 1) { \
			struct item *i = calloc(1, sizeof *i); \
			size_t take = len < sizeof i->name ? len : sizeof i->name - 1; \
			memcpy(i->name, text, take); \
			for (size_t k = 0; k < take; k++) { \
				i->flags = i->flags * 31 + (unsigned char)text[k]; \
				i->weight[k % 4] += i->flags % (n + 2); \
			} \
			i->kind = (unsigned)(walk_##n(head, i->flags) + n); \
			*tail = i; \
			tail = &i->next; \
			text += take; \
			len -= take; \
		} \
		return head; \
	}

#define TEN(n) \
	FUNCTIONS(n##0) \
	FUNCTIONS(n##1) \
	FUNCTIONS(n##2) \
	FUNCTIONS(n##3) \
	FUNCTIONS(n##4) \
	FUNCTIONS(n##5) \
	FUNCTIONS(n##6) \
	FUNCTIONS(n##7) \
	FUNCTIONS(n##8) \
	FUNCTIONS(n##9)

TEN(1)
#if FUNCTION_GROUPS > 1
TEN(2)
TEN(3)
TEN(4)
TEN(5)
TEN(6)
#endif
