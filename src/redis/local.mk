noinst_LIBRARIES += libredis.a
libredis_a_SOURCES = src/redis/call.c src/redis/call.h src/redis/circuit.c src/redis/circuit.h src/redis/connection.c src/redis/connection.h src/redis/envelope.c \
  src/redis/envelope.h src/redis/place.c src/redis/place.h src/redis/store.c src/redis/store.h
EXTRA_DIST += src/redis/README.md
REDIS_LIBS = libredis.a $(HIREDIS_LIBS) $(XXHASH_LIBS)

# The tests start themselves again below with_redis.sh, which runs a private server for them.
dist_check_SCRIPTS += tests/unit/with_redis.sh
if HAVE_CHECK
REDIS_TEST_SOURCES = tests/unit/loop.c tests/unit/loop.h tests/unit/redis_fixture.c tests/unit/redis_fixture.h
REDIS_TEST_LIBS = $(REDIS_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
check_PROGRAMS += tests/unit/test_redis_outage tests/unit/test_redis_parts tests/unit/test_redis_store
TESTS += tests/unit/test_redis_outage tests/unit/test_redis_parts tests/unit/test_redis_store
tests_unit_test_redis_parts_SOURCES = tests/unit/test_redis_parts.c tests/unit/loop.c tests/unit/loop.h
tests_unit_test_redis_parts_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_redis_parts_LDADD = $(REDIS_TEST_LIBS)
tests_unit_test_redis_outage_SOURCES = tests/unit/test_redis_outage.c $(REDIS_TEST_SOURCES)
tests_unit_test_redis_outage_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_redis_outage_LDADD = $(REDIS_TEST_LIBS)
tests_unit_test_redis_store_SOURCES = tests/unit/test_redis_store.c $(REDIS_TEST_SOURCES)
tests_unit_test_redis_store_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_redis_store_LDADD = $(REDIS_TEST_LIBS)
endif
