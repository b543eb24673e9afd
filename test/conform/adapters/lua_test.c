/* lua_test.c - adapters/mallocgc-lua.h: scripts run as they do on malloc, states are counted, limited, and dropped.
 * links: malloc
 * needs: lua5.4 */
#include "lib/plain.h"

#include <lauxlib.h>
#include <lualib.h>
#include <mallocgc-lua.h>

static const char *const script =
	"local t, s = {}, 0\n"
	"for i = 1, 20000 do t[i] = { key = 'k' .. i, list = { i, i + 1 }, f = function() return i "
	"end } end\n"
	"for i = 1, 20000, 3 do t[i] = nil end\n"
	"for i, v in pairs(t) do s = s + v.f() + v.list[2] + #v.key end\n"
	"local parts = {}\n"
	"for w in (string.rep('one two three ', 2000)):gmatch('%a+') do parts[#parts + 1] = "
	"w:upper() end\n"
	"local long = table.concat(parts, ','):gsub('TWO', 'zwei')\n"
	"local gen = coroutine.wrap(function() for i = 1, 1000 do coroutine.yield(i) end return 0 "
	"end)\n"
	"local sum = 0; for i = 1, 1000 do sum = sum + gen() end\n"
	"table.sort(parts)\n"
	"return string.format('%d %d %d %s %s', s, sum, #long, parts[1], parts[#parts])";

static const char *run(lua_State *L, const char *text)
{
	if (luaL_dostring(L, text) != LUA_OK)
		fprintf(stderr, "lua: %s\n", lua_tostring(L, -1));
	return lua_tostring(L, -1);
}

static struct mgc_heap_stats stats_of(const struct mgc_lua *m)
{
	struct mgc_heap_stats st = { .struct_size = sizeof st };
	CHECK_EQ(mgc_heap_read_stats(m->heap, &st), 0);
	return st;
}

TEST(same_as_malloc)
{
	struct mgc_lua memory = { .limit = 0 };
	lua_State *plain = luaL_newstate(), *L = mgc_lua_open(&memory);
	CHECK(L != NULL);
	luaL_openlibs(plain);
	luaL_openlibs(L);
	const char *want = run(plain, script), *got = run(L, script);
	CHECK(want != NULL && got != NULL && strcmp(want, got) == 0);
	/* What Lua says that it has is what the region holds, in whole blocks. */
	struct mgc_heap_stats st = stats_of(&memory);
	size_t counted = (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
	CHECK_EQ(memory.used, counted);
	CHECK(st.used_nbytes >= counted && st.nblocks > 10000);
	lua_settop(L, 0);
	lua_gc(L, LUA_GCCOLLECT);
	CHECK(memory.used < counted / 4 && stats_of(&memory).nblocks < st.nblocks / 4);
	lua_close(L);
	CHECK_EQ(memory.used, 0);
	CHECK_EQ(stats_of(&memory).nblocks, 0);
	mgc_lua_close(&memory, NULL);
	lua_close(plain);
}

TEST(limit)
{
	struct mgc_lua memory = { .limit = 4 << 20 };
	lua_State *L = mgc_lua_open(&memory);
	luaL_openlibs(L);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(luaL_loadstring(L, "local t = {} for i = 1, 1e9 do t[i] = 'x' .. i end"),
			 LUA_OK);
		CHECK_EQ(lua_pcall(L, 0, 0, 0), LUA_ERRMEM);
		CHECK(strstr(lua_tostring(L, -1), "not enough memory") != NULL);
		CHECK(memory.used <= memory.limit);
		lua_settop(L, 0);
		lua_gc(L, LUA_GCCOLLECT); /* string.rep takes its buffer without trying one */
		CHECK_EQ(luaL_dostring(L, "return #string.rep('x', 1000000)"), LUA_OK);
		CHECK_EQ(lua_tointeger(L, -1), 1000000);
	}
	mgc_lua_close(&memory, L);
	memory.limit = 1000; /* not even an empty state */
	CHECK(mgc_lua_open(&memory) == NULL && memory.heap == NULL);
}

static void *play(void *arg)
{
	const char *want = arg;
	for (int i = 0; i < 6; i++) {
		struct mgc_lua memory = { .limit = 0 };
		lua_State *L = mgc_lua_open(&memory);
		luaL_openlibs(L);
		CHECK(strcmp(run(L, script), want) == 0);
		mgc_lua_close(&memory, i % 2 == 0 ? L : NULL); /* dropped as it stands, every second time */
	}
	return NULL;
}

TEST(states_of_threads)
{
	lua_State *plain = luaL_newstate();
	luaL_openlibs(plain);
	char *want = strdup(run(plain, script));
	pthread_t thread[4];
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, play, want), 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
	free(want);
	lua_close(plain);
}
