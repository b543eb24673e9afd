// cpp_test.cc (plain) - mallocgc.hpp: where the layouts say that pointers are, what lives and what dies, containers,
// what is thrown.
// links: mallocgc
#include <mallocgc.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <pthread.h>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "lib/check.hh"

namespace
{
using mgc::gc_allocator;
using mgc::gc_new;
using mgc::gc_ptr;

struct node {
	gc_ptr<node> left;
	long key = 0;
	gc_ptr<node> right;
	node *number = nullptr; // no member of the layout: keeps nothing
	using gc_layout = mgc::members<&node::left, &node::right>;
	node() = default;
	node(node *l, long k) : left(mgc::initial(l)), key(k)
	{
	}
};

// on_thread - what it does leaves nothing on this stack.
template <class F> void on_thread(F work)
{
	pthread_t thread;
	CHECK(pthread_create(
		      &thread, nullptr,
		      [](void *arg) -> void * {
			      (*static_cast<F *>(arg))();
			      return nullptr;
		      },
		      &work) == 0);
	CHECK(pthread_join(thread, nullptr) == 0);
}

// Weak references to what a test made, and which of them are gone after a collection.
struct watched {
	mgc_weak *weak[16] = {};
	unsigned n = 0;
	watched()
	{
		CHECK(mgc_root_add(weak, sizeof weak, 0) == 0);
	}
	~watched()
	{
		CHECK(mgc_root_remove(weak) == 0);
	}
	void add(const void *p)
	{
		mgc_weak *w = mgc_weak_new(p);
		CHECK(w != nullptr && n < 16);
		mgc_write(&weak[n++], w);
	}
	unsigned dead() const
	{
		unsigned count = 0;
		mgc_collect();
		on_thread([&] {
			for (unsigned i = 0; i < n; i++)
				count += mgc_weak_get(weak[i]) == nullptr;
		});
		return count;
	}
};

bool marked(const mgc_type *type, std::size_t word)
{
	return word * 8 < type->ptr_bytes && (type->ptr_mask[word / 8] >> word % 8 & 1) != 0;
}

template <class T> std::string bits()
{
	std::string text;
	for (std::size_t i = 0; i < sizeof(T) / 8; i++)
		text += marked(mgc::type_of<T>(), i) ? '1' : '0';
	return text;
}

struct pair_of_nodes {
	long before;
	node first, second;
	gc_ptr<node> rest[3];
	std::array<gc_ptr<node>, 2> more;
	using gc_layout = mgc::members<&pair_of_nodes::first, &pair_of_nodes::second,
				       &pair_of_nodes::rest, &pair_of_nodes::more>;
};
struct shape {
	long tag;
	gc_ptr<node> of_base;
	virtual long area() const
	{
		return tag;
	}
};
struct square : shape {
	gc_ptr<node> own;
	long area() const override
	{
		return 2 * tag;
	}
	using gc_layout = mgc::members<&square::own, &square::of_base>;
};
struct wide {
	std::array<long, 70> numbers;
	gc_ptr<node> last;
	long behind;
	using gc_layout = mgc::members<&wide::numbers, &wide::last>;
};
struct point {
	double x, y;
};
struct anything {
	void *p;
	char text[20];
};
} // namespace

template <> struct mgc::layout<point> : mgc::pointer_free {
};

