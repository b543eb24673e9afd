/* A user's program in C++: the smallest use of the library that proves it is the one that was installed. */
#include <mallocgc.hpp>

struct node {
	mgc::gc_ptr<node> next;
	long number;
	using gc_layout = mgc::members<&node::next>;
};

int main()
{
	node *n = mgc::gc_new<node>();
	n->next = mgc::gc_new<node>();
	n->next->number = 7;
	mgc_collect();
	return n->next->number == 7 && mgc_size(n) == 16 ? 0 : 1;
}
