noinst_LIBRARIES += libregistration.a
libregistration_a_SOURCES = src/registration/busy.c src/registration/busy.h src/registration/batch.c src/registration/batch.h \
  src/registration/engine.c src/registration/engine.h src/registration/order.h
EXTRA_DIST += src/registration/README.md
