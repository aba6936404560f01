# results: adds up what automake's test driver, libcheck and pytest counted. Sourced by check; COUNTS is the file of the part that
# runs: lines of `pass N`, `fail N` and `skip REASON`.
# shellcheck shell=bash

count() {
    if [ "$2" -gt 0 ]; then
        printf '%s %s\n' "$1" "$2" >>"$COUNTS"
    fi
}

count_skipped() {
    printf 'skip %s\n' "$1" >>"$COUNTS"
}

sum_of() {
    awk -v kind="$1" '$1 == kind { sum += $2 } END { print sum + 0 }' "$2"
}

# Equal reasons once, with how often.
print_skipped() {
    sed -n 's/^skip /skipped: /p' "$1" | sort | uniq -c | sed 's/^ *\([0-9]*\) \(.*\)/\2 (\1)/; s/ (1)$//'
}

# count_trs_files FOLDER: automake leaves a .trs and a .log for each test program. A libcheck program says in its log how many of
# its cases passed; one that failed without saying so (a crash, a sanitizer) counts as one failure.
count_trs_files() {
    local trs result name totals checks failures
    while IFS= read -r trs; do
        result=$(sed -n 's/^:test-result: \([A-Z]*\).*/\1/p' "$trs" | head -n 1)
        name=${trs#"$1"/}
        name=${name%.trs}
        totals=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/p' "${trs%.trs}.log" |
            awk '{ checks += $1; failures += $2 + $3 } END { if (NR > 0) print checks, failures }')
        if [ "$result" = SKIP ]; then
            count_skipped "$name: $(grep -v '^SKIP ' "${trs%.trs}.log" | tail -n 1)"
            continue
        fi
        checks=1 failures=0
        if [ -n "$totals" ]; then
            read -r checks failures <<<"$totals"
        fi
        if [ "$result" != PASS ] && [ "$failures" -eq 0 ]; then
            failures=1
            if [ -z "$totals" ]; then checks=1; else checks=$((checks + 1)); fi
        fi
        count pass $((checks - failures))
        count fail "$failures"
    done < <(find "$1" -name '*.trs' | sort)
}

# count_junit FILE: pytest's report.
count_junit() {
    [ -s "$1" ] || return 0
    /usr/bin/python3 - "$1" >>"$COUNTS" <<'END'
import sys
import xml.etree.ElementTree as tree

passed = failed = 0
for case in tree.parse(sys.argv[1]).iter("testcase"):
    skipped = case.find("skipped")
    if case.find("failure") is not None or case.find("error") is not None:
        failed += 1
    elif skipped is not None:
        print("skip", f"{case.get('classname').split('.')[-1]}: {skipped.get('message')}".replace("\n", " "))
    else:
        passed += 1
print(f"pass {passed}")
if failed:
    print(f"fail {failed}")
END
}
