# redis: a private Redis below the state folder: a socket beside PostgreSQL's, a password, no TCP, and nothing on disk, as all that
# is in it can be made again. Sourced; account.sh has chosen STATE and SERVICE_USER. Run as the service user.
# shellcheck shell=bash

redis_configure() {
    # quoted as redis.conf wants it
    local state=${STATE//\\/\\\\}
    state=${state//\"/\\\"}
    as_service mkdir -p -m 0700 "$STATE/secrets" "$STATE/sockets" "$STATE/log"
    make_secret "$STATE/secrets/redis.password" openssl rand -hex 24
    as_service sh -c 'umask 077 && cat >"$1"' sh "$STATE/redis.conf" <<END
# Written by contrib/quickstart at each start.
port 0
unixsocket "$state/sockets/redis.sock"
unixsocketperm 700
requirepass $(as_service cat "$STATE/secrets/redis.password")
daemonize yes
pidfile "$state/redis.pid"
logfile "$state/log/redis.log"
dir "$state"
save ""
appendonly no
maxmemory 64mb
maxmemory-policy allkeys-lru
END
}

# redis_say COMMAND...: the password goes by the environment, where nobody else reads it.
redis_say() {
    REDISCLI_AUTH=$(as_service cat "$STATE/secrets/redis.password") timeout 10 redis-cli -s "$STATE/sockets/redis.sock" "$@"
}

redis_answers() {
    [ "$(redis_say ping 2>/dev/null)" = PONG ]
}

redis_start() {
    redis_configure
    if redis_answers; then
        return 0
    fi
    as_service redis-server "$STATE/redis.conf" 9>&-
    if ! wait_until 30 redis_answers; then
        as_service tail -n 20 "$STATE/log/redis.log"
        return 1
    fi
}

# The pid of our Redis; 1 when there is none. The number alone may long be somebody else's.
redis_pid() {
    local pid
    pid=$(as_service cat "$STATE/redis.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
    as_service tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$STATE/sockets/redis.sock" || return 1
    echo "$pid"
}

redis_stop() {
    local pid
    pid=$(redis_pid) || return 0
    as_service kill -TERM "$pid" || true
    if ! wait_until 10 process_is_gone "$pid"; then
        as_service kill -KILL "$pid"
        wait_until 5 process_is_gone "$pid"
    fi
    as_service rm -f "$STATE/redis.pid" "$STATE/sockets/redis.sock"
}
