noinst_LIBRARIES += libpg.a
libpg_a_SOURCES = src/pg/array.c src/pg/array.h src/pg/changes.c src/pg/changes.h src/pg/connection.c src/pg/connection.h src/pg/dsn.c src/pg/dsn.h src/pg/entry.c src/pg/entry.h \
  src/pg/feed.c src/pg/feed.h src/pg/fleet.c src/pg/fleet.h src/pg/migrate.c src/pg/migrate.h src/pg/outage.c src/pg/outage.h src/pg/pool.c \
  src/pg/pool.h src/pg/position.c src/pg/position.h src/pg/probe.c src/pg/probe.h src/pg/report.c src/pg/report.h src/pg/session.c src/pg/session.h src/pg/sql_files.c \
  src/pg/sql_files.h src/pg/verdict.c src/pg/verdict.h
EXTRA_DIST += src/pg/README.md
PG_LIBS = libpg.a $(LIBPQ_LIBS) $(LIBCRYPTO_LIBS)

# The tests start themselves again below with_postgres.sh, which runs a private server for them.
dist_check_SCRIPTS += tests/unit/with_postgres.sh
if HAVE_CHECK
PG_TEST_SOURCES = tests/unit/loop.c tests/unit/loop.h tests/unit/pg_fixture.c tests/unit/pg_fixture.h
PG_TEST_LIBS = $(PG_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
check_PROGRAMS += tests/unit/test_pg_feed tests/unit/test_pg_loss tests/unit/test_pg_migrate tests/unit/test_pg_pool tests/unit/test_pg_resolver \
  tests/unit/test_pg_truth
TESTS += tests/unit/test_pg_feed tests/unit/test_pg_loss tests/unit/test_pg_migrate tests/unit/test_pg_pool tests/unit/test_pg_resolver \
  tests/unit/test_pg_truth
tests_unit_test_pg_feed_SOURCES = tests/unit/test_pg_feed.c tests/unit/feed_fixture.c tests/unit/feed_fixture.h \
  tests/unit/feed_gaps.c $(PG_TEST_SOURCES)
tests_unit_test_pg_feed_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_pg_feed_LDADD = $(PG_TEST_LIBS)
tests_unit_test_pg_loss_SOURCES = tests/unit/test_pg_loss.c $(PG_TEST_SOURCES)
tests_unit_test_pg_loss_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_pg_loss_LDADD = $(PG_TEST_LIBS)
tests_unit_test_pg_migrate_SOURCES = tests/unit/test_pg_migrate.c $(PG_TEST_SOURCES)
tests_unit_test_pg_migrate_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_pg_migrate_LDADD = $(PG_TEST_LIBS)
tests_unit_test_pg_pool_SOURCES = tests/unit/test_pg_pool.c $(PG_TEST_SOURCES)
tests_unit_test_pg_pool_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_pg_pool_LDADD = $(PG_TEST_LIBS)
tests_unit_test_pg_resolver_SOURCES = tests/unit/test_pg_resolver.c $(PG_TEST_SOURCES)
tests_unit_test_pg_resolver_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_pg_resolver_LDADD = $(PG_TEST_LIBS)
tests_unit_test_pg_truth_SOURCES = tests/unit/test_pg_truth.c $(PG_TEST_SOURCES)
tests_unit_test_pg_truth_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_pg_truth_LDADD = $(PG_TEST_LIBS)
endif
