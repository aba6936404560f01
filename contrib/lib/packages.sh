# packages: which Debian packages turnout needs, and how the missing ones are installed. Sourced by quickstart and check.
# The README says what each one is for; a test holds it against these lists.
# shellcheck shell=bash

# To build turnout and to run it.
PACKAGES_RUN=(
    gcc libc6-dev make autoconf automake pkg-config
    libevent-dev libpq-dev libjansson-dev libmsgpack-dev libinih-dev libssl-dev libxxhash-dev libjemalloc-dev node-llhttp
    zlib1g-dev libbrotli-dev libhiredis-dev libical-dev libcurl4-openssl-dev
    openssl curl ca-certificates tzdata
)

# The Redis of quickstart (not with --no-redis) and of the tests.
PACKAGES_REDIS=(
    redis-server
)

# The SMTP server of quickstart (not with --smtp) and of the tests.
PACKAGES_MAIL=(
    python3 python3-aiosmtpd
)

# To test it, beside those.
PACKAGES_TEST=(
    check clang libclang-rt-14-dev clang-format shellcheck mandoc xz-utils
    python3 python3-pytest python3-pytest-xdist python3-psycopg python3-yaml python3-icalendar
    nginx-light prometheus logrotate systemd
    strace slowhttptest gcovr spin
)

# The folder of initdb and pg_ctl of the newest PostgreSQL that is new enough; nothing when there is none.
postgres_programs() {
    local folder version newest=14 found=
    for folder in /usr/lib/postgresql/*/bin; do
        version=${folder#/usr/lib/postgresql/}
        version=${version%/bin}
        if [ -x "$folder/initdb" ] && [ "$version" -gt "$newest" ] 2>/dev/null; then
            newest=$version
            found=$folder
        fi
    done
    printf '%s' "$found"
}

# Those of the named packages that are not installed, one a line.
packages_missing() {
    local package
    for package in "$@"; do
        # One line an architecture.
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s\n' "$package"
    done
}

as_administrator() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

apt_install() {
    as_administrator env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"
}

# Lists that are missing or too old name versions that are gone: then they are fetched, and it is tried once more.
apt_install_fresh() {
    apt_install "$@" && return 0
    as_administrator apt-get -o DPkg::Lock::Timeout=120 update
    apt_install "$@"
}

# Some packages start a service as soon as they are installed, and at each boot after it: PostgreSQL (Debian makes a cluster on
# port 5432), redis-server (6379), nginx (80), prometheus (9090; only its promtool is used). Quickstart and the tests start what
# they need, private and by themselves, so those would only be in the way: while packages are installed no cluster is made and no
# service is started, after it these settings are as before, and the services that came with it are not started at boot either.
CLUSTER_SETTINGS=/etc/postgresql-common/createcluster.conf
START_POLICY=/usr/sbin/policy-rc.d
START_POLICY_MADE=no
SERVICES=(nginx prometheus redis-server)

# Runs in a subshell of its own (step), so the trap puts things back also when it is interrupted.
services_hold() {
    trap services_release EXIT
    if [ ! -e $START_POLICY ]; then
        START_POLICY_MADE=yes
        printf '#!/bin/sh\nexit 101\n' | as_administrator tee $START_POLICY >/dev/null
        as_administrator chmod 0755 $START_POLICY
    fi
}

services_release() {
    if [ -e $CLUSTER_SETTINGS.turnout ]; then
        as_administrator mv $CLUSTER_SETTINGS.turnout $CLUSTER_SETTINGS
    fi
    if [ $START_POLICY_MADE = yes ]; then
        as_administrator rm -f $START_POLICY
    fi
}

postgres_install() {
    services_hold
    apt_install_fresh postgresql-common
    as_administrator cp -p $CLUSTER_SETTINGS $CLUSTER_SETTINGS.turnout
    echo 'create_main_cluster = false' | as_administrator tee -a $CLUSTER_SETTINGS >/dev/null
    apt_install_fresh postgresql
}

services_enabled() {
    local service
    for service in "${SERVICES[@]}"; do
        if [ "$(systemctl is-enabled "$service.service" 2>/dev/null)" = enabled ]; then echo "$service"; fi
    done
}

# packages_install PACKAGE...: a service that was there before and starts at boot is somebody's, and stays as it is.
packages_install() {
    local before service
    before=$(services_enabled)
    services_hold
    apt_install_fresh "$@"
    for service in $(services_enabled); do
        if ! grep -qx "$service" <<<"$before"; then
            as_administrator systemctl disable "$service.service"
        fi
    done
}

# packages_ensure PACKAGE...: installs what is missing of them, and a PostgreSQL server where there is none. Says what it does.
packages_ensure() {
    local missing=() need_postgres=no
    mapfile -t missing < <(packages_missing "$@")
    [ -n "$(postgres_programs)" ] || need_postgres=yes
    if [ ${#missing[@]} -eq 0 ] && [ $need_postgres = no ]; then
        return 0
    fi
    command -v apt-get >/dev/null ||
        fail "these are missing and there is no apt-get to install them with: ${missing[*]} (and PostgreSQL 15 or newer: $need_postgres)"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "to install ${missing[*]} run this as root, or install sudo"
        say "  installing packages needs root: asking sudo"
        sudo -v || fail "sudo refused; these are missing: ${missing[*]} (and PostgreSQL: $need_postgres)"
    fi
    if [ $need_postgres = yes ]; then
        say "  installing postgresql: without Debian's main cluster and without starting a service"
        step "install PostgreSQL" packages-postgresql postgres_install
    fi
    if [ ${#missing[@]} -gt 0 ]; then
        say "  installing: ${missing[*]}"
        step "install ${#missing[@]} packages" packages packages_install "${missing[@]}"
    fi
}