namespace
{
void layouts()
{
	CHECK(bits<node>() == "1010");
	CHECK(bits<pair_of_nodes>() == "0"
				       "1010"
				       "1010"
				       "111"
				       "11");
	CHECK(bits<square>() == "0011"); // table of functions, tag, of_base, own
	CHECK(bits<wide>() == std::string(70, '0') + "10");
	CHECK(mgc::type_of<wide>()->ptr_bytes == 71 * 8);
	CHECK(bits<gc_ptr<node>>() == "1");
	CHECK(mgc::type_of<point>()->ptr_bytes == 0 && mgc::type_of<long>()->ptr_bytes == 0);
	CHECK(mgc::type_of<anything>()->ptr_bytes == 32 && mgc::type_of<anything>()->ptr_mask == nullptr);
	CHECK(mgc::type_of<anything>()->flags == MGC_TYPE_AMBIGUOUS);
	CHECK(std::string(mgc::type_of<node>()->name).find("node") != std::string::npos);
	CHECK(std::string(mgc::type_of<long>()->name).substr(0, 4) == "long");
	CHECK(sizeof(gc_ptr<node>) == 8 && std::is_trivially_destructible_v<gc_ptr<node>>);
}

gc_ptr<node> root; // registered below

void objects()
{
	watched w;
	on_thread([&] {
		node *n = gc_new<node>();
		CHECK(n->left == nullptr && n->right == nullptr && n->key == 0);
		for (long i = 0; i < 20000; i++) {
			n = gc_new<node>(n, i);
			if (i % 2 != 0) {
				node *m = gc_new<node>();
				m->right = n;
				n = m;
			}
		}
		root = n;
		w.add(n);
		w.add(n->right->left); // kept by a chain of both fields
		node *hidden = gc_new<node>(nullptr, 7);
		n->number = hidden;
		w.add(hidden);
	});
	CHECK(w.dead() == 1);
	long i = 19999;
	for (node *n = root; i >= 0; i--) {
		if (i % 2 != 0)
			n = n->right;
		CHECK(n->key == i);
		n = n->left;
	}
	on_thread([] { root = nullptr; });
	CHECK(w.dead() == 3);
}

struct counted {
	static int made, gone;
	gc_ptr<node> n;
	std::string text = "long enough that it is not inside the object itself";
	counted()
	{
		made++;
	}
	~counted()
	{
		CHECK(text.size() > 40 && (n == nullptr || n->key == 5));
		gone++;
	}
};
int counted::made, counted::gone;

void destructors()
{
	on_thread([] {
		for (int i = 0; i < 50; i++) {
			counted *c = mgc::gc_new_finalized<counted>();
			c->n = gc_new<node>(nullptr, 5);
		}
	});
	for (int i = 0; i < 100 && counted::gone < 50; i++) {
		mgc_collect();
		mgc_run_finalizers();
	}
	CHECK(counted::made == 50 && counted::gone == 50);
}

// A stack whose used part only is read.
struct stack {
	std::size_t depth;
	gc_ptr<node> slot[10];
	node *fixed;
	void gc_trace(mgc::tracer trace) const
	{
		trace(fixed);
		trace.range(slot, depth);
	}
};

void callbacks()
{
	watched w;
	void *holder[1] = {};
	CHECK(mgc_root_add(holder, sizeof holder, 0) == 0);
	on_thread([&] {
		stack *s = gc_new<stack>();
		mgc_write(&holder[0], s);
		s->fixed = gc_new<node>();
		w.add(s->fixed);
		for (std::size_t i = 0; i < 10; i++) {
			s->slot[i] = gc_new<node>(nullptr, long(i));
			w.add(s->slot[i]);
		}
		s->depth = 4;
	});
	CHECK(w.dead() == 6);
	on_thread([&] { mgc_write(&holder[0], nullptr); });
	CHECK(w.dead() == 11);
	CHECK(mgc_root_remove(holder) == 0);
}

void conversions()
{
	square *q = gc_new<square>();
	q->tag = 4;
	gc_ptr<square> s = q;
	gc_ptr<shape> p = s, null;
	gc_ptr<const shape> c = p;
	CHECK(p->area() == 8 && c->area() == 8 && p == s && p != nullptr && null == nullptr && !null);
	null = s;
	CHECK(null == p && null.exchange(nullptr) == q && null == nullptr);
	CHECK(!null.compare_exchange(q, q) && null.compare_exchange(nullptr, q) &&
	      null.load_acquire() == q);
	gc_ptr<shape> copy(null);
	copy = nullptr;
	CHECK(copy == nullptr && null == q);
	gc_ptr<point> *array = mgc::gc_new_array<gc_ptr<point>>(100);
	for (int i = 0; i < 100; i++)
		CHECK(array[i] == nullptr);
	array[99] = gc_new<point>(point{ 1, 2 });
	mgc_collect();
	CHECK(array[99]->y == 2);
	// One that is made over an old one is as good as a store.
	new (&array[99]) gc_ptr<point>();
	CHECK(array[99] == nullptr);
}

void handles()
{
	watched w;
	std::unique_ptr<mgc::gc_handle<node>> kept; // where the collector does not look
	on_thread([&] {
		kept = std::make_unique<mgc::gc_handle<node>>(gc_new<node>(nullptr, 3));
		w.add(kept->get());
		mgc::gc_handle<node> other(gc_new<node>(nullptr, 4));
		w.add(other.get());
		other = std::move(*kept);
		CHECK(other->key == 3);
		*kept = std::move(other);
	});
	CHECK(w.dead() == 1 && (*kept)->key == 3);
	kept.reset();
	CHECK(w.dead() == 2);
}

template <class C, class Insert, class Erase> void container(Insert insert, Erase erase)
{
	watched w;
	auto c = std::make_unique<C>();
	on_thread([&] {
		for (long i = 0; i < 3000; i++)
			insert(*c, i, gc_new<node>(nullptr, i));
		for (long i = 0; i < 3000; i += 1000) {
			node *n = gc_new<node>(nullptr, -1);
			w.add(n);
			insert(*c, 5000 + i, n);
		}
	});
	CHECK(w.dead() == 0);
	on_thread([&] {
		for (int i = 0; i < 3; i++)
			erase(*c);
	});
	CHECK(w.dead() == 3);
	on_thread([&] {
		node *n = gc_new<node>(nullptr, -1);
		w.add(n);
		insert(*c, 9000, n);
	});
	CHECK(w.dead() == 3);
	c.reset();
	CHECK(w.dead() == 4);
}

template <class C> void sequence()
{
	container<C>([](C &c, long, node *n) { c.push_back(n); }, [](C &c) { c.pop_back(); });
}

template <class C> void table()
{
	container<C>([](C &c, long i,
			node *n) { c[std::to_string(i) + " and so on, and so forth"] = n; },
		     [](C &c) {
			     for (auto it = c.begin(); it != c.end(); ++it)
				     if (it->second->key == -1) {
					     c.erase(it);
					     return;
				     }
		     });
}

template <class C> void set()
{
	container<C>([](C &c, long, node *n) { c.insert(n); },
		     [](C &c) {
			     for (auto it = c.begin(); it != c.end(); ++it)
				     if ((*it)->key == -1) {
					     c.erase(it);
					     return;
				     }
		     });
}

using reference = gc_ptr<node>;
using entry = std::pair<const std::string, reference>;
using vector = std::vector<reference, gc_allocator<reference>>;

void containers()
{
	sequence<vector>();
	sequence<std::deque<reference, gc_allocator<reference>>>();
	sequence<std::list<reference, gc_allocator<reference>>>();
	table<std::map<std::string, reference, std::less<>, gc_allocator<entry>>>();
	table<std::unordered_map<std::string, reference, std::hash<std::string>, std::equal_to<>,
				 gc_allocator<entry>>>();
	set<std::set<reference, std::less<>, gc_allocator<reference>>>();
	set<std::unordered_set<reference, std::hash<reference>, std::equal_to<>, gc_allocator<reference>>>();
	std::vector<int, gc_allocator<int>> numbers(1000, 7);
	std::vector<long double, gc_allocator<long double>> aligned(1, 1.0L);
	CHECK(numbers[999] == 7 && reinterpret_cast<std::uintptr_t>(aligned.data()) % 16 == 0);
}

void algorithms()
{
	vector v;
	for (long i = 0; i < 2000; i++)
		v.push_back(gc_new<node>(nullptr, i * 7919 % 2000));
	std::sort(v.begin(), v.end(), [](node *a, node *b) { return a->key < b->key; });
	v.erase(v.begin(), v.begin() + 500);
	std::rotate(v.begin(), v.begin() + 100, v.end());
	v.insert(v.begin() + 3, gc_new<node>(nullptr, -5));
	mgc_collect();
	CHECK(v[0]->key == 600 && v[3]->key == -5 && v.back()->key == 599 && v.size() == 1501);
}

void resources()
{
	watched w;
	auto v = std::make_unique<std::pmr::vector<reference>>(mgc::resource());
	std::pmr::monotonic_buffer_resource pool(mgc::resource());
	auto m = std::make_unique<std::pmr::map<int, reference>>(&pool);
	on_thread([&] {
		for (int i = 0; i < 1000; i++) {
			v->push_back(gc_new<node>(nullptr, i));
			(*m)[i] = gc_new<node>(nullptr, i);
		}
		w.add((*v)[500]);
		w.add((*m)[500]);
	});
	CHECK(w.dead() == 0 && (*m)[999]->key == 999 && (*v)[999]->key == 999);
	v.reset();
	CHECK(w.dead() == 1);
	m.reset();
	pool.release();
	CHECK(w.dead() == 2);
	for (std::size_t align = 1; align <= 4096; align *= 2) {
		void *p = mgc::resource()->allocate(24, align);
		CHECK(reinterpret_cast<std::uintptr_t>(p) % align == 0);
		mgc::resource()->deallocate(p, 24, align);
	}
	CHECK(*mgc::resource() == *mgc::resource());
}

struct thrower {
	long x = 1;
	thrower()
	{
		throw std::runtime_error("made nothing");
	}
};

template <class E, class F> bool throws(F f)
{
	try {
		f();
	} catch (const E &) {
		return true;
	}
	return false;
}

void exceptions()
{
	CHECK(throws<std::runtime_error>([] { gc_new<thrower>(); }));
	volatile std::size_t most = SIZE_MAX; // the compiler would see that it is too much
	CHECK(throws<std::bad_array_new_length>([&] { mgc::gc_new_array<node>(most / 8); }));
	CHECK(throws<std::bad_array_new_length>(
		[&] { (void)gc_allocator<node>().allocate(most / 8); }));
	CHECK(throws<std::bad_alloc>([&] { (void)mgc::resource()->allocate(most / 4, 8); }));
	CHECK(throws<std::bad_alloc>([&] { (void)mgc::resource()->allocate(most, 64); }));
	int64_t before = mgc_set_memory_limit(64 << 20);
	CHECK(throws<std::bad_alloc>([] {
		vector v;
		for (;;)
			v.push_back(gc_new<node>(nullptr, 1));
	}));
	mgc_set_memory_limit(before);
}
} // namespace

int main()
{
	CHECK(mgc_root_add(&root, sizeof root, 0) == 0);
	mgc_run_finalizers(); // this thread runs them
	layouts();
	objects();
	destructors();
	callbacks();
	conversions();
	handles();
	containers();
	algorithms();
	resources();
	exceptions();
	std::puts("passed");
	return 0;
}
