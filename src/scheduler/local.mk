noinst_LIBRARIES += libscheduler.a
libscheduler_a_SOURCES = src/scheduler/audit.c src/scheduler/audit.h src/scheduler/scheduler.c src/scheduler/scheduler.h
EXTRA_DIST += src/scheduler/README.md
