// cpp_test.cc (plain) - gc_ptr, containers and resources beside collections: threads build, share, sort and drop what
// they refer to, and every object that they meet must be the one that was put there. One carries an object between a
// place that a collection reads late and one that it reads early: a store without a barrier loses it.
// links: mallocgc
#include <mallocgc.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <pthread.h>
#include <random>
#include <vector>

#include "lib/check.hh"

namespace
{
using mgc::gc_allocator;
using mgc::gc_new;
using mgc::gc_ptr;

// An object that tells whether it was given away while in use.
struct item {
	unsigned long key, again;
	gc_ptr<item> next;
	using gc_layout = mgc::members<&item::next>;
	item(unsigned long k, item *n) : key(k), again(~k), next(mgc::initial(n))
	{
	}
	bool good() const
	{
		return key == ~again;
	}
};

constexpr int nshared = 64, nthreads = 4;
gc_ptr<gc_ptr<item>> shared; // a root: an array, through which the threads exchange lists
std::atomic<bool> stop;

using reference = gc_ptr<item>;
using vector = std::vector<reference, gc_allocator<reference>>;
using map =
	std::map<unsigned long, reference, std::less<>, gc_allocator<std::pair<const unsigned long, reference>>>;

class player
{
	std::mt19937_64 random;
	vector items;
	map by_key;
	std::pmr::vector<reference> pooled{ mgc::resource() };

	std::size_t below(std::size_t n)
	{
		return random() % n;
	}
	item *make()
	{
		item *list = nullptr;
		for (std::size_t n = 1 + below(4); n > 0; n--)
			list = gc_new<item>(random(), list);
		return list;
	}
	void check(const item *list)
	{
		for (int n = 0; list != nullptr && n < 64; list = list->next, n++)
			CHECK(list->good());
	}
	void exchange_list()
	{
		item *given = items.empty() ? make() : items.back().get();
		item *got = shared[below(nshared)].exchange(given);
		check(got);
		items.push_back(got != nullptr ? got : make());
	}
	void move_about()
	{
		if (items.size() > 500)
			items.erase(items.begin() + 10, items.begin() + long(items.size() / 2));
		std::sort(items.begin(), items.end(),
			  [](item *a, item *b) { return a->key < b->key; });
		for (item *i : items)
			check(i);
		vector half(items.begin(), items.begin() + long(items.size() / 2));
		items.swap(half);
	}
	void fill_map()
	{
		item *made = make();
		by_key[made->key % 256] = made;
		auto found = by_key.lower_bound(random() % 256);
		if (found != by_key.end()) {
			check(found->second);
			if (below(3) == 0)
				by_key.erase(found);
		}
	}
	void fill_pool()
	{
		pooled.push_back(make());
		check(pooled[below(pooled.size())]);
		if (pooled.size() > 300)
			pooled = std::pmr::vector<reference>(mgc::resource());
	}

      public:
	explicit player(unsigned long seed) : random(seed)
	{
	}
	void play()
	{
		while (!stop) {
			for (int i = 0; i < 20; i++)
				items.push_back(make());
			exchange_list();
			fill_map();
			fill_pool();
			if (below(8) == 0)
				move_about();
			if (below(64) == 0)
				items = vector();
		}
	}
};

// A long list, at whose end an object is, or in the root `early`. Each step is a call, so that the stack does not
// keep the object.
class carrier
{
	static constexpr unsigned long length = 50000;
	std::minstd_rand random;
	gc_ptr<item> early, list;
	item *last = nullptr;
	mgc_weak *watch = nullptr;

	__attribute__((noinline)) void begin()
	{
		CHECK(mgc_root_add(&list, sizeof list, 0) == 0);
		CHECK(mgc_root_add(&early, sizeof early, 0) == 0);
		CHECK(mgc_root_add(&watch, sizeof watch, 0) == 0);
		list = gc_new<item>(0ul, nullptr);
		last = list;
		for (unsigned long i = 1; i < length; i++)
			list = gc_new<item>(i, list);
		last->next = gc_new<item>(length, nullptr);
		mgc_write(&watch, mgc_weak_new(last->next));
	}
	__attribute__((noinline)) void to_early()
	{
		early = last->next;
		last->next = nullptr;
	}
	__attribute__((noinline)) void to_late()
	{
		last->next = early;
		early = nullptr;
	}
	__attribute__((noinline)) void look()
	{
		item *carried = static_cast<item *>(mgc_weak_get(watch));
		CHECK(carried != nullptr && carried->good() && carried->key == length);
	}
	__attribute__((noinline)) void wait()
	{
		char over_the_stack[2000]; // and over the registers
		CHECK(std::snprintf(over_the_stack, sizeof over_the_stack, "%1990.9f", 0.1) > 0);
		for (volatile unsigned long i = random() % 100000; i > 0; i = i - 1)
			;
		mgc_safepoint();
	}

      public:
	void carry()
	{
		begin();
		for (unsigned round = 1; !stop; round++) {
			wait();
			to_early();
			wait();
			if (round % 64 == 0) // to look during a cycle is to keep
				look();
			to_late();
		}
		CHECK(mgc_root_remove(&list) == 0 && mgc_root_remove(&early) == 0);
		CHECK(mgc_root_remove(&watch) == 0);
	}
};
} // namespace

int main()
{
	carrier porter;
	pthread_t carrying;
	auto carry = [](void *arg) -> void * {
		static_cast<carrier *>(arg)->carry();
		return nullptr;
	};
	const char *text = std::getenv("MGC_TEST_SECONDS");
	double seconds = text != nullptr ? std::atof(text) : 1.5;
	CHECK(mgc_root_add(&shared, sizeof shared, 0) == 0);
	shared = mgc::gc_new_array<gc_ptr<item>>(nshared);
	unsigned long seed = std::random_device()();
	std::printf("seed %lu\n", seed);
	std::vector<std::unique_ptr<player>> players;
	pthread_t thread[nthreads];
	for (unsigned i = 0; i < nthreads; i++) {
		players.push_back(std::make_unique<player>(seed + i));
		auto run = [](void *arg) -> void * {
			static_cast<player *>(arg)->play();
			return nullptr;
		};
		CHECK(pthread_create(&thread[i], nullptr, run, players[i].get()) == 0);
	}
	CHECK(pthread_create(&carrying, nullptr, carry, &porter) == 0);
	auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
	int collections = 0;
	for (; std::chrono::steady_clock::now() < until; collections++)
		mgc_collect();
	stop = true;
	for (pthread_t t : thread)
		CHECK(pthread_join(t, nullptr) == 0);
	CHECK(pthread_join(carrying, nullptr) == 0);
	CHECK(collections > 0);
	std::printf("passed: %d collections\n", collections);
	return 0;
}
