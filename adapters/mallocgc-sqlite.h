/* mallocgc-sqlite.h - SQLite's memory on the collected heap: pages, statements and rows count in the program's heap,
 * its limit and its profile. Link with -lmallocgc and SQLite. docs/adapters.md says how.
 *
 *   mgc_sqlite_use();   before sqlite3_initialize and all that calls it
 */
#ifndef MALLOCGC_SQLITE_H
#define MALLOCGC_SQLITE_H
#include <mallocgc-raw.h>
#include <sqlite3.h>

static inline void *mgc_sqlite_malloc(int nbytes)
{
	return mgc_raw_malloc((size_t)nbytes);
}
static inline void *mgc_sqlite_realloc(void *p, int nbytes)
{
	return mgc_raw_realloc(p, (size_t)nbytes);
}
static inline int mgc_sqlite_size(void *p)
{
	return p != NULL ? (int)mgc_size(p) : 0;
}
/* SQLite asks how much it may use of what it is about to ask for; larger blocks are whole in pages of 8 KiB. */
static inline int mgc_sqlite_round_up(int nbytes)
{
	return (nbytes + 15) & ~15;
}
static inline int mgc_sqlite_start(void *unused)
{
	(void)unused;
	return mgc_thread_attach() == 0 ? SQLITE_OK : SQLITE_NOMEM;
}
static inline void mgc_sqlite_end(void *unused)
{
	(void)unused;
}

/* mgc_sqlite_use - SQLITE_OK, or SQLITE_MISUSE: SQLite has started. */
static inline int mgc_sqlite_use(void)
{
	static const sqlite3_mem_methods methods = { mgc_sqlite_malloc,   mgc_free,
						     mgc_sqlite_realloc,  mgc_sqlite_size,
						     mgc_sqlite_round_up, mgc_sqlite_start,
						     mgc_sqlite_end,      NULL };
	return sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}
#endif
