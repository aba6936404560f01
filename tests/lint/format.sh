#!/bin/sh
# format: every C file looks as .clang-format says. Skips, saying so, where clang-format is missing or of another major
# version: they differ in what they make of the same file. First the check is tested on itself.
# Runs with `make check`; srcdir is the source. To format a file: clang-format -i FILE.
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"
program=${CLANG_FORMAT:-clang-format}
version=14
skipped=77 # automake's exit status for a test that did not run

if [ "$program" = no ] || ! command -v "$program" >/dev/null 2>&1; then
    echo "skipped: clang-format is missing (apt-get install clang-format-$version)"
    exit $skipped
fi
if ! "$program" --version | grep -q "version $version\."; then
    echo "skipped: clang-format $version is wanted, and this is: $("$program" --version)"
    exit $skipped
fi

# From standard input, as if it stood in src.
check_text() {
    "$program" --dry-run -Werror --assume-filename=src/sample.c
}
printf 'int twice(int number)\n{\n    return 2 * number;\n}\n' | check_text || {
    echo "self-test: a well-formatted sample is refused"
    exit 1
}
if printf 'int twice( int number ) {\n  return 2*number; }\n' | check_text 2>/dev/null; then
    echo "self-test: a badly formatted sample is not found"
    exit 1
fi

find src tests -name '*.[ch]' ! -path '*/corpus/*' -print | LC_ALL=C sort | xargs "$program" --dry-run -Werror
