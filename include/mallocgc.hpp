// mallocgc.hpp - the native API for C++17: objects made by type, fields that store with a barrier, containers
// whose elements are references. A layer over <mallocgc.h>, whose rules hold; all of it is in this file.
//
//   struct node {
//           mgc::gc_ptr<node> left, right;      // fields of objects: gc_ptr
//           long key;
//           using gc_layout = mgc::members<&node::left, &node::right>;
//   };
//   node *n = mgc::gc_new<node>();              // local variables: plain pointers
//   n->left = mgc::gc_new<node>();              // mgc_write
//
// TYPES     The collector learns where the pointers of a T are from mgc::layout<T>: by default T::gc_layout, or
//           T::gc_trace, or what T is (a number holds none, a pointer is one); for any other type every word
//           may be a pointer, which is safe and costs time. Specialise it for types of others:
//           template <> struct mgc::layout<point> : mgc::pointer_free {};
// STORES    A gc_ptr is stored to as mgc_write does. Raw pointers are for local variables, arguments and results.
// LIFETIME  Nobody calls delete, and nothing is destroyed: T's destructor is trivial, or gc_new_finalized makes it.
// ERRORS    Without memory std::bad_alloc is thrown; a size that overflows: std::bad_array_new_length. Where exceptions
//           are off (-fno-exceptions) the program ends instead, with a message.
// THREADS   As <mallocgc.h>. gc_ptr reads relaxed: order it as you would a plain pointer (a lock), or use
//           load_acquire, exchange and compare_exchange.
// INLINED   Include <mallocgc-inline.h> before, in all files of a program or in none.
#ifndef MALLOCGC_HPP
#define MALLOCGC_HPP
#include <mallocgc.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <memory_resource>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

namespace mgc
{

template <class T> class gc_ptr;

// tracer - what T::gc_trace(mgc::tracer) const gets: `trace(left, right)` names fields, `trace.range(first, n)` n of
// them side by side. Called by the collector, perhaps on another thread and beside the program, also for an object
// that is still all zero: it may read the object only, and is not virtual.
class tracer
{
	mgc_tracer *tracer_;

      public:
	explicit tracer(mgc_tracer *t) noexcept : tracer_(t)
	{
	}
	template <class... P> void operator()(const P &...fields) const noexcept
	{
		(mgc_trace(tracer_, static_cast<const void *>(word(fields))), ...);
	}
	template <class U> void range(const gc_ptr<U> *first, std::size_t n) const noexcept
	{
		mgc_trace_range(tracer_, first, n);
	}

      private:
	template <class U> static const void *word(const gc_ptr<U> &field) noexcept
	{
		return field.get();
	}
	template <class U> static const void *word(U *const &field) noexcept
	{
		return __atomic_load_n(&field, __ATOMIC_RELAXED);
	}
};

// ── layouts ────────────────────────────────────────────────────────────────────────────────────

enum class scan { none, masked, traced, every_word };

// pointer_free - objects hold no reference. every_word - each aligned word may be one, or a number.
struct pointer_free {
	static constexpr scan how = scan::none;
};
struct every_word {
	static constexpr scan how = scan::every_word;
};
// members<&T::a, ...> - references are in these members of T, or of a base of T, and nowhere else: a gc_ptr, a raw
// pointer that is never stored to once the object can be reached, an array of either, or a member with an exact
// layout of its own.
template <auto... M> struct members {
	static constexpr scan how = scan::masked;
	template <class T> static void mark(std::uint8_t *mask, std::size_t base);
};

namespace detail
{
template <class T, class = void> struct has_layout : std::false_type {
};
template <class T> struct has_layout<T, std::void_t<typename T::gc_layout>> : std::true_type {
};
template <class T, class = void> struct has_trace : std::false_type {
};
template <class T>
struct has_trace<T, std::void_t<decltype(std::declval<const T &>().gc_trace(tracer(nullptr)))>>
    : std::true_type {
};

struct one_word {
	static constexpr scan how = scan::masked;
	template <class T> static void mark(std::uint8_t *mask, std::size_t base)
	{
		mask[base / 64] = static_cast<std::uint8_t>(mask[base / 64] | 1u << base / 8 % 8);
	}
};
struct by_trace {
	static constexpr scan how = scan::traced;
};
template <class T> constexpr auto choose() noexcept
{
	if constexpr (has_layout<T>::value)
		return typename T::gc_layout();
	else if constexpr (has_trace<T>::value)
		return by_trace();
	else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T> ||
			   std::is_member_pointer_v<T> || std::is_empty_v<T>)
		return pointer_free();
	else if constexpr (std::is_pointer_v<T>)
		return one_word();
	else
		return every_word();
}
} // namespace detail

