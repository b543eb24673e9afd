/* check.hh - CHECK for test programs in C++: what does not hold ends the process with its place.
 * WHO  one .cc file per program includes this.  STATE none. */
#ifndef TEST_LIB_CHECK_HH
#define TEST_LIB_CHECK_HH
#include <cstdio>
#include <cstdlib>

#define CHECK(what) \
	do { \
		if (!(what)) { \
			std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
			std::abort(); \
		} \
	} while (0)

#endif
