noinst_LIBRARIES += libmaster.a
libmaster_a_SOURCES = src/master/check.c src/master/control.c src/master/control.h \
  src/master/control_cache.c src/master/control_cache.h src/master/control_client.h src/master/control_show.c \
  src/master/control_show.h src/master/control_wait.c src/master/handover.c src/master/handover.h \
  src/master/hot_cache.c src/master/hot_cache.h src/master/listener.c src/master/listener.h \
  src/master/master.c src/master/master.h src/master/process.c src/master/process.h src/master/process_table.h \
  src/master/process_talk.c src/master/reload.c src/master/reload.h src/master/service.c src/master/service.h \
  src/master/tally.c src/master/tally.h
EXTRA_DIST += src/master/README.md

sbin_PROGRAMS += turnoutd
# memory.c stands here and not in libbase.a: it is for the daemon, and counts only where it is linked for certain.
turnoutd_SOURCES = src/turnoutd.c src/base/memory.c
turnoutd_LDADD = libmaster.a libworker.a $(REFRESHER_LIBS) $(MAILER_LIBS) libscheduler.a libapi.a libregistration.a \
  $(MAIL_LIBS) libhttp.a libidentity.a libpg.a libcontrol.a libshm.a libbase.a \
  $(LLHTTP_ARCHIVE) $(LLHTTP_LIBS) $(LIBPQ_LIBS) $(JANSSON_LIBS) $(LIBCRYPTO_LIBS) $(LIBEVENT_LIBS) $(MSGPACK_LIBS) \
  $(INIH_LIBS) $(XXHASH_LIBS) $(JEMALLOC_LIBS)
