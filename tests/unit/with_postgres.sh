#!/bin/sh
# Starts a private PostgreSQL on a Unix socket, runs a command with PGHOST, PGUSER and PGDATABASE set for it, stops and
# removes it, whatever became of the command, and exits as the command did.
#
# For the command: TURNOUT_TEST_PGDATA is the data folder, and $TURNOUT_TEST_PG_CTL the start of a shell command line for
# pg_ctl with the right user and folder. Roles: postgres (trusted), and with_password, who needs one. initdb refuses root, so
# root starts the server as postgres.
set -eu

bin=${PG_BIN:-}
if [ -z "$bin" ]; then
    for each in /usr/lib/postgresql/*/bin /usr/local/pgsql/bin; do
        [ -x "$each/initdb" ] && bin=$each
    done
fi
if [ -z "$bin" ]; then
    echo "with_postgres.sh: no PostgreSQL server found; skipped" >&2
    exit 77 # automake: skipped
fi

# Short, as the path of a Unix socket ends at 107 bytes, and not below a home, which other users can't enter.
folder=$(mktemp -d /tmp/turnout-pg.XXXXXX)
as_user=
if [ "$(id -u)" -eq 0 ]; then
    as_user="runuser -u postgres --"
    chown postgres: "$folder"
fi

began_in=$PWD
cd "$folder"
clean_up() {
    trap - EXIT INT TERM HUP
    $as_user "$bin/pg_ctl" -D "$folder/data" stop -m immediate -s >/dev/null 2>&1 || true
    cd /
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'clean_up; exit 130' INT TERM HUP

TURNOUT_TEST_PGDATA=$folder/data
# from a folder that the server's user may enter, wherever the command stands
TURNOUT_TEST_PG_CTL="cd $folder && $as_user $bin/pg_ctl -D $folder/data -l $folder/log -s -w"
if ! $as_user "$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$folder/initdb" 2>&1
then
    cat "$folder/initdb" >&2
    exit 1
fi
cat >>"$folder/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$folder'
max_connections = 40
shared_buffers = 16MB
log_min_messages = warning
restart_after_crash = on
END
{
    echo "local all with_password scram-sha-256"
    echo "local all all trust"
} >"$folder/hba"
cat "$folder/hba" >"$folder/data/pg_hba.conf"
if ! eval "$TURNOUT_TEST_PG_CTL start" >/dev/null; then
    cat "$folder/log" >&2
    exit 1
fi

PGHOST=$folder PGUSER=postgres PGDATABASE=postgres PGPORT=5432
export PGHOST PGUSER PGDATABASE PGPORT TURNOUT_TEST_PGDATA TURNOUT_TEST_PG_CTL
cd "$began_in"
status=0
"$@" || status=$?
exit "$status"
