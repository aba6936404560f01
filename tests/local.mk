# The folders as they are: their files carry no list. Unit tests are listed beside what they test, in src/*/local.mk.
EXTRA_DIST += tests/README.md tests/uncovered.py tests/lint tests/model tests/proof tests/system \
  tests/bench/README.md tests/bench/bench.py tests/bench/coherence.py tests/bench/durable.py tests/bench/hand_written.sql \
  tests/bench/hitrate.py tests/bench/list.py tests/bench/mail.py tests/bench/outbox_snapshot.py tests/bench/registrations.py tests/bench/reminders.py \
  tests/bench/rush.py

# Folders are copied with what the build has left in them; a .log of ours would make the check of the tarball believe that it has run.
dist-hook:
	find "$(distdir)" -name __pycache__ -prune -exec rm -rf {} +
	find "$(distdir)/tests" \( -name '*.log' -o -name '*.trs' \) -exec rm -f {} +

# Lint runs with `make check`, from the build folder; each script finds the source by $(srcdir).
LINTS = tests/lint/format.sh tests/lint/layout.sh tests/lint/lists.sh tests/lint/openapi.py
TESTS += $(LINTS)
TEST_EXTENSIONS = .py
PY_LOG_COMPILER = $(PYTHON3)
AM_TESTS_ENVIRONMENT = PYTHON3='$(PYTHON3)' CLANG_FORMAT='$(CLANG_FORMAT)' PYTHONDONTWRITEBYTECODE=1; \
  export PYTHON3 CLANG_FORMAT PYTHONDONTWRITEBYTECODE;

# Against the programs of this build, on a PostgreSQL that the tests start. PYTEST_FLAGS: -k, -x and the like.
check-system: all
	TURNOUT_BIN="$(abs_top_builddir)" PYTHONDONTWRITEBYTECODE=1 \
	  $(PYTHON3) -m pytest -p no:cacheprovider $(PYTEST_FLAGS) "$(srcdir)/tests/system"

# The long forms: the whole figures of what must hold (make proof), hours of everything at once (make soak, SOAK_SECONDS), and the
# comparison with other servers and other builds (make bench). Short forms of the first two are in the run.
PYTEST = TURNOUT_BIN="$(abs_top_builddir)" PYTHONDONTWRITEBYTECODE=1 $(PYTHON3) -m pytest -p no:cacheprovider $(PYTEST_FLAGS)
SOAK_SECONDS = 3600

proof: all $(check_PROGRAMS)
	TURNOUT_FULL=1 $(PYTEST) -m full "$(srcdir)/tests/system"

# Rounds of a minute with two hundred kills each; tests/proof/README.md has the options. A short form is in the run.
PROOF_FLAGS =

oversell-proof: all
	TURNOUT_BIN="$(abs_top_builddir)" PYTHONDONTWRITEBYTECODE=1 $(PYTHON3) "$(srcdir)/tests/proof/oversell.py" $(PROOF_FLAGS)

soak: all $(check_PROGRAMS)
	TURNOUT_SOAK=$(SOAK_SECONDS) $(PYTEST) "$(srcdir)/tests/system/test_soak.py"

# Each also by itself; BENCH_FLAGS are then its options. tests/bench/README.md says how to read them.
BENCHES = bench-list bench-coherence bench-hitrate bench-registrations bench-rush bench-outbox bench-mail bench-reminders bench-builds
BENCH = TURNOUT_BIN="$(abs_top_builddir)" PYTHONDONTWRITEBYTECODE=1 $(PYTHON3)

bench: $(BENCHES)

bench-list: all $(check_PROGRAMS)
	$(BENCH) "$(srcdir)/tests/bench/list.py" $(BENCH_FLAGS)

bench-coherence: all $(check_PROGRAMS)
	$(BENCH) "$(srcdir)/tests/bench/coherence.py" $(BENCH_FLAGS)

bench-hitrate: all $(check_PROGRAMS)
	$(BENCH) "$(srcdir)/tests/bench/hitrate.py" $(BENCH_FLAGS)

bench-registrations: all $(check_PROGRAMS)
	$(BENCH) "$(srcdir)/tests/bench/registrations.py" $(BENCH_FLAGS)

bench-rush: all $(check_PROGRAMS)
	$(BENCH) "$(srcdir)/tests/bench/rush.py" $(BENCH_FLAGS)

bench-outbox: all
	$(BENCH) "$(srcdir)/tests/bench/outbox_snapshot.py" $(BENCH_FLAGS)

bench-mail: all $(check_PROGRAMS)
	$(BENCH) "$(srcdir)/tests/bench/mail.py" $(BENCH_FLAGS)

bench-reminders: all
	$(BENCH) "$(srcdir)/tests/bench/reminders.py" $(BENCH_FLAGS)

bench-builds: all $(check_PROGRAMS)
	$(BENCH) "$(srcdir)/tests/bench/bench.py" $(BENCH_FLAGS)

# Which lines of src the unit and system tests run: a table, and coverage/uncovered.txt with the others. Tests that fail do not stop it.
if COVERAGE
coverage: all $(check_PROGRAMS)
	find . -name '*.gcda' -delete
	-$(MAKE) $(AM_MAKEFLAGS) check
	-$(PYTEST) -n 2 --dist loadfile -m 'not alone and not nosan' "$(srcdir)/tests/system"
	-$(PYTEST) -m 'alone and not nosan' "$(srcdir)/tests/system"
	$(MKDIR_P) coverage
	gcovr --root "$(srcdir)" --object-directory . --filter '.*/src/' --gcov-ignore-parse-errors --print-summary \
	  --txt coverage/table.txt --json coverage/lines.json
	cat coverage/table.txt
	$(PYTHON3) "$(srcdir)/tests/uncovered.py" "$(srcdir)" coverage/lines.json >coverage/uncovered.txt
	@echo 'Lines that no test ran: coverage/uncovered.txt'
else
coverage:
	@echo 'This build counts no lines: configure one with --enable-coverage (gcc; gcovr reads what it counts).' >&2; exit 1
endif

.PHONY: bench $(BENCHES) check-system coverage oversell-proof proof soak

include tests/bench/load/local.mk
include tests/bench/smtp/local.mk
