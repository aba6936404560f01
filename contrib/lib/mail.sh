# mail: a private SMTP server below the state folder, which keeps every message as a file and sends none on: aiosmtpd with its
# Mailbox handler, on 127.0.0.1. Sourced; account.sh has chosen STATE and SERVICE_USER, and quickstart FOLDER, SMTP_PORT. Run as
# the service user.
# shellcheck shell=bash

# The pid of ours; 1 when there is none. The number alone may long be somebody else's.
mail_pid() {
    local pid
    pid=$(as_service cat "$STATE/mail.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
    as_service tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "aiosmtpd" || return 1
    as_service tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$STATE/mail" || return 1
    echo "$pid"
}

mail_answers() {
    as_service perl -MIO::Socket::INET -e '
        my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ARGV[0], Timeout => 5) or exit 1;
        exit(<$socket> =~ /^220 / ? 0 : 1);' "$SMTP_PORT"
}

# The port of the one that runs; nothing where none does.
mail_port() {
    mail_pid >/dev/null && as_service cat "$STATE/mail.port"
}

mail_start() {
    if mail_pid >/dev/null && mail_answers; then
        return 0
    fi
    mail_stop
    as_service mkdir -p -m 0700 "$STATE/log"
    echo "$SMTP_PORT" | as_service tee "$STATE/mail.port" >/dev/null
    as_service rm -f "$STATE/mail.pid"
    as_service setsid --fork sh -c 'echo $$ >"$1" && exec /usr/bin/python3 -m aiosmtpd -n -c aiosmtpd.handlers.Mailbox \
        -l "127.0.0.1:$2" "$3" >>"$4" 2>&1 </dev/null' sh "$STATE/mail.pid" "$SMTP_PORT" "$STATE/mail" "$STATE/log/mail.log" 9>&-
    if ! wait_until 30 mail_answers; then
        as_service tail -n 20 "$STATE/log/mail.log"
        return 1
    fi
}

mail_stop() {
    local pid
    pid=$(mail_pid) || return 0
    as_service kill -TERM "$pid" || true
    if ! wait_until 10 process_is_gone "$pid"; then
        as_service kill -KILL "$pid"
        wait_until 5 process_is_gone "$pid"
    fi
    as_service rm -f "$STATE/mail.pid"
}
