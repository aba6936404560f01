#!/bin/sh
# lists: lists that stand in two places are the same. sql/local.mk names every migration and rule, and nothing else, or an installed
# turnoutctl would migrate without one; conf/local.mk names every template of a mail; the README says of every package that contrib
# installs what it is for.
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

there=$(find conf/templates -name '*.subject' -o -name '*.txt' -o -name '*.html' | LC_ALL=C sort)
listed=$(grep -o 'conf/templates/[a-z]*/[a-z_]*\.[a-z]*' conf/local.mk | LC_ALL=C sort)
if [ "$there" != "$listed" ]; then
    echo "conf/local.mk and the templates below conf/templates differ (> is missing in the list):"
    printf '%s\n' "$listed" >"${TMPDIR:-/tmp}/lists.$$"
    printf '%s\n' "$there" | diff "${TMPDIR:-/tmp}/lists.$$" - || true
    rm -f "${TMPDIR:-/tmp}/lists.$$"
    exit 1
fi

packages=$(sed -n '/^PACKAGES_[A-Z]*=(/,/^)/p' contrib/lib/packages.sh | sed 's/^PACKAGES_[A-Z]*=(//; s/^)//; s/#.*//')
unexplained=
for package in $packages; do
    grep -q "\`$package\`" README.md || unexplained="$unexplained $package"
done
if [ -n "$unexplained" ]; then
    echo "README.md does not say what these packages are for:$unexplained"
    exit 1
fi

# The threat model names files that do what it says, and tests that hold it.
model=$(sed -n '/^## Threat model/,$p' src/README.md)
[ -n "$model" ] || { echo "src/README.md has no threat model"; exit 1; }
missing=
for path in $(printf '%s\n' "$model" | grep -o '`[a-z]*/[A-Za-z0-9_./]*\.\(c\|h\|py\|service\)`' | tr -d '`'); do
    case $path in
    system/* | unit/* | fuzz/*) path=tests/$path ;;
    conf/*) ;;
    *) path=src/$path ;;
    esac
    [ -f "$path" ] || missing="$missing $path"
done
if [ -n "$missing" ]; then
    echo "src/README.md: the threat model names files that are not there:$missing"
    exit 1
fi
