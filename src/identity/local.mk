noinst_LIBRARIES += libidentity.a
libidentity_a_SOURCES = src/identity/base64url.c src/identity/base64url.h src/identity/claim.c \
  src/identity/claim.h src/identity/cursor.c src/identity/cursor.h \
  src/identity/jwk.c src/identity/jwk.h src/identity/key.c src/identity/key.h src/identity/key_file.c \
  src/identity/key_file.h src/identity/key_set.c \
  src/identity/key_set.h src/identity/link_token.c src/identity/link_token.h src/identity/memo.c \
  src/identity/memo.h src/identity/seal.c src/identity/seal.h src/identity/token.h src/identity/token_sign.c \
  src/identity/token_signature.c src/identity/token_verify.c
EXTRA_DIST += src/identity/README.md
IDENTITY_LIBS = libidentity.a $(JANSSON_LIBS) $(LIBCRYPTO_LIBS)

if HAVE_CHECK
check_PROGRAMS += tests/unit/test_claims tests/unit/test_cursor tests/unit/test_jws_vectors tests/unit/test_key_file tests/unit/test_key_set tests/unit/test_link_token \
  tests/unit/test_memo tests/unit/test_token
TESTS += tests/unit/test_claims tests/unit/test_cursor tests/unit/test_jws_vectors tests/unit/test_key_file tests/unit/test_key_set tests/unit/test_link_token \
  tests/unit/test_memo tests/unit/test_token
tests_unit_test_claims_SOURCES = tests/unit/test_claims.c tests/unit/identity_keys.c tests/unit/identity_keys.h
tests_unit_test_claims_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_claims_LDADD = $(IDENTITY_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_cursor_SOURCES = tests/unit/test_cursor.c
tests_unit_test_cursor_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_cursor_LDADD = $(IDENTITY_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_jws_vectors_SOURCES = tests/unit/test_jws_vectors.c
tests_unit_test_jws_vectors_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_jws_vectors_CPPFLAGS = $(AM_CPPFLAGS) -DTURNOUT_SOURCE_DIR='"$(abs_top_srcdir)"'
tests_unit_test_jws_vectors_LDADD = $(IDENTITY_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_key_file_SOURCES = tests/unit/test_key_file.c tests/unit/identity_keys.c tests/unit/identity_keys.h
tests_unit_test_key_file_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_key_file_LDADD = $(IDENTITY_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_key_set_SOURCES = tests/unit/test_key_set.c tests/unit/identity_keys.c tests/unit/identity_keys.h
tests_unit_test_key_set_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_key_set_LDADD = $(IDENTITY_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_link_token_SOURCES = tests/unit/test_link_token.c
tests_unit_test_link_token_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_link_token_LDADD = $(IDENTITY_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_memo_SOURCES = tests/unit/test_memo.c
tests_unit_test_memo_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_memo_LDADD = $(IDENTITY_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
tests_unit_test_token_SOURCES = tests/unit/test_token.c tests/unit/identity_keys.c tests/unit/identity_keys.h
tests_unit_test_token_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_token_LDADD = $(IDENTITY_LIBS) $(BASE_LIBS) $(UNIT_LIBS)
endif
