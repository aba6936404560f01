# Fuzz targets. In a build with --enable-fuzz libFuzzer drives them (`make fuzz`); in every other they replay their corpus
# and what once broke them, as a part of `make check`.
EXTRA_DIST += tests/fuzz/README.md tests/fuzz/run.sh tests/fuzz/corpus tests/fuzz/dictionary tests/fuzz/regression
FUZZ_TARGETS = tests/fuzz/fuzz_address tests/fuzz/fuzz_body tests/fuzz/fuzz_configuration tests/fuzz/fuzz_control \
  tests/fuzz/fuzz_csv tests/fuzz/fuzz_cursor tests/fuzz/fuzz_envelope tests/fuzz/fuzz_http tests/fuzz/fuzz_idempotency tests/fuzz/fuzz_keys \
  tests/fuzz/fuzz_message tests/fuzz/fuzz_query tests/fuzz/fuzz_template tests/fuzz/fuzz_token
check_PROGRAMS += $(FUZZ_TARGETS)

if FUZZ
FUZZ_MAIN = tests/fuzz/target.h
LDFLAGS_FUZZ = $(AM_LDFLAGS) -fsanitize=fuzzer
else
FUZZ_MAIN = tests/fuzz/target.h tests/fuzz/replay.c
LDFLAGS_FUZZ = $(AM_LDFLAGS)
TESTS += $(FUZZ_TARGETS)
endif
CFLAGS_FUZZ = $(AM_CFLAGS) -DTURNOUT_SOURCE_DIR='"$(abs_top_srcdir)"'

tests_fuzz_fuzz_address_SOURCES = tests/fuzz/fuzz_address.c $(FUZZ_MAIN)
tests_fuzz_fuzz_address_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_address_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_address_LDADD = $(BASE_LIBS)
tests_fuzz_fuzz_body_SOURCES = tests/fuzz/fuzz_body.c $(FUZZ_MAIN)
tests_fuzz_fuzz_body_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_body_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_body_LDADD = $(HTTP_LIBS) $(BASE_LIBS)
tests_fuzz_fuzz_configuration_SOURCES = tests/fuzz/fuzz_configuration.c $(FUZZ_MAIN)
tests_fuzz_fuzz_configuration_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_configuration_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_configuration_LDADD = $(BASE_LIBS)
tests_fuzz_fuzz_control_SOURCES = tests/fuzz/fuzz_control.c $(FUZZ_MAIN)
tests_fuzz_fuzz_control_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_control_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_control_LDADD = libcontrol.a $(BASE_LIBS)
tests_fuzz_fuzz_csv_SOURCES = tests/fuzz/fuzz_csv.c src/ctl/csv.c $(FUZZ_MAIN)
tests_fuzz_fuzz_csv_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_csv_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_csv_LDADD = $(BASE_LIBS)
tests_fuzz_fuzz_cursor_SOURCES = tests/fuzz/fuzz_cursor.c $(FUZZ_MAIN)
tests_fuzz_fuzz_cursor_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_cursor_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_cursor_LDADD = $(IDENTITY_LIBS) $(BASE_LIBS)
tests_fuzz_fuzz_envelope_SOURCES = tests/fuzz/fuzz_envelope.c $(FUZZ_MAIN)
tests_fuzz_fuzz_envelope_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_envelope_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_envelope_LDADD = $(REDIS_LIBS) $(BASE_LIBS)
tests_fuzz_fuzz_http_SOURCES = tests/fuzz/fuzz_http.c $(FUZZ_MAIN)
tests_fuzz_fuzz_http_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_http_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_http_LDADD = $(HTTP_LIBS) $(BASE_LIBS)
tests_fuzz_fuzz_idempotency_SOURCES = tests/fuzz/fuzz_idempotency.c src/api/idempotency.c $(FUZZ_MAIN)
tests_fuzz_fuzz_idempotency_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_idempotency_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_idempotency_LDADD = $(HTTP_LIBS) $(BASE_LIBS) $(LIBCRYPTO_LIBS) $(XXHASH_LIBS)
tests_fuzz_fuzz_keys_SOURCES = tests/fuzz/fuzz_keys.c $(FUZZ_MAIN)
tests_fuzz_fuzz_keys_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_keys_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_keys_LDADD = $(IDENTITY_LIBS) $(BASE_LIBS)
tests_fuzz_fuzz_message_SOURCES = tests/fuzz/fuzz_message.c $(FUZZ_MAIN)
tests_fuzz_fuzz_message_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_message_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_message_LDADD = $(BASE_LIBS)
tests_fuzz_fuzz_query_SOURCES = tests/fuzz/fuzz_query.c src/api/parameters.c $(FUZZ_MAIN)
tests_fuzz_fuzz_query_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_query_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_query_LDADD = $(HTTP_LIBS) $(IDENTITY_LIBS) $(BASE_LIBS) $(LIBPQ_LIBS)
tests_fuzz_fuzz_template_SOURCES = tests/fuzz/fuzz_template.c $(FUZZ_MAIN)
tests_fuzz_fuzz_template_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_template_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_template_LDADD = $(MAIL_LIBS) $(BASE_LIBS)
tests_fuzz_fuzz_token_SOURCES = tests/fuzz/fuzz_token.c $(FUZZ_MAIN)
tests_fuzz_fuzz_token_CFLAGS = $(CFLAGS_FUZZ)
tests_fuzz_fuzz_token_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_token_LDADD = $(IDENTITY_LIBS) $(BASE_LIBS)

# Each target for FUZZ_TIME seconds, FUZZ_JOBS of them at once; FUZZ_ONLY="tests/fuzz/fuzz_http" for some; FUZZ_FLAGS for
# libFuzzer.
FUZZ_FLAGS =
FUZZ_TIME = 60
FUZZ_JOBS = 1
FUZZ_ONLY = $(FUZZ_TARGETS)
if FUZZ
fuzz: $(FUZZ_ONLY)
	printf '%s\n' $(FUZZ_ONLY) | FUZZ_TIME='$(FUZZ_TIME)' FUZZ_FLAGS='$(FUZZ_FLAGS)' srcdir='$(srcdir)' \
	  xargs -n 1 -P '$(FUZZ_JOBS)' sh '$(srcdir)/tests/fuzz/run.sh'
else
fuzz:
	@echo 'This build has no fuzzing: configure one with --enable-fuzz (it needs clang and libclang-rt-14-dev).' >&2; exit 1
endif

.PHONY: fuzz
