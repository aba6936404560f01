noinst_LIBRARIES += librefresher.a
librefresher_a_SOURCES = src/refresher/bodies.c src/refresher/bodies.h src/refresher/changes.c src/refresher/changes.h \
  src/refresher/coherence.c src/refresher/coherence.h src/refresher/commands.c src/refresher/commands.h \
  src/refresher/directory.c src/refresher/directory.h src/refresher/fills.c src/refresher/fills.h \
  src/refresher/item.c src/refresher/item.h \
  src/refresher/page.c src/refresher/page.h src/refresher/refresher.c src/refresher/refresher.h src/refresher/render.c \
  src/refresher/render.h src/refresher/rendering.c src/refresher/rendering.h src/refresher/schedule.c \
  src/refresher/schedule.h src/refresher/second.c src/refresher/second.h src/refresher/warm.c src/refresher/warm.h
EXTRA_DIST += src/refresher/README.md
REFRESHER_LIBS = librefresher.a $(REDIS_LIBS) $(MAIL_LIBS) $(ZLIB_LIBS) $(BROTLI_LIBS)

if HAVE_CHECK
REFRESHER_TEST_LIBS = $(REFRESHER_LIBS) libapi.a libidentity.a libpg.a libshm.a $(BASE_LIBS) $(LIBPQ_LIBS) \
  $(LIBCRYPTO_LIBS) $(JANSSON_LIBS) $(XXHASH_LIBS) $(UNIT_LIBS)
check_PROGRAMS += tests/unit/test_refresher_books tests/unit/test_render
TESTS += tests/unit/test_refresher_books tests/unit/test_render
tests_unit_test_refresher_books_SOURCES = tests/unit/test_refresher_books.c
tests_unit_test_refresher_books_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_refresher_books_LDADD = $(REFRESHER_TEST_LIBS) -lbrotlidec
# it plays the pool itself
tests_unit_test_render_SOURCES = tests/unit/test_render.c
tests_unit_test_render_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_render_LDADD = $(REFRESHER_TEST_LIBS)
endif
