noinst_LIBRARIES += libpg.a
libpg_a_SOURCES = src/pg/connection.c src/pg/connection.h src/pg/dsn.c src/pg/dsn.h src/pg/entry.c src/pg/entry.h \
  src/pg/fleet.c src/pg/fleet.h src/pg/migrate.c src/pg/migrate.h src/pg/outage.c src/pg/outage.h src/pg/pool.c \
  src/pg/pool.h src/pg/resolver.c src/pg/resolver.h src/pg/session.c src/pg/session.h src/pg/sql_files.c \
  src/pg/sql_files.h src/pg/verdict.c src/pg/verdict.h
EXTRA_DIST += src/pg/README.md
PG_LIBS = libpg.a $(LIBPQ_LIBS) $(LIBCRYPTO_LIBS)

# The tests start themselves again below with_postgres.sh, which runs a private server for them.
dist_check_SCRIPTS += tests/unit/with_postgres.sh
if HAVE_CHECK
check_PROGRAMS += tests/unit/test_pg_pool
TESTS += tests/unit/test_pg_pool
tests_unit_test_pg_pool_SOURCES = tests/unit/test_pg_pool.c tests/unit/pg_fixture.c tests/unit/pg_fixture.h
tests_unit_test_pg_pool_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_pg_pool_LDADD = $(PG_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
endif
