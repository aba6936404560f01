# What bench-mail stands between turnoutd and smtp-sink, and what it compares with: built with the tests, never installed.
check_PROGRAMS += tests/bench/smtp/relay tests/bench/smtp/fresh
tests_bench_smtp_relay_SOURCES = tests/bench/smtp/relay.c
tests_bench_smtp_relay_LDADD = $(BASE_LIBS) $(LIBSSL_LIBS) $(LIBCRYPTO_LIBS)
tests_bench_smtp_fresh_SOURCES = tests/bench/smtp/fresh.c
tests_bench_smtp_fresh_LDADD = $(BASE_LIBS) $(LIBCURL_LIBS)
