#!/bin/sh
# run: has spin look at every order of steps of the models in this folder. Each must hold as it is, and must fail with any one of the
# fences and guards taken out that it lists as "#define NAME NUMBER": else the model would prove nothing. contrib/check runs it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Goes through all states; prints what was found, if anything was.
explore() {
    (cd "$folder/$1" && WITHOUT=$2 ./pan -m100000 >output 2>&1) || true # it leaves the way to an error where it is
    # Out of memory, or of depth, is not through all of them.
    if grep -qE 'out of memory|max search depth too small|aborting' "$folder/$1/output"; then echo "gave up"; fi
    grep -oE 'assertion violated .*|invalid end state \(.*' "$folder/$1/output" || true
    grep -q 'errors:' "$folder/$1/output" || echo "did not run"
}

check_model() {
    name=$1
    mkdir "$folder/$name"
    (cd "$folder/$name" && spin -a "$here/$name.pml" >spin.log && gcc -O1 -w -DSAFETY -DCOLLAPSE -DMEMLIM=1000 -o pan pan.c) || {
        echo "$name: cannot be built"
        return 1
    }
    found=$(explore "$name" 0)
    if [ -n "$found" ]; then
        echo "$name: fails: $found"
        return 1
    fi
    echo "$name: holds ($(grep -oE '[0-9.e+]+ states, stored' "$folder/$name/output"))"
    status=0
    sed -n 's/^#define \([A-Z_]*\) *\([0-9]*\) *\/\*.*/\1 \2/p' "$here/$name.pml" >"$folder/$name/guards"
    while read -r guard number; do
        found=$(explore "$name" "$number")
        case $found in
        assertion* | invalid*) echo "$name without $guard: $found" ;;
        *)
            echo "$name without $guard: nothing fails ($found)"
            status=1
            ;;
        esac
    done <"$folder/$name/guards"
    return $status
}

check_model pins >"$folder/pins.log" 2>&1 &
pins=$!
status=0
check_model buckets || status=1
check_model coherence || status=1
wait $pins || status=1
cat "$folder/pins.log"
exit $status
