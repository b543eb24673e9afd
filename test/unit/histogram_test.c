/* histogram_test.c - buckets cover every duration once, in order, within the error that is promised. */
#include "lib/plain.h"

#include "base/histogram.h"

TEST(floors_are_the_first_of_their_buckets)
{
	for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
		uint64_t floor = histogram_floor(b);
		CHECK_EQ(histogram_bucket(floor), b);
		if (b > 0)
			CHECK_EQ(histogram_bucket(floor - 1), b - 1);
	}
}

TEST(a_bucket_is_at_most_a_quarter_wide)
{
	for (unsigned b = 4; b + 1 < HISTOGRAM_BUCKETS; b++)
		CHECK(histogram_floor(b + 1) - histogram_floor(b) <= histogram_floor(b) / 4);
}

TEST(what_is_too_long_counts_in_the_last)
{
	CHECK_EQ(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	CHECK(histogram_floor(HISTOGRAM_BUCKETS - 1) > UINT64_C(3600) * 1000000000);
	struct histogram h = { { 0 } };
	histogram_add(&h, UINT64_MAX);
	histogram_add(&h, 1000);
	histogram_add(&h, 1000);
	CHECK_EQ(h.count[HISTOGRAM_BUCKETS - 1], 1);
	CHECK_EQ(h.count[histogram_bucket(1000)], 2);
}
