noinst_LIBRARIES += libcontrol.a
libcontrol_a_SOURCES = src/ctl/command.c src/ctl/command.h src/ctl/protocol.c src/ctl/protocol.h
EXTRA_DIST += src/ctl/README.md

bin_PROGRAMS += turnoutctl
turnoutctl_SOURCES = src/ctl/audit_command.c src/ctl/mail_command.c src/ctl/client.c src/ctl/csv.c src/ctl/csv.h src/ctl/import.c src/ctl/import.h \
  src/ctl/import_command.c src/ctl/migrate_command.c src/ctl/token_command.c src/ctl/turnoutctl.c src/ctl/turnoutctl.h src/ctl/users_import_command.c
turnoutctl_LDADD = libcontrol.a libpg.a libidentity.a libbase.a $(LIBPQ_LIBS) $(JANSSON_LIBS) $(LIBCRYPTO_LIBS) \
  $(LIBEVENT_LIBS) $(MSGPACK_LIBS) $(INIH_LIBS) $(JEMALLOC_LIBS)

if HAVE_CHECK
check_PROGRAMS += tests/unit/test_control_protocol tests/unit/test_csv
TESTS += tests/unit/test_control_protocol tests/unit/test_csv
tests_unit_test_control_protocol_SOURCES = tests/unit/test_control_protocol.c
tests_unit_test_control_protocol_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_control_protocol_LDADD = libcontrol.a $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_csv_SOURCES = tests/unit/test_csv.c src/ctl/csv.c
tests_unit_test_csv_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_csv_LDADD = $(BASE_LIBS) $(UNIT_LIBS)
endif
