noinst_LIBRARIES += librefresher.a
librefresher_a_SOURCES = src/refresher/bodies.c src/refresher/bodies.h src/refresher/changes.c src/refresher/changes.h \
  src/refresher/coherence.c src/refresher/coherence.h src/refresher/commands.c src/refresher/commands.h \
  src/refresher/directory.c src/refresher/directory.h src/refresher/fills.c src/refresher/fills.h \
  src/refresher/item.c src/refresher/item.h \
  src/refresher/page.c src/refresher/page.h src/refresher/refresher.c src/refresher/refresher.h src/refresher/render.c \
  src/refresher/render.h src/refresher/rendering.c src/refresher/rendering.h src/refresher/schedule.c \
  src/refresher/schedule.h src/refresher/second.c src/refresher/second.h src/refresher/warm.c src/refresher/warm.h
EXTRA_DIST += src/refresher/README.md
REFRESHER_LIBS = librefresher.a $(ZLIB_LIBS) $(BROTLI_LIBS)
