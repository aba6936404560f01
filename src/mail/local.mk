noinst_LIBRARIES += libmail.a
libmail_a_SOURCES = src/mail/calendar.c src/mail/calendar.h src/mail/calendar_zone.c src/mail/calendar_zone.h \
  src/mail/letter.c src/mail/letter.h src/mail/letters.c src/mail/letters.h src/mail/local_time.c src/mail/local_time.h \
  src/mail/mime.c src/mail/mime.h src/mail/template.c src/mail/template.h src/mail/zone.c src/mail/zone.h
EXTRA_DIST += src/mail/README.md
MAIL_LIBS = libmail.a $(LIBICAL_LIBS) $(JANSSON_LIBS) $(LIBCRYPTO_LIBS)

# Writes messages for tests/system/test_mail_messages.py, which reads them with other programs.
check_PROGRAMS += tests/unit/letter_print
tests_unit_letter_print_SOURCES = tests/unit/letter_print.c
tests_unit_letter_print_LDADD = $(MAIL_LIBS) $(BASE_LIBS)

if HAVE_CHECK
MAIL_TESTS = tests/unit/test_calendar tests/unit/test_letter tests/unit/test_local_time tests/unit/test_template
check_PROGRAMS += $(MAIL_TESTS)
TESTS += $(MAIL_TESTS)
tests_unit_test_calendar_SOURCES = tests/unit/test_calendar.c
tests_unit_test_calendar_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_calendar_LDADD = $(MAIL_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_letter_SOURCES = tests/unit/test_letter.c
tests_unit_test_letter_CFLAGS = $(UNIT_CFLAGS) -DTURNOUT_SOURCE_DIR='"$(abs_top_srcdir)"'
tests_unit_test_letter_LDADD = $(MAIL_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_local_time_SOURCES = tests/unit/test_local_time.c
tests_unit_test_local_time_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_local_time_LDADD = $(MAIL_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_template_SOURCES = tests/unit/test_template.c
tests_unit_test_template_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_template_LDADD = $(MAIL_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
endif
