noinst_LIBRARIES += libredis.a
libredis_a_SOURCES = src/redis/circuit.c src/redis/circuit.h src/redis/store.h
EXTRA_DIST += src/redis/README.md
REDIS_LIBS = libredis.a $(HIREDIS_LIBS) $(XXHASH_LIBS)
