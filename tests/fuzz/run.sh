#!/bin/sh
# run: one fuzz target for FUZZ_TIME seconds, from the folder of a build with --enable-fuzz. What it finds beyond the corpus
# stays in tests/fuzz/found of the build, what breaks the target in tests/fuzz/broken. Prints one line; where the target broke,
# also the end of its log. srcdir is the source; FUZZ_FLAGS are further options of libFuzzer.
set -u
target=$1
name=${target##*/fuzz_}
source=${srcdir:-.}/tests/fuzz
found=tests/fuzz/found/$name
log=tests/fuzz/$name.log
mkdir -p "$found" tests/fuzz/broken

set -- -max_total_time="${FUZZ_TIME:-60}" -timeout=20 -print_final_stats=1 -artifact_prefix="tests/fuzz/broken/$name-"
# A conversation is sent three times, once byte by byte: short ones find more in the same time.
[ "$name" = http ] && set -- "$@" -max_len=1024
[ -f "$source/dictionary/$name" ] && set -- "$@" -dict="$source/dictionary/$name"
# shellcheck disable=SC2086 # several options
set -- "$@" ${FUZZ_FLAGS:-} "$found" "$source/corpus/$name"
[ -d "$source/regression/$name" ] && set -- "$@" "$source/regression/$name"

nice -n 10 "./$target" "$@" >"$log" 2>&1
status=$?
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
# The last line of progress: "#4096 DONE cov: 900 ft: 2800 corp: 310/40Kb ..."
progress=$(sed -n 's/^#[0-9]*.*\(cov: [0-9]* ft: [0-9]* corp: [0-9]*\).*/\1/p' "$log" | tail -n 1)
counters=$(sed -n 's/.*(\([0-9]*\) inline 8-bit counters).*/\1/p' "$log" | head -n 1)
echo "$name: ${runs:-0} runs, $progress of ${counters:-0} edges$([ $status -eq 0 ] || echo ", BROKEN ($status)")"
[ $status -eq 0 ] || tail -n 60 "$log"
exit $status
