# progress: what quickstart and check say while they work: one line a step, with its seconds; on failure the step's name,
# the end of its log and the log's path. Sourced; the caller sets LOGS, the folder of the logs.
# shellcheck shell=bash

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Seconds since START (an $EPOCHREALTIME), with one decimal.
seconds_since() {
    local now=$EPOCHREALTIME
    local tenths=$(((${now/[.,]/} - ${1/[.,]/}) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

show_log_end() {
    local log=$1 lines=${2:-20}
    if [ -s "$log" ]; then
        say "    the end of $log:"
        tail -n "$lines" "$log" | sed 's/^/    | /'
    else
        say "    it wrote nothing to its log, $log"
    fi
}

# step TITLE LOGNAME COMMAND...: runs the command with its output in a log. The command runs in a subshell with -e, so that a
# function stops at its first failure; what it assigns is lost.
step() {
    local title=$1 log=$LOGS/$2.log started=$EPOCHREALTIME status
    shift 2
    printf '  %-46s ' "$title"
    # As root in somebody's folder: a log of theirs must not be left behind with root as its owner, nor one of root's block them.
    rm -f "$log"
    set +e
    (
        set -e
        "$@"
    ) >"$log" 2>&1 </dev/null
    status=$?
    set -e
    if [ $status -ne 0 ]; then
        say "FAILED after $(seconds_since "$started") s (exit status $status)"
        show_log_end "$log"
        fail "this step failed: $title"
    fi
    say "$(seconds_since "$started") s"
}

# The same for a command that reports its own progress on standard output: shown, and kept in the log.
step_shown() {
    local title=$1 log=$LOGS/$2.log started=$EPOCHREALTIME status
    shift 2
    printf '  %s\n' "$title"
    rm -f "$log"
    set +e
    (
        set -e
        "$@"
    ) 2>&1 </dev/null | tee "$log" | sed -u 's/^/    /'
    status=${PIPESTATUS[0]}
    set -e
    if [ "$status" -ne 0 ]; then
        say "  FAILED after $(seconds_since "$started") s (exit status $status); the whole log: $log"
        fail "this step failed: $title"
    fi
    printf '  %-46s %s\n' "$title: done" "$(seconds_since "$started") s"
}

# wait_until SECONDS COMMAND...: asks again until the command succeeds; 1 when the time is over.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.1
    done
}
