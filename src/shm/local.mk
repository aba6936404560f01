noinst_LIBRARIES += libshm.a
libshm_a_SOURCES = src/shm/buckets.c src/shm/buckets.h src/shm/hot_floors.c src/shm/hot_floors.h src/shm/hot_index.c src/shm/hot_index.h \
  src/shm/hot_layout.h src/shm/hot_open.c src/shm/hot_open.h src/shm/hot_read.c src/shm/hot_read.h \
  src/shm/hot_segments.c src/shm/hot_segments.h src/shm/hot_write.c src/shm/hot_write.h src/shm/region.c \
  src/shm/region.h src/shm/statistics.c src/shm/statistics.h src/shm/statistics_page.h src/shm/statistics_read.c \
  src/shm/statistics_read.h src/shm/statistics_table.h src/shm/usage.c src/shm/usage.h
EXTRA_DIST += src/shm/README.md docs/metrics.md

if HAVE_CHECK
check_PROGRAMS += tests/unit/test_buckets tests/unit/test_buckets_crowd tests/unit/test_statistics tests/unit/test_hot tests/unit/test_hot_room tests/unit/test_hot_deaths \
  tests/unit/test_hot_steps tests/unit/test_hot_torture
TESTS += tests/unit/test_buckets tests/unit/test_buckets_crowd tests/unit/test_statistics tests/unit/test_hot tests/unit/test_hot_room tests/unit/test_hot_deaths \
  tests/unit/test_hot_steps tests/unit/test_hot_torture
tests_unit_test_buckets_SOURCES = tests/unit/test_buckets.c
tests_unit_test_buckets_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_buckets_LDADD = libshm.a $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_buckets_crowd_SOURCES = tests/unit/test_buckets_crowd.c src/shm/buckets.c
tests_unit_test_buckets_crowd_CPPFLAGS = $(AM_CPPFLAGS) -DBUCKETS_SETS=1
tests_unit_test_buckets_crowd_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_buckets_crowd_LDADD = $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_statistics_SOURCES = tests/unit/test_statistics.c
tests_unit_test_statistics_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_statistics_LDADD = libshm.a $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_hot_SOURCES = tests/unit/test_hot.c tests/unit/hot_rig.c tests/unit/hot_rig.h
tests_unit_test_hot_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_hot_LDADD = libshm.a $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_hot_room_SOURCES = tests/unit/test_hot_room.c tests/unit/hot_rig.c tests/unit/hot_rig.h
tests_unit_test_hot_room_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_hot_room_LDADD = libshm.a $(BASE_LIBS) $(UNIT_LIBS) -lm
tests_unit_test_hot_deaths_SOURCES = tests/unit/test_hot_deaths.c tests/unit/hot_rig.c tests/unit/hot_rig.h
tests_unit_test_hot_deaths_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_hot_deaths_LDADD = libshm.a $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_hot_steps_SOURCES = tests/unit/test_hot_steps.c tests/unit/hot_rig.c tests/unit/hot_rig.h
tests_unit_test_hot_steps_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_hot_steps_LDADD = libshm.a $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_hot_torture_SOURCES = tests/unit/test_hot_torture.c
tests_unit_test_hot_torture_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_hot_torture_LDADD = libshm.a $(BASE_LIBS) $(UNIT_LIBS)
endif
