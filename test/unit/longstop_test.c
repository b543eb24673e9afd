/* longstop_test.c - cycles run beside a program without a barrier when its stops are long and that helps. */
#include "lib/plain.h"

#include "gc/longstop.h"

#define MS UINT64_C(1000000)
#define MB ((uint64_t)1 << 20)

TEST(a_short_stop_is_not_felt)
{
	struct longstop l = { 0 };
	longstop_whole(&l, 6 * MS - 1, 60 * MB, 60 * MB);
	CHECK(!l.felt);
	longstop_whole(&l, 6 * MS, 70 * MB, 70 * MB);
	CHECK(l.felt);
}

TEST(a_busy_program_feels_only_a_longer_one)
{
	struct longstop l = { .busy = true };
	longstop_whole(&l, 9 * MS, 60 * MB, 60 * MB);
	CHECK(!l.felt);
	longstop_whole(&l, 10 * MS, 70 * MB, 70 * MB);
	CHECK(l.felt);
	longstop_beside(&l, MS, 34 * MB);
	CHECK(!l.felt);
	l.busy = false;
	longstop_beside(&l, MS, 34 * MB);
	CHECK(l.felt);
}

TEST(a_heap_that_grows_is_looked_ahead_in)
{
	struct longstop l = { 0 };
	longstop_whole(&l, 2 * MS, 60 * MB, 90 * MB);
	CHECK(!l.felt); /* the first one tells nothing about growth */
	longstop_whole(&l, 3 * MS, 70 * MB, 105 * MB);
	CHECK(!l.felt); /* a little more is no growth */
	longstop_whole(&l, 4 * MS, 90 * MB, 135 * MB);
	CHECK(l.felt); /* the next stop may take 6 ms */
}

TEST(a_goal_without_end_is_twice_what_lives)
{
	struct longstop l = { 0 };
	longstop_whole(&l, MS / 2, 20 * MB, UINT64_MAX);
	longstop_whole(&l, MS, 40 * MB, UINT64_MAX);
	CHECK(!l.felt);
	longstop_whole(&l, 3 * MS, 60 * MB, UINT64_MAX);
	CHECK(l.felt);
}

TEST(beside_until_the_heap_has_shrunk)
{
	struct longstop l = { 0 };
	longstop_whole(&l, 20 * MS, 100 * MB, 100 * MB);
	longstop_beside(&l, MS, 25 * MB); /* a stop would take 5 ms: less than where it began, and it stays */
	CHECK(l.felt);
	longstop_beside(&l, MS, 22 * MB);
	CHECK(!l.felt);
}

TEST(three_in_turn_that_do_not_help_end_it)
{
	struct longstop l = { 0 };
	longstop_whole(&l, 20 * MS, 100 * MB, 100 * MB);
	longstop_beside(&l, 16 * MS, 100 * MB);
	longstop_beside(&l, 16 * MS, 100 * MB);
	longstop_beside(&l, 10 * MS, 100 * MB); /* one that helped */
	CHECK(l.felt);
	for (unsigned i = 0; i < LONGSTOP_MOST_FAILED; i++) {
		CHECK(l.felt);
		longstop_beside(&l, 16 * MS, 100 * MB);
	}
	CHECK(!l.felt);
}

TEST(and_it_is_tried_again)
{
	struct longstop l = { 0 };
	longstop_whole(&l, 20 * MS, 100 * MB, 100 * MB);
	for (unsigned i = 0; i < LONGSTOP_MOST_FAILED; i++)
		longstop_beside(&l, 20 * MS, 100 * MB);
	for (unsigned i = 1; i < LONGSTOP_PLAIN_CYCLES; i++) {
		longstop_whole(&l, 20 * MS, 100 * MB, 100 * MB);
		CHECK(!l.felt);
	}
	longstop_whole(&l, 20 * MS, 100 * MB, 100 * MB);
	CHECK(l.felt);
}

TEST(nothing_is_known_at_first)
{
	struct longstop l = { 0 };
	longstop_beside(&l, MS, MB);
	CHECK(!l.felt);
}

static void program(struct longstop *l, uint64_t cpu_ms, uint32_t nthreads, bool passed_bar)
{
	longstop_program(l, &(struct longstop_program){ .wall_ns = 100 * MS,
							.cpu_ns = cpu_ms * MS,
							.nthreads = nthreads,
							.nprocs = 2,
							.passed_bar = passed_bar });
}

TEST(busy_is_who_leaves_no_half_of_a_processor)
{
	struct longstop l = { 0 };
	program(&l, 100, 1, false);
	CHECK(!l.busy && !l.crowd);
	program(&l, 150, 4, false);
	CHECK(!l.busy);
	program(&l, 151, 4, false);
	CHECK(l.busy && !l.crowd);
}

TEST(a_crowd_is_many_and_busy)
{
	struct longstop l = { 0 };
	program(&l, 151, 5, false);
	CHECK(l.crowd);
	program(&l, 150, 5, false);
	CHECK(!l.crowd);
}

TEST(or_many_that_passed_the_bar)
{
	struct longstop l = { 0 };
	program(&l, 50, 4, true); /* few may: with one large object, say */
	CHECK(!l.crowd);
	program(&l, 50, 5, true);
	for (unsigned i = 0; i < LONGSTOP_PLAIN_CYCLES; i++) {
		CHECK(l.crowd);
		program(&l, 50, 5, false);
	}
	CHECK(!l.crowd);
}
