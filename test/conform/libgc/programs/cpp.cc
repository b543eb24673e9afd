// cpp.cc - gc_cpp.h and gc_allocator.h.
#define GC_THREADS
#include <gc/gc_cpp.h>
#include <gc/gc_allocator.h>
#include <cstdio>
#include <list>
#include <map>
#include <string>
#include <vector>

static int destroyed, cleaned;

struct plain : public gc {
	plain *next;
	long number;
};

struct tidy : public gc_cleanup {
	long number;
	explicit tidy(long n) : number(n)
	{
	}
	~tidy()
	{
		destroyed += number == 5;
	}
};

struct holder {
	gc_cleanup *first;
	long pad;
};

struct both : public holder, public gc_cleanup {
	~both()
	{
		destroyed++;
	}
};

extern "C" void GC_CALLBACK clean(void *obj, void *cd)
{
	cleaned += *(int *)obj == 3 && cd == &cleaned;
}

static void *drop(void *)
{
	for (int i = 0; i < 100; i++) {
		new tidy(5);
		new (GC, clean, &cleaned) int(3);
		new both;
	}
	return NULL;
}

static void say(const char *what, int n, int of)
{
	std::printf("%s: %s\n", what, n >= of - of / 20 ? "all" : n <= of / 20 ? "none" : "some");
}

typedef std::vector<long, gc_allocator<long>> longs;
typedef std::list<void *, traceable_allocator<void *>> pointers;
typedef std::map<int, plain *, std::less<int>, gc_allocator<std::pair<const int, plain *>>> table;

int main()
{
	GC_INIT();
	GC_set_warn_proc(GC_ignore_warn_proc);
	pthread_t t;
	pthread_create(&t, NULL, drop, NULL);
	pthread_join(t, NULL);
	for (int i = 0; i < 4; i++) {
		GC_gcollect();
		GC_invoke_finalizers();
	}
	say("destroyed", destroyed, 200);
	say("cleaned", cleaned, 100);
	delete new tidy(5);
	{
		tidy on_the_stack(5);
	}
	longs numbers;
	pointers kept;
	table all;
	for (int i = 0; i < 20000; i++) {
		plain *p = new plain;
		p->number = i;
		numbers.push_back(i);
		if (i % 4 == 0)
			kept.push_back(p);
		all[i] = p;
	}
	GC_gcollect();
	long sum = 0;
	for (table::iterator it = all.begin(); it != all.end(); ++it)
		sum += it->second->number + numbers[(size_t)it->first];
	std::printf("containers: %ld %zu\n", sum, kept.size());
	char *raw = new (PointerFreeGC) char[1000];
	plain *held = new (NoGC) plain, *array = new plain[10];
	std::printf("placements: %d %d %d\n", GC_is_heap_ptr(raw), GC_base(held) == held,
		    GC_base(array) != 0);
	delete held;
	delete[] array;
	return 0;
}
