# daemon: turnoutd of a quickstart: its keys, its configuration, its start and its end. Sourced; account.sh has chosen STATE and
# SERVICE_USER, and quickstart FOLDER (D), PORT and INTERNAL_PORT.
# shellcheck shell=bash

CONTROL_NAME=sockets/control.sock

daemon_program() {
    as_service "$STATE/programs/bin/$1" -c "$STATE/turnout.conf" "${@:2}"
}

# A port is free when it can be bound. Perl is part of every Debian; /proc/net/tcp would not know about other namespaces' rules.
port_is_free() {
    as_service perl -MSocket -e '
        socket(my $socket, PF_INET, SOCK_STREAM, 0) or exit 1;
        setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1);
        exit !bind($socket, sockaddr_in($ARGV[0], INADDR_LOOPBACK));' "$1"
}

# The first free port from $1 on, other than $2.
port_pick() {
    local port
    for ((port = $1; port < $1 + 200 && port < 65536; port++)); do
        if [ "$port" != "${2:-}" ] && port_is_free "$port"; then
            echo "$port"
            return 0
        fi
    done
    return 1
}

# make_secret FILE COMMAND...: writes the command's output into a new file that only the service user reads.
make_secret() {
    local file=$1
    shift
    as_service test ! -s "$file" || return 0
    "$@" | as_service sh -c 'umask 077 && cat >"$1.new" && mv "$1.new" "$1"' sh "$file"
}

jwk_set() {
    local key
    key=$(openssl rand 32 | base64 -w 0 | tr '+/' '-_' | tr -d =)
    printf '{"keys":[{"kty":"oct","kid":"quickstart","use":"sig","alg":"HS256","k":"%s"}]}\n' "$key"
}

daemon_keys() {
    as_service mkdir -p -m 0700 "$STATE/secrets" "$STATE/sockets" "$STATE/log"
    make_secret "$STATE/secrets/jwks.json" jwk_set
    make_secret "$STATE/secrets/cursor.key" openssl rand -hex 32
}

# A value of a libpq connection string.
dsn_value() {
    local value=${1//\\/\\\\}
    printf "'%s'" "${value//\'/\\\'}"
}

# Where mail goes: the private server, which keeps it, or the one that was named with --smtp; nowhere with --smtp off.
mail_options() {
    if [ -z "$SMTP" ]; then
        echo "smtp_url = smtp://127.0.0.1:$SMTP_PORT"
        echo "smtp_tls = off"
    elif [ "$SMTP" != off ]; then
        echo "smtp_url = $SMTP"
        echo "smtp_tls = try"
    fi
}

daemon_configure() {
    local host
    host=$(dsn_value "$STATE/sockets")
    as_service tee "$STATE/turnout.conf" >/dev/null <<END
# Written by contrib/quickstart at each start. conf/turnout.conf of the source explains every option.
listen = 127.0.0.1:$PORT
internal_listen = 127.0.0.1:$INTERNAL_PORT
control_socket = $STATE/$CONTROL_NAME
workers = $WORKERS
database = host=$host port=$POSTGRES_PORT dbname=$DATABASE user=$ROLE_APP
database_owner = host=$host port=$POSTGRES_PORT dbname=$DATABASE user=$ROLE_OWNER
sql_directory = $STATE/programs/share/turnout/sql
template_directory = $STATE/programs/share/turnout/templates
jwt_keys_file = $STATE/secrets/jwks.json
cursor_key_file = $STATE/secrets/cursor.key
public_url = http://127.0.0.1:$PORT
mail_from = turnout <turnout@example.com>
$(mail_options)
$(if [ "$REDIS" = yes ]; then echo "redis_socket = $STATE/sockets/redis.sock"; fi)
$(if [ "$REDIS" = yes ]; then echo "redis_password_file = $STATE/secrets/redis.password"; fi)
END
    as_person ln -sfn "$STATE/turnout.conf" "$FOLDER/turnout.conf"
    as_service "$STATE/programs/bin/turnoutd" --check-config -c "$STATE/turnout.conf"
}

daemon_migrate() {
    daemon_program turnoutctl migrate
}

# The pid of our turnoutd; 1 when there is none. The number alone may long be somebody else's.
daemon_pid() {
    local pid
    pid=$(as_service cat "$STATE/turnoutd.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
    case $(as_service readlink "/proc/$pid/exe") in
    "$STATE"/programs/bin/turnoutd*) echo "$pid" ;;
    *) return 1 ;;
    esac
}

# In a session of its own, so that Ctrl-C reaches only this script, which then stops it in order.
daemon_start() {
    local log=$STATE/log/turnoutd.log
    as_service rm -f "$STATE/turnoutd.pid"
    as_service setsid --fork sh -c 'echo $$ >"$1" && exec "$2" -c "$3" >>"$4" 2>&1 </dev/null' sh \
        "$STATE/turnoutd.pid" "$STATE/programs/bin/turnoutd" "$STATE/turnout.conf" "$log" 9>&-
    wait_until 10 as_service test -s "$STATE/turnoutd.pid"
    if ! wait_until 60 daemon_ready_or_gone || ! daemon_is_ready; then
        echo "turnoutd did not become ready; its log, $log, ends so:"
        as_service tail -n 20 "$log"
        echo "and /readyz says: $(curl -sS -m 5 "http://127.0.0.1:$INTERNAL_PORT/readyz" 2>&1)"
        return 1
    fi
}

daemon_is_ready() {
    curl -fs -m 5 -o /dev/null "http://127.0.0.1:$INTERNAL_PORT/readyz"
}

daemon_ready_or_gone() {
    daemon_is_ready || ! daemon_pid >/dev/null
}

process_is_gone() {
    [ ! -e "/proc/$1" ] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

# Whoever follows the log sees by the missing pid file that this was on purpose.
daemon_stop() {
    local pid
    pid=$(daemon_pid) || return 0
    as_service rm -f "$STATE/turnoutd.pid"
    daemon_program turnoutctl stop || as_service kill -TERM "$pid" || true
    if ! wait_until 40 process_is_gone "$pid"; then
        as_service kill -KILL "$pid"
        wait_until 5 process_is_gone "$pid"
    fi
}

# daemon_token EMAIL ROLE: prints a token that lasts a month.
daemon_token() {
    daemon_program turnoutctl token --email "$1" --role "$2" --ttl 30d
}
