/* A user's program on the malloc face: malloc is ours, for so is the region. */
#include <mallocgc-heap.h>
#include <malloc.h>
#include <stdlib.h>

int main(void)
{
	struct mgc_heap *heap = mgc_heap_create();
	void *block = malloc(1), *piece = heap ? mgc_heap_malloc(heap, 100) : NULL;
	int good = piece != NULL && malloc_usable_size(block) == 16; /* glibc has 24 */
	free(block);
	mgc_heap_destroy(heap);
	return good ? 0 : 1;
}
