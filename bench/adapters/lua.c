/* lua.c - processor time of a Lua script that makes tables, closures and strings, and of the end of its state.
 *   cc -O2 lua.c $(pkg-config --cflags --libs lua5.4)                                       malloc
 *   cc -O2 -DREGION lua.c $(pkg-config --cflags --libs lua5.4) -I../../adapters -I../../include -lmallocgc-malloc
 *   … -DDROP                                                                                the state is dropped */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <time.h>
#if defined REGION || defined DROP
#include <mallocgc-lua.h>
#endif

static const char *const script =
	"local t for round = 1, 30 do t = {} for i = 1, 20000 do\n"
	"t[i] = { key = 'k' .. i, list = { i, i + 1 }, f = function() return i end } end end";

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(void)
{
	double start = seconds(), ran;
#if defined REGION || defined DROP
	struct mgc_lua memory = { .limit = 0 };
	lua_State *L = mgc_lua_open(&memory);
#else
	lua_State *L = luaL_newstate();
#endif
	luaL_openlibs(L);
	if (luaL_dostring(L, script) != LUA_OK)
		return 1;
	ran = seconds();
#if defined DROP
	mgc_lua_close(&memory, NULL);
#elif defined REGION
	mgc_lua_close(&memory, L);
#else
	lua_close(L);
#endif
	printf("script %.3f s, end %.4f s\n", ran - start, seconds() - ran);
	return 0;
}
