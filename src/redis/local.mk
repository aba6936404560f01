noinst_LIBRARIES += libredis.a
libredis_a_SOURCES = src/redis/call.c src/redis/call.h src/redis/circuit.c src/redis/circuit.h src/redis/connection.c src/redis/connection.h src/redis/envelope.c \
  src/redis/envelope.h src/redis/store.c src/redis/store.h
EXTRA_DIST += src/redis/README.md
REDIS_LIBS = libredis.a $(HIREDIS_LIBS) $(XXHASH_LIBS)
