#!/bin/sh
# lists: sql/local.mk names every migration and rule, and nothing else, or an installed turnoutctl would migrate without it.
# Runs with `make check`; srcdir is the source.
set -eu
cd "${srcdir:-.}"

there=$(find sql/schema sql/rules -name '*.sql' | LC_ALL=C sort)
listed=$(sed -n 's/^  \(sql\/[a-z]*\/[A-Za-z0-9_]*\.sql\).*/\1/p' sql/local.mk | LC_ALL=C sort)
if [ "$there" != "$listed" ]; then
    echo "sql/local.mk and the files below sql differ (> is missing in the list):"
    printf '%s\n' "$listed" >"${TMPDIR:-/tmp}/lists.$$"
    printf '%s\n' "$there" | diff "${TMPDIR:-/tmp}/lists.$$" - || true
    rm -f "${TMPDIR:-/tmp}/lists.$$"
    exit 1
fi
