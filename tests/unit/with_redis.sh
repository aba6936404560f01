#!/bin/sh
# Runs a command with all that it needs to start a private Redis: on a Unix socket in a folder of its own, with a password, without
# TCP. Ends and removes what is left of it, whatever became of the command, and exits as the command did.
#
# For the command: TURNOUT_TEST_REDIS is the folder (redis.sock, password, pid, dump.rdb when saved), and TURNOUT_TEST_REDIS_START
# a shell command line that starts the server. The pid is written by that, not by the server, which does it some time after its start:
# it would be left behind where the command ends before.
set -eu

server=$(command -v redis-server || true)
if [ -z "$server" ]; then
    echo "with_redis.sh: no redis-server found; skipped" >&2
    exit 77 # automake: skipped
fi

# Short, as the path of a Unix socket ends at 107 bytes.
folder=$(mktemp -d /tmp/turnout-redis.XXXXXX)
clean_up() {
    trap - EXIT INT TERM HUP
    if [ -s "$folder/pid" ]; then
        # a frozen one, too
        kill -KILL "$(cat "$folder/pid")" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'clean_up; exit 130' INT TERM HUP

umask 077
echo "a password with spaces" >"$folder/password"
cat >"$folder/redis.conf" <<END
port 0
unixsocket $folder/redis.sock
unixsocketperm 700
requirepass "a password with spaces"
dir $folder
logfile $folder/log
daemonize no
save ""
appendonly no
enable-debug-command yes
END

TURNOUT_TEST_REDIS=$folder
# In a session of its own: check ends the process group of each test, and the number of a process that is gone may be another's.
TURNOUT_TEST_REDIS_START="setsid $server $folder/redis.conf >/dev/null 2>&1 </dev/null & echo \$! >$folder/pid"
export TURNOUT_TEST_REDIS TURNOUT_TEST_REDIS_START
status=0
"$@" || status=$?
exit "$status"
