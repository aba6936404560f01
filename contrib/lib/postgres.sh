# postgres: a private PostgreSQL below the state folder: its own data, its own socket folder, no TCP. Sourced; account.sh has
# chosen STATE and SERVICE_USER. Run as the service user; whoever can enter the state folder can connect (trust), nobody else.
# shellcheck shell=bash

POSTGRES_PORT=5432 # part of the socket's name; nothing listens on it
DATABASE=turnout
ROLE_OWNER=turnout_owner
ROLE_APP=turnout_app

postgres_running() {
    as_service "$(postgres_programs)/pg_ctl" -D "$STATE/postgresql" status >/dev/null 2>&1
}

# A quarter of the memory, between 128 MB and 1 GB.
shared_buffers_megabytes() {
    local kilobytes megabytes
    kilobytes=$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
    megabytes=$((kilobytes / 4096))
    if [ $megabytes -lt 128 ]; then megabytes=128; fi
    if [ $megabytes -gt 1024 ]; then megabytes=1024; fi
    echo $megabytes
}

# Made beside its place and moved there whole: an interrupted initdb leaves nothing that looks like a cluster.
postgres_create() {
    local programs
    programs=$(postgres_programs)
    [ ! -f "$STATE/postgresql/PG_VERSION" ] || return 0
    as_service rm -rf "$STATE/postgresql.new" "$STATE/postgresql"
    as_service mkdir -p -m 0700 "$STATE/sockets" "$STATE/log"
    as_service "$programs/initdb" -D "$STATE/postgresql.new" -U postgres -E UTF8 --locale=C.UTF-8 --auth=trust
    as_service tee -a "$STATE/postgresql.new/postgresql.conf" >/dev/null <<END
# turnout's quickstart
listen_addresses = ''
port = $POSTGRES_PORT
unix_socket_directories = '${STATE//\'/\'\'}/sockets'
unix_socket_permissions = 0700
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = $(shared_buffers_megabytes)MB
max_connections = 200
max_wal_size = 2GB
random_page_cost = 1.1
log_line_prefix = '%m [%p] %a '
log_lock_waits = on
timezone = 'UTC'
END
    as_service mv "$STATE/postgresql.new" "$STATE/postgresql"
}

postgres_start() {
    if postgres_running; then
        return 0
    fi
    # pg_ctl gives the server a session of its own: Ctrl-C here does not reach it.
    if ! as_service "$(postgres_programs)/pg_ctl" -D "$STATE/postgresql" -l "$STATE/log/postgresql.log" -w -t 60 start 9>&-; then
        as_service tail -n 20 "$STATE/log/postgresql.log"
        return 1
    fi
}

postgres_stop() {
    if [ -f "$STATE/postgresql/PG_VERSION" ] && postgres_running; then
        as_service "$(postgres_programs)/pg_ctl" -D "$STATE/postgresql" -m fast -w -t 60 stop
    fi
}

# psql as ROLE on DATABASE: sql ROLE DATABASE ARGUMENT...
sql() {
    local role=$1 database=$2
    shift 2
    psql -X -q -v ON_ERROR_STOP=1 -h "$STATE/sockets" -p $POSTGRES_PORT -U "$role" -d "$database" "$@"
}

# The two roles and the database, each only where it is missing.
postgres_prepare() {
    sql postgres postgres <<END
select format('create role %I login', role)
from unnest(array['$ROLE_OWNER', '$ROLE_APP']) as role
where role not in (select rolname from pg_roles) \gexec
select 'create database $DATABASE owner $ROLE_OWNER'
where '$DATABASE' not in (select datname from pg_database) \gexec
END
}

# Whether there is an event already; then no demo data is loaded.
postgres_has_events() {
    [ "$(sql $ROLE_OWNER $DATABASE -At -c 'select exists (select from turnout.events)')" = t ]
}

postgres_load_demo() {
    sql $ROLE_OWNER $DATABASE -f "$SOURCE/contrib/demo/load.sql"
}
