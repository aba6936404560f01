noinst_LIBRARIES += libmail.a
libmail_a_SOURCES = src/mail/calendar.c src/mail/calendar.h src/mail/calendar_zone.c src/mail/calendar_zone.h \
  src/mail/letter.c src/mail/letter.h src/mail/letters.c src/mail/letters.h src/mail/local_time.c src/mail/local_time.h \
  src/mail/mime.c src/mail/mime.h src/mail/template.c src/mail/template.h src/mail/zone.c src/mail/zone.h
EXTRA_DIST += src/mail/README.md
MAIL_LIBS = libmail.a $(LIBICAL_LIBS) $(JANSSON_LIBS)

if HAVE_CHECK
check_PROGRAMS += tests/unit/test_calendar
TESTS += tests/unit/test_calendar
tests_unit_test_calendar_SOURCES = tests/unit/test_calendar.c
tests_unit_test_calendar_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_calendar_LDADD = $(MAIL_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
endif
