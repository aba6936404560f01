noinst_LIBRARIES += libmailer.a
libmailer_a_SOURCES = src/mailer/mailer.c src/mailer/mailer.h src/mailer/outage.c src/mailer/outage.h \
  src/mailer/smtp.h src/mailer/stream.c src/mailer/stream.h src/mailer/stream_outbox.c src/mailer/stream_state.h \
  src/mailer/tally.c src/mailer/tally.h
EXTRA_DIST += src/mailer/README.md

if HAVE_CHECK
check_PROGRAMS += tests/unit/test_stream
TESTS += tests/unit/test_stream
# it holds the stream itself, in a time of its own, and plays PostgreSQL and the SMTP server
tests_unit_test_stream_SOURCES = tests/unit/test_stream.c
tests_unit_test_stream_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_stream_LDADD = libapi.a libpg.a libshm.a $(BASE_LIBS) $(LIBPQ_LIBS) $(JANSSON_LIBS) $(UNIT_LIBS)
endif
