# The load generator: built with the tests, never installed.
check_PROGRAMS += tests/bench/load/load
tests_bench_load_load_SOURCES = tests/bench/load/client.c tests/bench/load/client.h tests/bench/load/histogram.c \
  tests/bench/load/histogram.h tests/bench/load/kind.c tests/bench/load/kind.h tests/bench/load/load.c \
  tests/bench/load/mix.c tests/bench/load/mix.h tests/bench/load/options.c tests/bench/load/options.h \
  tests/bench/load/report.c tests/bench/load/report.h tests/bench/load/retry.c tests/bench/load/retry.h
tests_bench_load_load_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/bench/load
tests_bench_load_load_LDADD = $(LLHTTP_ARCHIVE) $(LLHTTP_LIBS) $(JANSSON_LIBS) $(BASE_LIBS) -lm
EXTRA_DIST += tests/bench/load/README.md tests/bench/load/everyday.mix

if HAVE_CHECK
check_PROGRAMS += tests/unit/test_histogram
TESTS += tests/unit/test_histogram
tests_unit_test_histogram_SOURCES = tests/unit/test_histogram.c tests/bench/load/histogram.c
tests_unit_test_histogram_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/bench/load
tests_unit_test_histogram_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_histogram_LDADD = $(BASE_LIBS) $(UNIT_LIBS) -lm
endif
