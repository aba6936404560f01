# account: who does what. Started by an ordinary user, everything is theirs. Started by root, the servers run as an ordinary user:
# the one who called sudo, else the system user `postgres` (initdb refuses root, and no server of ours needs it). Sourced.
# shellcheck shell=bash

# Sets SERVICE_USER (runs PostgreSQL, Redis and turnoutd, owns their data) and PERSON (owns the state folder and reads D/env).
account_choose() {
    PERSON=$(id -un)
    SERVICE_USER=$PERSON
    if [ "$(id -u)" -eq 0 ]; then
        if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] && id "$SUDO_USER" >/dev/null 2>&1; then
            PERSON=$SUDO_USER
            SERVICE_USER=$SUDO_USER
        else
            SERVICE_USER=postgres
        fi
    fi
}

# as_user NAME COMMAND...: the command in place of a subshell, so that $! of a background call is the command's own pid.
as_user() {
    local name=$1 home
    shift
    if [ "$(id -un)" = "$name" ]; then
        "$@"
        return
    fi
    home=$(getent passwd "$name" | cut -d: -f6)
    setpriv --reuid="$name" --regid="$(id -g "$name")" --init-groups \
        env HOME="$home" USER="$name" LOGNAME="$name" "$@"
}

as_service() {
    as_user "$SERVICE_USER" "$@"
}

as_person() {
    as_user "$PERSON" "$@"
}

# Whoever may write the source builds, so that a clone of somebody's gets no files of root's.
as_builder() {
    if as_person test -w "$SOURCE"; then
        as_person "$@"
    else
        "$@"
    fi
}

# Unix socket paths end at 107 bytes; the longest of ours below the state folder is "/sockets/.s.PGSQL.5432".
STATE_LENGTH_MAX=80

# state_choose D: sets STATE, where the servers' data, sockets and programs live: a 0700 folder of the service user's own. D/state,
# where that user can reach it and socket paths below it are short enough; else one outside of D, named after it. Made when missing;
# D/place remembers it.
state_choose() {
    local folder=$1
    STATE=$folder/state
    if [ ${#STATE} -gt $STATE_LENGTH_MAX ] || ! as_service test -x "$folder/."; then
        STATE=turnout-$(printf '%s' "$folder" | sha256sum | cut -c1-8)
        # Not the temporary folder proper: data must survive a boot.
        if [ "$(id -u)" -eq 0 ]; then STATE=/var/lib/$STATE; else STATE=/var/tmp/$STATE; fi
    fi
    if [ ! -d "$STATE" ] && [ "$(id -u)" -eq 0 ]; then
        install -d -m 0700 -o "$SERVICE_USER" -g "$(id -g "$SERVICE_USER")" "$STATE"
    elif [ ! -d "$STATE" ]; then
        mkdir -m 0700 "$STATE"
    fi
    state_check
    as_person sh -c 'printf "%s\n" "$2" >"$1/place"' sh "$folder" "$STATE"
}

# Outside of D somebody else may have made a folder of that name first.
state_check() {
    if [ -L "$STATE" ] || [ "$(stat -c '%U %a' "$STATE")" != "$SERVICE_USER 700" ]; then
        fail "$STATE is not a folder of $SERVICE_USER alone (mode 0700); whose is it?"
    fi
}

# state_find D: sets STATE to that of an earlier run; 1 when there is none. Root takes the servers' user from it.
state_find() {
    STATE=
    [ -r "$1/place" ] && STATE=$(cat "$1/place") && [ -n "$STATE" ] && [ -d "$STATE" ] || return 1
    if [ "$(id -u)" -eq 0 ] && [ "$(stat -c %U "$STATE")" != root ]; then
        SERVICE_USER=$(stat -c %U "$STATE")
    fi
    state_check
}