template <class T> struct layout : decltype(detail::choose<T>()) {
};
template <class T> struct layout<gc_ptr<T>> : detail::one_word {
};
template <class T> struct layout<const T> : layout<T> {
};

namespace detail
{
// An array has the layout of its elements, again and again.
template <class E, std::size_t N> struct repeated : layout<E> {
	template <class T> static void mark(std::uint8_t *mask, std::size_t base)
	{
		for (std::size_t i = 0; i < N; i++)
			layout<E>::template mark<E>(mask, base + i * sizeof(E));
	}
};

// offset_of - where the member is in a T. Nothing is read.
template <class T, class C, class M> std::size_t offset_of(M C::*member) noexcept
{
	std::uintptr_t at = std::uintptr_t(1) << 20;
	__asm__("" : "+r"(at)); // an address that the compiler knows nothing of
	const C *object = reinterpret_cast<const T *>(at);
	return reinterpret_cast<std::uintptr_t>(std::addressof(object->*member)) - at;
}
template <class T, class C, class M>
void mark_member(std::uint8_t *mask, std::size_t base, M C::*member)
{
	static_assert(std::is_base_of_v<C, T>, "members<> names a member of another type");
	static_assert(layout<M>::how == scan::masked || layout<M>::how == scan::none,
		      "a member that members<> names needs an exact layout of its own (gc_layout)");
	if constexpr (layout<M>::how == scan::masked)
		layout<M>::template mark<M>(mask, base + offset_of<T>(member));
}
} // namespace detail

template <class E, std::size_t N> struct layout<E[N]> : detail::repeated<E, N> {
};
template <class E, std::size_t N> struct layout<std::array<E, N>> : detail::repeated<E, N> {
};

template <auto... M>
template <class T>
void members<M...>::mark(std::uint8_t *mask, std::size_t base)
{
	(detail::mark_member<T>(mask, base, M), ...);
}

// ── types ──────────────────────────────────────────────────────────────────────────────────────

namespace detail
{
template <class T> constexpr std::string_view name_of() noexcept
{
	std::string_view text = __PRETTY_FUNCTION__;
	std::size_t from = text.find("T = ") + 4;
	return text.substr(from, text.find_first_of(";]", from) - from);
}

// A struct mgc_type with the memory that it refers to.
template <class T> struct described {
	static constexpr std::size_t nwords = (sizeof(T) + 7) / 8;
	mgc_type type = {};
	std::uint8_t mask[(nwords + 7) / 8] = {};
	char name[name_of<T>().size() + 1] = {};

	described() noexcept
	{
		constexpr scan how = layout<T>::how;
		std::memcpy(name, name_of<T>().data(), sizeof name - 1);
		type.name = name;
		type.size = sizeof(T);
		type.ptr_bytes = how == scan::none ? 0 : sizeof(T) / 8 * 8;
		if constexpr (how == scan::masked) {
			layout<T>::template mark<T>(mask, 0);
			type.ptr_mask = mask;
			while (type.ptr_bytes != 0 && !marked(type.ptr_bytes / 8 - 1))
				type.ptr_bytes -= 8;
		} else if constexpr (how == scan::traced) {
			type.trace = [](void *object, mgc_tracer *t) {
				static_cast<const T *>(object)->gc_trace(tracer(t));
			};
		} else if constexpr (how == scan::every_word) {
			type.flags = MGC_TYPE_AMBIGUOUS;
		}
	}
	bool marked(std::size_t word) const noexcept
	{
		return (mask[word / 8] >> word % 8 & 1) != 0;
	}
	described(const described &) = delete;
	described &operator=(const described &) = delete;
};

template <class E> [[noreturn]] void raise()
{
#ifdef __cpp_exceptions
	throw E();
#else
	std::fputs("mallocgc: out of memory, and exceptions are off\n", stderr);
	std::abort();
#endif
}
[[noreturn]] inline void out_of_memory()
{
	if (errno == EOVERFLOW)
		raise<std::bad_array_new_length>();
	raise<std::bad_alloc>();
}
template <class T> constexpr void check_object() noexcept
{
	static_assert(std::is_object_v<T> && !std::is_array_v<T>,
		      "an object type; gc_new_array for arrays");
	static_assert(alignof(T) <= 8 || (alignof(T) == 16 && sizeof(T) >= 32),
		      "objects are aligned to 8 bytes, to 16 from 32 bytes on");
}
} // namespace detail

// type_of<T> - the struct mgc_type of T, for the functions of <mallocgc.h>.
template <class T> mgc_type *type_of() noexcept
{
	static detail::described<T> described;
	return &described.type;
}

