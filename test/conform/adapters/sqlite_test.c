/* sqlite_test.c - adapters/mallocgc-sqlite.h: the same answers, from memory of the collected heap, within its limit.
 * links: mallocgc
 * needs: sqlite3 */
#include "lib/plain.h"

#include <mallocgc-sqlite.h>

static sqlite3 *open_db(void)
{
	sqlite3 *db = NULL;
	CHECK_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
	return db;
}

static void run(sqlite3 *db, const char *text)
{
	char *message = NULL;
	if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fprintf(stderr, "sqlite: %s\n", message);
	CHECK(message == NULL);
}

static long long ask(sqlite3 *db, const char *text)
{
	sqlite3_stmt *s;
	CHECK_EQ(sqlite3_prepare_v2(db, text, -1, &s, NULL), SQLITE_OK);
	CHECK_EQ(sqlite3_step(s), SQLITE_ROW);
	long long value = sqlite3_column_int64(s, 0);
	CHECK_EQ(sqlite3_finalize(s), SQLITE_OK);
	return value;
}

#define ROWS "with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) "

static void fill(sqlite3 *db)
{
	run(db, "create table t(id integer primary key, name text, weight real)");
	run(db, ROWS "insert into t select i, 'name ' || (i * 7919 % 20000), i / 3.0 from n");
	run(db, "create index by_name on t(name)");
	run(db, "create table big(data blob); insert into big values (randomblob(3000000))");
}

static void answers(sqlite3 *db)
{
	CHECK_EQ(ask(db, "select count(distinct name) from t"), 20000);
	CHECK_EQ(ask(db, "select id from t where name = 'name 7919'"), 1);
	CHECK_EQ(ask(db, "select sum(length(data)) from big"), 3000000);
	CHECK_EQ(ask(db, "select count(*) from t a join t b on a.name = 'name ' || b.id"), 19999);
	CHECK_EQ(ask(db, "select max(n) from (select row_number() over (order by weight desc, "
			 "name) n from t)"),
		 20000);
}

static struct mgc_stats stats(void)
{
	struct mgc_stats st = { .struct_size = sizeof st };
	mgc_read_stats(&st);
	return st;
}

TEST(on_the_heap)
{
	CHECK_EQ(mgc_sqlite_use(), SQLITE_OK);
	sqlite3 *db = open_db();
	CHECK_EQ(mgc_sqlite_use(), SQLITE_MISUSE); /* too late */
	void *p = sqlite3_malloc(100), *grown = sqlite3_realloc(p, 100000);
	CHECK(mgc_is_heap(p) || grown != p);
	CHECK(mgc_base(grown) == grown && sqlite3_msize(grown) >= 100000);
	memset(grown, 1, 100000);
	sqlite3_free(grown);
	fill(db);
	mgc_collect(); /* nothing of it is collected */
	answers(db);
	CHECK(sqlite3_memory_used() > 4000000);
	CHECK(stats().heap_live >= (uint64_t)sqlite3_memory_used() / 2);
	CHECK_EQ(sqlite3_close(db), SQLITE_OK);
	CHECK_EQ(sqlite3_shutdown(), SQLITE_OK);
	CHECK_EQ(sqlite3_memory_used(), 0);
}

TEST(within_a_limit)
{
	CHECK_EQ(mgc_sqlite_use(), SQLITE_OK);
	sqlite3 *db = open_db();
	run(db, "create table t(x)");
	mgc_set_memory_limit(24 << 20);
	CHECK_EQ(sqlite3_exec(db, ROWS "insert into t select randomblob(4000) from n", NULL, NULL, NULL),
		 SQLITE_NOMEM);
	CHECK_EQ(ask(db, "select count(*) from t"), 0); /* all of it, or nothing */
	run(db, "insert into t values (randomblob(1000000))");
	CHECK_EQ(ask(db, "select count(*) from t"), 1);
	CHECK_EQ(sqlite3_close(db), SQLITE_OK);
}

static void *one(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2; i++) {
		sqlite3 *db = open_db();
		fill(db);
		mgc_collect();
		answers(db);
		CHECK_EQ(sqlite3_close(db), SQLITE_OK);
	}
	return NULL;
}

TEST(threads)
{
	CHECK_EQ(mgc_sqlite_use(), SQLITE_OK);
	pthread_t thread[3];
	for (int i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, one, NULL), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
}
