/* gc_cpp.h - collected objects in C++.
 *   class A: public gc { … };            new A is collected
 *   class B: public gc_cleanup { … };    and its destructor runs when nothing reaches it
 *   new (GC) T, new (NoGC) T, new (PointerFreeGC) T     of any type; a clean-up function may follow
 * delete works on all of them. The ordinary new is not replaced. GC_NAMESPACE: names are in boehmgc. */
#ifndef GC_CPP_H
#define GC_CPP_H
#include "gc.h"
#include <new>

#ifdef GC_NAMESPACE
#define GC_NS_QUALIFY(T) boehmgc::T
#else
#define GC_NS_QUALIFY(T) T
#endif
#define GC_cdecl GC_CALLBACK
#define GC_OPERATOR_NEW_ARRAY
#define GC_PLACEMENT_DELETE
#ifdef GC_NEW_ABORTS_ON_OOM
#define GC_OP_NEW_OOM_CHECK(obj) \
	do { \
		if (!(obj)) \
			GC_abort_on_oom(); \
	} while (0)
#else
#define GC_OP_NEW_OOM_CHECK(obj) \
	do { \
		if (!(obj)) \
			throw std::bad_alloc(); \
	} while (0)
#endif

#ifdef GC_NAMESPACE
namespace boehmgc
{
#endif
enum GCPlacement {
	UseGC,
#ifndef GC_NAME_CONFLICT
	GC = UseGC,
#endif
	NoGC,
	PointerFreeGC,
	PointerFreeNoGC
};
extern "C" {
typedef void(GC_CALLBACK *GCCleanUpFunc)(void *obj, void *clientData);
}

/* GC_cpp_alloc - memory of that placement. */
inline void *GC_cpp_alloc(size_t size, GCPlacement where)
{
	void *obj = where == UseGC	   ? GC_MALLOC(size) :
		    where == PointerFreeGC ? GC_MALLOC_ATOMIC(size) :
		    where == NoGC	   ? GC_MALLOC_UNCOLLECTABLE(size) :
					     GC_MALLOC_ATOMIC_UNCOLLECTABLE(size);
	GC_OP_NEW_OOM_CHECK(obj);
	return obj;
}

class gc {
    public:
	void *operator new(size_t size)
	{
		return GC_cpp_alloc(size, UseGC);
	}
	void *operator new(size_t size, GCPlacement where)
	{
		return GC_cpp_alloc(size, where);
	}
	void *operator new(size_t, void *p) GC_NOEXCEPT
	{
		return p;
	}
	void operator delete(void *obj) GC_NOEXCEPT
	{
		GC_FREE(obj);
	}
	void operator delete(void *obj, GCPlacement) GC_NOEXCEPT
	{
		GC_FREE(obj);
	}
	void operator delete(void *, void *) GC_NOEXCEPT
	{
	}
	void *operator new[](size_t size)
	{
		return GC_cpp_alloc(size, UseGC);
	}
	void *operator new[](size_t size, GCPlacement where)
	{
		return GC_cpp_alloc(size, where);
	}
	void *operator new[](size_t, void *p) GC_NOEXCEPT
	{
		return p;
	}
	void operator delete[](void *obj) GC_NOEXCEPT
	{
		GC_FREE(obj);
	}
	void operator delete[](void *obj, GCPlacement) GC_NOEXCEPT
	{
		GC_FREE(obj);
	}
	void operator delete[](void *, void *) GC_NOEXCEPT
	{
	}
};

/* A part of an object may be one of these, too: the first to be made has the finalizer. */
class gc_cleanup : virtual public gc {
    public:
	gc_cleanup()
	{
		GC_finalization_proc old = 0;
		void *oldData = 0;
		void *base = GC_base((void *)this);
		if (base == 0)
			return;
		GC_register_finalizer_ignore_self(base, cleanup, (void *)((char *)this - (char *)base),
						  &old, &oldData);
		if (old != 0)
			GC_register_finalizer_ignore_self(base, old, oldData, 0, 0);
	}
	virtual ~gc_cleanup()
	{
		void *base = GC_base((void *)this);
		if (base != 0)
			GC_register_finalizer_ignore_self(base, 0, 0, 0, 0);
	}

    private:
	static void GC_CALLBACK cleanup(void *obj, void *offset)
	{
		((gc_cleanup *)((char *)obj + (ptrdiff_t)offset))->~gc_cleanup();
	}
};
#ifdef GC_NAMESPACE
}
#endif

inline void *operator new(size_t size, GC_NS_QUALIFY(GCPlacement) where,
			  GC_NS_QUALIFY(GCCleanUpFunc) cleanup = 0, void *clientData = 0)
{
	void *obj = GC_NS_QUALIFY(GC_cpp_alloc)(size, where);
	if (cleanup != 0)
		GC_REGISTER_FINALIZER_IGNORE_SELF(obj, cleanup, clientData, 0, 0);
	return obj;
}
inline void operator delete(void *obj, GC_NS_QUALIFY(GCPlacement), GC_NS_QUALIFY(GCCleanUpFunc),
			    void *) GC_NOEXCEPT
{
	GC_FREE(obj);
}
inline void *operator new[](size_t size, GC_NS_QUALIFY(GCPlacement) where,
			    GC_NS_QUALIFY(GCCleanUpFunc) cleanup = 0, void *clientData = 0)
{
	return ::operator new(size, where, cleanup, clientData);
}
inline void operator delete[](void *obj, GC_NS_QUALIFY(GCPlacement), GC_NS_QUALIFY(GCCleanUpFunc),
			      void *) GC_NOEXCEPT
{
	GC_FREE(obj);
}
#endif