// ── objects ────────────────────────────────────────────────────────────────────────────────────

// gc_new - a new T, made from the arguments. Whatever its constructor throws passes on.
template <class T, class... A> T *gc_new(A &&...args)
{
	detail::check_object<T>();
	static_assert(std::is_trivially_destructible_v<T>,
		      "nobody would call this destructor: gc_new_finalized does");
	void *memory = mgc_new(type_of<T>());
	if (memory == nullptr)
		detail::out_of_memory();
	return ::new (memory) T(std::forward<A>(args)...);
}

// gc_new_array - n of them side by side, each T(): all zero when T has no constructor of its own.
template <class T> T *gc_new_array(std::size_t n)
{
	detail::check_object<T>();
	static_assert(std::is_trivially_destructible_v<T>, "nobody would call this destructor");
	T *memory = static_cast<T *>(mgc_new_array(type_of<T>(), n));
	if (memory == nullptr)
		detail::out_of_memory();
	if constexpr (!std::is_trivially_default_constructible_v<T>)
		std::uninitialized_value_construct_n(memory, n);
	return memory;
}

// gc_new_finalized - as gc_new, for a T with a destructor: it runs once when the object is found dead, as a
// finalizer (mgc_finalizer_set): on a thread of the library's own, before those of the objects it refers to; never
// for objects that reach each other in a circle.
template <class T, class... A> T *gc_new_finalized(A &&...args)
{
	detail::check_object<T>();
	void *memory = mgc_new(type_of<T>());
	if (memory == nullptr)
		detail::out_of_memory();
	T *object = ::new (memory) T(std::forward<A>(args)...);
	auto destroy = [](void *dead, void *) { static_cast<T *>(dead)->~T(); };
	if (mgc_finalizer_set(memory, destroy, nullptr) != 0) {
		object->~T();
		detail::out_of_memory();
	}
	return object;
}

// initial - gc_ptr(initial(p)): a store without a barrier, for constructors of objects that nobody else can reach.
template <class T> struct initial {
	T *pointer;
	explicit initial(T *p) noexcept : pointer(p)
	{
	}
};

// gc_ptr - a reference in an object, in a registered root, or in a container of gc_allocator. It is one word, and
// converts to and from T *. A field that is made by its default constructor in new memory costs no store.
template <class T> class gc_ptr
{
	T *pointer_;

	void store(T *p) noexcept
	{
		mgc_write(&pointer_, const_cast<std::remove_cv_t<T> *>(p));
	}

      public:
	using element_type = T;

	gc_ptr() noexcept
	{
		__asm__("" : "=m"(pointer_)); // whatever is there, it is a value
		if (pointer_ != nullptr)
			store(nullptr);
	}
	gc_ptr(std::nullptr_t) noexcept : gc_ptr()
	{
	}
	gc_ptr(T *p) noexcept
	{
		store(p);
	}
	gc_ptr(initial<T> p) noexcept : pointer_(p.pointer)
	{
	}
	gc_ptr(const gc_ptr &other) noexcept
	{
		store(other.get());
	}
	template <class U, class = std::enable_if_t<std::is_convertible_v<U *, T *>>>
	gc_ptr(const gc_ptr<U> &other) noexcept
	{
		store(other.get());
	}
	gc_ptr &operator=(T *p) noexcept
	{
		store(p);
		return *this;
	}
	gc_ptr &operator=(const gc_ptr &other) noexcept
	{
		store(other.get());
		return *this;
	}
	template <class U, class = std::enable_if_t<std::is_convertible_v<U *, T *>>>
	gc_ptr &operator=(const gc_ptr<U> &other) noexcept
	{
		store(other.get());
		return *this;
	}

	T *get() const noexcept
	{
		return __atomic_load_n(&pointer_, __ATOMIC_RELAXED);
	}
	operator T *() const noexcept
	{
		return get();
	}
	T *operator->() const noexcept
	{
		return get();
	}

	// load_acquire - what another thread stored, with what it had written before.
	T *load_acquire() const noexcept
	{
		return __atomic_load_n(&pointer_, __ATOMIC_ACQUIRE);
	}
	T *exchange(T *p) noexcept
	{
		return static_cast<T *>(mgc_exchange(&pointer_, const_cast<std::remove_cv_t<T> *>(p)));
	}
	bool compare_exchange(T *expected, T *p) noexcept
	{
		return mgc_cas(&pointer_, const_cast<std::remove_cv_t<T> *>(expected),
			       const_cast<std::remove_cv_t<T> *>(p)) != 0;
	}
};

