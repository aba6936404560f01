noinst_LIBRARIES += libregistration.a
libregistration_a_SOURCES = src/registration/busy.c src/registration/busy.h src/registration/batch.c src/registration/batch.h \
  src/registration/engine.c src/registration/engine.h src/registration/order.h
EXTRA_DIST += src/registration/README.md

if HAVE_CHECK
check_PROGRAMS += tests/unit/test_busy
TESTS += tests/unit/test_busy
check_PROGRAMS += tests/unit/test_engine
TESTS += tests/unit/test_engine
tests_unit_test_engine_SOURCES = tests/unit/test_engine.c tests/unit/engine_rig.c tests/unit/engine_rig.h
tests_unit_test_engine_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_engine_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=clock_monotonic -Wl,--wrap=event_new -Wl,--wrap=event_add \
  -Wl,--wrap=pg_pool_submit -Wl,--wrap=pg_pool_statistics
tests_unit_test_engine_LDADD = $(tests_unit_test_busy_LDADD)
tests_unit_test_busy_SOURCES = tests/unit/test_busy.c
tests_unit_test_busy_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_busy_LDADD = libregistration.a libpg.a $(BASE_LIBS) $(LIBPQ_LIBS) $(LIBCRYPTO_LIBS) $(XXHASH_LIBS) $(UNIT_LIBS)
endif
