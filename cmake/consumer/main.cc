/* A user's program: the smallest use of the library that proves it is the one that was installed. */
#include <mallocgc.h>

int main()
{
	void *object = mgc_alloc(40, nullptr, 0);
	mgc_collect();
	return mgc_size(object) >= 40 ? 0 : 1;
}
