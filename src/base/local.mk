noinst_LIBRARIES += libbase.a
libbase_a_SOURCES = src/base/arena.c src/base/arena.h src/base/buffer.c src/base/buffer.h src/base/child.c src/base/child.h src/base/child_report.c src/base/clock.c \
  src/base/clock.h src/base/configuration.c src/base/configuration.h src/base/log.c src/base/log.h src/base/message.c \
  src/base/message.h src/base/network.c src/base/network.h src/base/object.c src/base/object.h src/base/option.c src/base/option.h src/base/packed.c \
  src/base/packed.h src/base/pieces.c src/base/pieces.h src/base/resolver.c src/base/resolver.h src/base/secret.c src/base/secret.h src/base/text.c src/base/text.h src/base/title.c src/base/title.h src/base/uuid.c src/base/uuid.h
EXTRA_DIST += src/base/README.md
BASE_LIBS = libbase.a $(LIBEVENT_LIBS) $(MSGPACK_LIBS) $(INIH_LIBS) $(JEMALLOC_LIBS)

if HAVE_CHECK
check_PROGRAMS += tests/unit/test_base tests/unit/test_configuration tests/unit/test_network tests/unit/test_pieces
TESTS += tests/unit/test_base tests/unit/test_configuration tests/unit/test_network tests/unit/test_pieces
tests_unit_test_base_SOURCES = tests/unit/test_base.c
tests_unit_test_base_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_base_LDADD = $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_configuration_SOURCES = tests/unit/test_configuration.c
tests_unit_test_configuration_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_configuration_LDADD = $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_network_SOURCES = tests/unit/test_network.c
tests_unit_test_network_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_network_LDADD = $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_pieces_SOURCES = tests/unit/test_pieces.c
tests_unit_test_pieces_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_pieces_LDADD = $(BASE_LIBS) $(UNIT_LIBS)
endif
