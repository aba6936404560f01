noinst_LIBRARIES += libhttp.a
libhttp_a_SOURCES = src/http/body.c src/http/body.h src/http/connection.c src/http/connection.h src/http/exchange.h \
  src/http/forwarded.c src/http/forwarded.h src/http/guard.c src/http/guard.h \
  src/http/intake.c src/http/intake.h src/http/parser.c src/http/parser.h \
  src/http/problem.c src/http/problem.h src/http/query.c src/http/query.h src/http/relief.c src/http/relief.h src/http/repeat.c src/http/repeat.h \
  src/http/request.c src/http/request.h src/http/response.c src/http/router.c src/http/router.h src/http/server.c src/http/server.h \
  src/http/server_internal.h src/http/turn.c src/http/turn.h
EXTRA_DIST += src/http/README.md docs/problems.md

# llhttp where the system has no library of it: three sources of one line, made in the build folder. Automake would put
# the objects of absolute sources beside these, into a system folder.
if LLHTTP_FROM_SOURCES
noinst_LIBRARIES += libllhttp.a
libllhttp_a_SOURCES =
nodist_libllhttp_a_SOURCES = src/http/llhttp_api.c src/http/llhttp_http.c src/http/llhttp_llhttp.c
libllhttp_a_CFLAGS = $(AM_CFLAGS) -w
LLHTTP_ARCHIVE = libllhttp.a
CLEANFILES += $(nodist_libllhttp_a_SOURCES)
src/http/llhttp_api.c src/http/llhttp_http.c src/http/llhttp_llhttp.c: Makefile
	$(AM_V_GEN)$(MKDIR_P) src/http && name=`basename $@ .c` && \
	  printf '#include "%s/%s.c"\n' '$(LLHTTP_SOURCES)' "$${name#llhttp_}" > $@
else
LLHTTP_ARCHIVE =
endif
# What links src/http; libbase.a and its libraries follow.
HTTP_LIBS = libhttp.a $(LLHTTP_ARCHIVE) $(LLHTTP_LIBS) $(JANSSON_LIBS)

if HAVE_CHECK
HTTP_RIG = tests/unit/http_rig.c tests/unit/http_rig.h
HTTP_TESTS = tests/unit/test_body tests/unit/test_connection tests/unit/test_guard tests/unit/test_hit_path \
  tests/unit/test_http_faults tests/unit/test_intake tests/unit/test_problem tests/unit/test_relief \
  tests/unit/test_repeat tests/unit/test_router tests/unit/test_server tests/unit/test_shared_answer tests/unit/test_turn
check_PROGRAMS += $(HTTP_TESTS)
TESTS += $(HTTP_TESTS)
tests_unit_test_body_SOURCES = tests/unit/test_body.c
tests_unit_test_body_CFLAGS = $(UNIT_CFLAGS) -DTURNOUT_SOURCE_DIR='"$(abs_top_srcdir)"'
tests_unit_test_body_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_connection_SOURCES = tests/unit/test_connection.c $(HTTP_RIG)
tests_unit_test_connection_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_connection_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_guard_SOURCES = tests/unit/test_guard.c
tests_unit_test_guard_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_guard_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_hit_path_SOURCES = tests/unit/test_hit_path.c $(HTTP_RIG)
tests_unit_test_hit_path_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_hit_path_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc \
  -Wl,--wrap=read -Wl,--wrap=send -Wl,--wrap=sendmsg
tests_unit_test_hit_path_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_http_faults_SOURCES = tests/unit/test_http_faults.c $(HTTP_RIG)
tests_unit_test_http_faults_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_http_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=accept4 -Wl,--wrap=read -Wl,--wrap=send -Wl,--wrap=sendmsg
tests_unit_test_http_faults_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_intake_SOURCES = tests/unit/test_intake.c $(HTTP_RIG)
tests_unit_test_intake_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_intake_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_problem_SOURCES = tests/unit/test_problem.c $(HTTP_RIG)
tests_unit_test_problem_CFLAGS = $(UNIT_CFLAGS) -DTURNOUT_SOURCE_DIR='"$(abs_top_srcdir)"'
tests_unit_test_problem_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_router_SOURCES = tests/unit/test_router.c
tests_unit_test_router_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_router_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_relief_SOURCES = tests/unit/test_relief.c $(HTTP_RIG)
tests_unit_test_relief_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_relief_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_repeat_SOURCES = tests/unit/test_repeat.c $(HTTP_RIG)
tests_unit_test_repeat_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repeat_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_turn_SOURCES = tests/unit/test_turn.c $(HTTP_RIG)
tests_unit_test_turn_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_turn_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_server_SOURCES = tests/unit/test_server.c $(HTTP_RIG)
tests_unit_test_server_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_server_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_shared_answer_SOURCES = tests/unit/test_shared_answer.c $(HTTP_RIG)
tests_unit_test_shared_answer_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_shared_answer_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
endif