// gc_handle - a reference from memory that the collector does not read: an object of new, a std::function, a
// queue of the kernel. Moves, is not copied.
template <class T> class gc_handle
{
	mgc_handle handle_ = 0;

      public:
	gc_handle() noexcept = default;
	explicit gc_handle(T *object)
	{
		if (object != nullptr && (handle_ = mgc_handle_new(object)) == 0)
			detail::out_of_memory();
	}
	gc_handle(gc_handle &&other) noexcept : handle_(std::exchange(other.handle_, 0))
	{
	}
	gc_handle &operator=(gc_handle &&other) noexcept
	{
		std::swap(handle_, other.handle_);
		return *this;
	}
	~gc_handle()
	{
		mgc_handle_free(handle_);
	}
	T *get() const noexcept
	{
		return static_cast<T *>(mgc_handle_get(handle_));
	}
	T *operator->() const noexcept
	{
		return get();
	}
};

// ── containers ─────────────────────────────────────────────────────────────────────────────────

namespace detail
{
// A container frees its memory itself; until then all that is in it is alive.
inline void *allocate(std::size_t nbytes, bool scanned)
{
	unsigned flags = MGC_UNCOLLECTABLE;
	void *p = mgc_alloc(nbytes != 0 ? nbytes : 1, nullptr, scanned ? flags : flags | MGC_NOSCAN);
	if (p == nullptr)
		out_of_memory();
	return p;
}
} // namespace detail

// gc_allocator - for containers that live anywhere (a local variable, a member of an object of new) and whose
// elements are gc_ptrs, or have some: std::vector<mgc::gc_ptr<node>, mgc::gc_allocator<mgc::gc_ptr<node>>>. The
// elements are references until they are erased, or the container is destroyed. An element that refers to the object
// which has the container keeps that object, and so itself, alive.
template <class T> class gc_allocator
{
	// What is rebound to pointers is a container's own table of its own memory.
	static constexpr bool scanned = layout<T>::how != scan::none && !std::is_pointer_v<T>;

      public:
	using value_type = T;
	using is_always_equal = std::true_type;
	using propagate_on_container_move_assignment = std::true_type;

	gc_allocator() noexcept = default;
	template <class U> gc_allocator(const gc_allocator<U> &) noexcept
	{
	}
	T *allocate(std::size_t n)
	{
		static_assert(alignof(T) <= 16, "blocks are aligned to 16 bytes");
		if (n > std::numeric_limits<std::size_t>::max() / sizeof(T))
			detail::raise<std::bad_array_new_length>();
		return static_cast<T *>(detail::allocate(
			n * sizeof(T) < 32 && alignof(T) > 8 ? 32 : n * sizeof(T), scanned));
	}
	void deallocate(T *p, std::size_t) noexcept
	{
		mgc_free(p);
	}
	template <class U, class... A> void construct(U *p, A &&...args)
	{
		static_assert(!std::is_pointer_v<U>,
			      "containers store raw pointers without a barrier: use mgc::gc_ptr");
		::new (static_cast<void *>(p)) U(std::forward<A>(args)...);
	}
	template <class U> void destroy(U *p) noexcept
	{
		p->~U();
		if constexpr (scanned && alignof(U) % 8 == 0)
			mgc_clear(p, sizeof(U)); // a place without an element refers to nothing
	}
	template <class U> bool operator==(const gc_allocator<U> &) const noexcept
	{
		return true;
	}
	template <class U> bool operator!=(const gc_allocator<U> &) const noexcept
	{
		return false;
	}
};

// gc_resource - the same for std::pmr containers, and under std::pmr::monotonic_buffer_resource and its kin: its
// blocks are read for references until they are given back. What was erased in one may be kept until then.
class gc_resource final : public std::pmr::memory_resource
{
	void *do_allocate(std::size_t nbytes, std::size_t align) override
	{
		if (align <= 8 || (align == 16 && nbytes >= 32))
			return detail::allocate(nbytes, true);
		if (nbytes > std::numeric_limits<std::size_t>::max() - align)
			detail::raise<std::bad_alloc>();
		char *block = static_cast<char *>(detail::allocate(nbytes + align, true));
		return block + (align - reinterpret_cast<std::uintptr_t>(block) % align) % align;
	}
	void do_deallocate(void *p, std::size_t, std::size_t) override
	{
		mgc_free(mgc_base(p));
	}
	bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
	{
		return this == &other;
	}
};

// resource - the one gc_resource that a program needs.
inline std::pmr::memory_resource *resource() noexcept
{
	static gc_resource resource;
	return &resource;
}

} // namespace mgc

template <class T> struct std::hash<mgc::gc_ptr<T>> {
	std::size_t operator()(const mgc::gc_ptr<T> &p) const noexcept
	{
		return std::hash<T *>()(p.get());
	}
};
#endif
