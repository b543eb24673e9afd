/* mallocgc-lua.h - a Lua state whose memory is a region of its own: freed at once, counted, limited. Link with
 * -lmallocgc-malloc and Lua (5.1 to 5.4). docs/adapters.md says how, and what it is good for.
 *
 *   struct mgc_lua memory = { .limit = 64 << 20 };
 *   lua_State *L = mgc_lua_open(&memory);
 *   ...
 *   mgc_lua_close(&memory, L);
 *
 * Threads: a state and its memory belong to one thread at a time, as in Lua. Different states know nothing of each
 * other. Sizes are bytes. */
#ifndef MALLOCGC_LUA_H
#define MALLOCGC_LUA_H
#include <lua.h>
#include <mallocgc-heap.h>
#include <stddef.h>

struct mgc_lua {
	struct mgc_heap *heap;
	size_t used; /* as Lua counts it */
	size_t limit; /* of that; 0: none. A script that wants more gets LUA_ERRMEM (Lua collects before, for most) */
};

/* mgc_lua_alloc - a lua_Alloc; ud is a struct mgc_lua. Never fails to make a block smaller, as Lua wants it. */
static inline void *mgc_lua_alloc(void *ud, void *p, size_t old_nbytes, size_t nbytes)
{
	struct mgc_lua *m = (struct mgc_lua *)ud;
	size_t had = p != NULL ? old_nbytes : 0; /* for a new block it is the kind of object */
	void *out;
	if (nbytes == 0) {
		mgc_heap_free(m->heap, p);
		m->used -= had;
		return NULL;
	}
	if (nbytes > had && m->limit != 0 && (m->used > m->limit || nbytes - had > m->limit - m->used))
		return NULL;
	out = p != NULL ? mgc_heap_realloc(m->heap, p, nbytes) : mgc_heap_malloc(m->heap, nbytes);
	if (out == NULL)
		return nbytes <= had ? p : NULL;
	m->used += nbytes - had;
	return out;
}

/* mgc_lua_open - a new state in a region of its own. NULL: no memory, or less than Lua needs within the limit. */
static inline lua_State *mgc_lua_open(struct mgc_lua *m)
{
	lua_State *L;
	m->used = 0;
	m->heap = mgc_heap_create();
	if (m->heap == NULL)
		return NULL;
	L = lua_newstate(mgc_lua_alloc, m);
	if (L == NULL) {
		mgc_heap_destroy(m->heap);
		m->heap = NULL;
	}
	return L;
}

/* mgc_lua_close - lua_close, then the region. With L NULL the state is dropped as it stands, in one step for each
 * 64 KiB of it: for scripts without __gc and __close that matter, and without memory of others in userdata. */
static inline void mgc_lua_close(struct mgc_lua *m, lua_State *L)
{
	if (L != NULL)
		lua_close(L);
	mgc_heap_destroy(m->heap);
	m->heap = NULL;
	m->used = 0;
}
#endif
