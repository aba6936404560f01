noinst_LIBRARIES += libshm.a
libshm_a_SOURCES = src/shm/statistics.c src/shm/statistics.h src/shm/statistics_page.h src/shm/statistics_read.c \
  src/shm/statistics_read.h src/shm/statistics_table.h src/shm/usage.c src/shm/usage.h
EXTRA_DIST += src/shm/README.md docs/metrics.md

if HAVE_CHECK
check_PROGRAMS += tests/unit/test_statistics
TESTS += tests/unit/test_statistics
tests_unit_test_statistics_SOURCES = tests/unit/test_statistics.c
tests_unit_test_statistics_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_statistics_LDADD = libshm.a $(BASE_LIBS) $(UNIT_LIBS)
endif
