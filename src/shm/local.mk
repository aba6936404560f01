noinst_LIBRARIES += libshm.a
libshm_a_SOURCES = src/shm/statistics.c src/shm/statistics.h src/shm/statistics_page.h src/shm/statistics_read.c \
  src/shm/statistics_read.h src/shm/statistics_table.h src/shm/usage.c src/shm/usage.h
EXTRA_DIST += src/shm/README.md
