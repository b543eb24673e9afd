/* sizes.c - mallocgc sizes: the table of size classes.
 * WHAT   every class, or the class of given sizes, with what it wastes.
 * WHO    main.c.
 * STATE  none.  LOCKS  none.  UNITS  bytes; waste in percent of a span.
 * FROM   the table in Go's sizeclasses.go. */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "heap/sizeclass.h"

static void print_heading(void)
{
	printf("%5s %11s %11s %7s %11s %10s\n", "class", "slot bytes", "span bytes", "slots",
	       "tail waste", "max waste");
}

static void print_class(unsigned class)
{
	const struct sizeclass_info *c = &sizeclass_table[class];
	unsigned span = c->npages * (unsigned)MGC_PAGE_SIZE;
	unsigned tail = span - c->nslots * c->slot_nbytes;
	unsigned smallest = class > 1 ? sizeclass_table[class - 1].slot_nbytes + 1 : 1;
	unsigned lost = (c->slot_nbytes - smallest) * c->nslots + tail;
	printf("%5u %11u %11u %7u %11u %9.2f%%\n", class, c->slot_nbytes, span, c->nslots, tail,
	       100.0 * lost / span);
}

static int print_all(void)
{
	print_heading();
	for (unsigned class = 1; class < MGC_NSIZECLASS; class ++)
		print_class(class);
	printf("\nA larger object has a span of its own, in pages of %zu bytes. Objects without "
	       "pointers\n"
	       "below %zu bytes share slots of class 1.\n",
	       MGC_PAGE_SIZE, MGC_MAX_TINY);
	return finish_output();
}

/* parse_size - bytes from text; 0 or an exit status. */
static int parse_size(const char *text, uint64_t *size)
{
	char *end;
	errno = 0;
	*size = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0')
		return usage_error("sizes", "`%s` is not a size in bytes", text);
	if (errno == ERANGE || *size > (uint64_t)1 << 48)
		return usage_error("sizes", "%s bytes are more than an address space holds", text);
	return 0;
}

static void print_size(uint64_t size)
{
	if (size <= MGC_MAX_SMALL) {
		print_class(sizeclass_of((size_t)size));
		return;
	}
	uint64_t span = (size + MGC_PAGE_SIZE - 1) / MGC_PAGE_SIZE * MGC_PAGE_SIZE;
	printf("%5s %11" PRIu64 " %11" PRIu64 " %7u %11u %9.2f%%\n", "large", span, span, 1, 0,
	       100.0 * (double)(span - size) / (double)span);
}

static int sizes_main(int argc, char **argv)
{
	int status = options_parse(&cmd_sizes, NULL, argc, argv);
	if (status >= 0)
		return status;
	if (optind == argc)
		return print_all();
	uint64_t size;
	for (int i = optind; i < argc; i++)
		if (parse_size(argv[i], &size) != 0)
			return STATUS_FAILED;
	print_heading();
	for (int i = optind; i < argc; i++)
		if (parse_size(argv[i], &size) == 0)
			print_size(size);
	return finish_output();
}

const struct subcommand cmd_sizes = {
	.name = "sizes",
	.summary = "print the size classes of the heap",
	.help = "Usage: mallocgc sizes [SIZE…]\n"
		"Prints the size classes of the heap, or the class of each SIZE (bytes).",
	.help_end = "  slot bytes  what an object of the class occupies\n"
		    "  span bytes  pages that are cut into slots at a time\n"
		    "  tail waste  bytes of a span behind its last slot\n"
		    "  max waste   share of a span lost when every object is as small as the class "
		    "allows",
	.main = sizes_main,
};
