noinst_LIBRARIES += libscheduler.a
libscheduler_a_SOURCES = src/scheduler/scheduler.c src/scheduler/scheduler.h
EXTRA_DIST += src/scheduler/README.md
