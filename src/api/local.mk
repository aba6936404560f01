noinst_LIBRARIES += libapi.a
libapi_a_SOURCES = src/api/answer.c src/api/answer.h src/api/api.h src/api/asks.c src/api/asks.h src/api/caller.c src/api/calendars.c src/api/caller.h \
  src/api/dashboard.c src/api/encodings.c src/api/encodings.h src/api/event_edits.c src/api/events.c src/api/feeds.c src/api/fill.h \
  src/api/health.c src/api/hot.c src/api/hot.h src/api/hot_key.c src/api/hot_key.h src/api/identity.c src/api/identity.h src/api/idempotency.c src/api/idempotency.h src/api/key_lane.c src/api/key_lane.h src/api/lane.c \
  src/api/lane.h src/api/limits.c src/api/limits.h src/api/members.c src/api/members.h src/api/metrics.c src/api/metrics.h src/api/openapi.c src/api/orders.c src/api/orders.h src/api/organizers.c \
  src/api/parameters.c src/api/parameters.h src/api/parked.c src/api/parked.h src/api/people.c src/api/people.h src/api/pool_metrics.c src/api/pool_metrics.h src/api/proxied.c src/api/proxied.h src/api/registration_list.c src/api/registrations.c \
  src/api/resources.h src/api/routes.c \
  src/api/statements.c src/api/statements.h src/api/transfer.c src/api/unsubscribe.c src/api/users.c src/api/write.c src/api/write.h
libapi_a_CPPFLAGS = $(AM_CPPFLAGS) -DTURNOUT_OPENAPI='"$(abs_top_srcdir)/src/api/openapi.json"'
EXTRA_DIST += src/api/README.md src/api/openapi.json
# .incbin is not seen by the compiler's dependency tracking
src/api/libapi_a-openapi.$(OBJEXT): $(top_srcdir)/src/api/openapi.json

if HAVE_CHECK
check_PROGRAMS += tests/unit/test_lane
TESTS += tests/unit/test_lane
tests_unit_test_lane_SOURCES = tests/unit/test_lane.c src/api/lane.c
tests_unit_test_lane_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_lane_LDADD = $(BASE_LIBS) $(XXHASH_LIBS) $(UNIT_LIBS)
check_PROGRAMS += tests/unit/test_hot_key
TESTS += tests/unit/test_hot_key
tests_unit_test_hot_key_SOURCES = tests/unit/test_hot_key.c src/api/hot_key.c
tests_unit_test_hot_key_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_hot_key_LDADD = libbase.a $(BASE_LIBS) $(UNIT_LIBS)

check_PROGRAMS += tests/unit/test_encodings
TESTS += tests/unit/test_encodings
tests_unit_test_encodings_SOURCES = tests/unit/test_encodings.c src/api/encodings.c
tests_unit_test_encodings_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_encodings_LDADD = $(UNIT_LIBS)
endif
