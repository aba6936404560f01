noinst_LIBRARIES += librefresher.a
librefresher_a_SOURCES = src/refresher/refresher.c src/refresher/refresher.h
EXTRA_DIST += src/refresher/README.md
REFRESHER_LIBS = librefresher.a $(ZLIB_LIBS) $(BROTLI_LIBS)
