// cpp.cc - what mallocgc.hpp adds to the calls of mallocgc.h, counted by callgrind: instructions for each of 200 000
// operations, less those of case 0. docs/adr/0042-cpp-owns-its-containers.md has the numbers.
//   g++ -O2 -std=c++17 [-DINLINED] cpp.cc -I../../include -L../../build/lib -lmallocgc -Wl,-rpath,../../build/lib
//   for i in 0 1 2 3 4 5 6; do valgrind --tool=callgrind --callgrind-out-file=/dev/null ./a.out $i; done
#ifdef INLINED
#include <mallocgc-inline.h>
#endif
#include <mallocgc.hpp>
#include <cstdlib>

struct node {
	mgc::gc_ptr<node> left, right;
	long key;
	using gc_layout = mgc::members<&node::left, &node::right>;
	node() = default;
	node(node *l, node *r, long k) : left(l), right(r), key(k)
	{
	}
	node(mgc::initial<node> l, mgc::initial<node> r, long k) : left(l), right(r), key(k)
	{
	}
};

struct plain {
	plain *left, *right;
	long key;
};
static const std::uint8_t mask[] = { 3 };
static mgc_type plain_type = { "plain", sizeof(plain), 16, mask };

int main(int, char **argv)
{
	int which = std::atoi(argv[1]);
	mgc_set_percent(-1);
	node *kept = mgc::gc_new<node>();
	mgc::gc_ptr<node> &slot = kept->left;
	for (long i = 0; i < 200000; i++) {
		switch (which) {
		case 0:
			mgc_keep_alive(argv);
			break;
		case 1: { // by hand, in C
			plain *p = (plain *)mgc_new(&plain_type);
			p->left = p->right = (plain *)kept;
			p->key = i;
			mgc_keep_alive(p);
			break;
		}
		case 2: // fields by default
			mgc_keep_alive(mgc::gc_new<node>());
			break;
		case 3: // fields from pointers: with the barrier
			mgc_keep_alive(mgc::gc_new<node>(kept, kept, i));
			break;
		case 4: // fields from initial(): without
			mgc_keep_alive(mgc::gc_new<node>(mgc::initial<node>(kept),
							 mgc::initial<node>(kept), i));
			break;
		case 5: // a store, and by hand
			slot = kept;
			break;
		case 6:
			mgc_write(&kept->right, kept);
			break;
		}
	}
	return 0;
}
