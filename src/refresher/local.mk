noinst_LIBRARIES += librefresher.a
librefresher_a_SOURCES = src/refresher/bodies.c src/refresher/bodies.h src/refresher/coherence.c \
  src/refresher/coherence.h src/refresher/directory.c src/refresher/directory.h src/refresher/page.c \
  src/refresher/page.h src/refresher/refresher.c src/refresher/refresher.h src/refresher/schedule.c \
  src/refresher/schedule.h
EXTRA_DIST += src/refresher/README.md
REFRESHER_LIBS = librefresher.a $(ZLIB_LIBS) $(BROTLI_LIBS)
