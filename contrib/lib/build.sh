# build: turnout out of tree. Sourced by quickstart and check; SOURCE is the clone. No function here needs a terminal.
# shellcheck shell=bash

# Makes the configure script where there is none; after that make itself sees to it that it is up to date.
build_bootstrap() {
    if [ ! -x "$SOURCE/configure" ] || [ ! -f "$SOURCE/Makefile.in" ]; then
        (cd "$SOURCE" && as_builder autoreconf -fi)
    fi
}

# build_configure FOLDER OPTION...: configures when the folder has no Makefile or the options are others than last time.
build_configure() {
    local folder=$1
    shift
    as_builder mkdir -p "$folder"
    if [ -f "$folder/Makefile" ] && [ "$(cat "$folder/options" 2>/dev/null)" = "$*" ]; then
        return 0
    fi
    (cd "$folder" && as_builder "$SOURCE/configure" "$@")
    printf '%s\n' "$*" | as_builder tee "$folder/options" >/dev/null
}

build_make() {
    local folder=$1
    shift
    as_builder make -C "$folder" -j "$(nproc)" --no-print-directory "$@"
}

# build_install FOLDER TARGET: both programs, the SQL and the sample configuration, side by side below TARGET, which the service
# user owns. The installing user need not be able to write there: the files go through a pipe.
build_install() {
    local folder=$1 target=$2 staging
    staging=$folder/staging
    as_builder rm -rf "$staging"
    as_builder make -C "$folder" install DESTDIR="$staging" prefix=/ exec_prefix=/ bindir=/bin sbindir=/bin \
        datarootdir=/share sysconfdir=/etc
    as_service mkdir -p "$target"
    as_builder tar -C "$staging" -cf - . | as_service tar -C "$target" -xf -
}
