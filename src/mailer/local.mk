noinst_LIBRARIES += libmailer.a
libmailer_a_SOURCES = src/mailer/mailer.c src/mailer/mailer.h src/mailer/outage.c src/mailer/outage.h \
  src/mailer/smtp.c src/mailer/smtp.h src/mailer/smtp_lane.c src/mailer/smtp_lane.h src/mailer/smtp_settings.c src/mailer/smtp_settings.h src/mailer/stream.c src/mailer/stream.h src/mailer/stream_outbox.c src/mailer/stream_state.h \
  src/mailer/tally.c src/mailer/tally.h src/mailer/verdict.c src/mailer/verdict.h
EXTRA_DIST += src/mailer/README.md
MAILER_LIBS = libmailer.a $(LIBCURL_LIBS)

if HAVE_CHECK
check_PROGRAMS += tests/unit/test_stream tests/unit/test_verdict
TESTS += tests/unit/test_stream tests/unit/test_verdict
# it holds the stream itself, in a time of its own, and plays PostgreSQL and the SMTP server
tests_unit_test_stream_SOURCES = tests/unit/test_stream.c
tests_unit_test_stream_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_stream_LDADD = libapi.a libpg.a libidentity.a $(LIBCRYPTO_LIBS) libshm.a $(BASE_LIBS) $(LIBPQ_LIBS) $(JANSSON_LIBS) $(UNIT_LIBS)
tests_unit_test_verdict_SOURCES = tests/unit/test_verdict.c
tests_unit_test_verdict_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_verdict_LDADD = $(MAILER_LIBS) libapi.a libpg.a libshm.a $(BASE_LIBS) $(LIBPQ_LIBS) $(JANSSON_LIBS) $(UNIT_LIBS)
endif
