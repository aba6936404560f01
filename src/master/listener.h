/* listener: the listening sockets that the master opens and the workers inherit. Master. */
#ifndef MASTER_LISTENER_H
#define MASTER_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

#define LISTENERS_MAX 16

/* Boot lifetime. */
struct listeners {
    int descriptors[LISTENERS_MAX];
    char paths[LISTENERS_MAX][108]; /* of Unix sockets; "" for TCP */
    size_t count;
    bool handed_over; /* they are systemd's (handover.h), and go on without this daemon */
};

/* Opens what `addresses` names ("127.0.0.1:8080, [::1]:8080, unix:/run/x.sock"); host names are resolved. Unix sockets
 * get `mode`. Waits a moment for an address that somebody holds: children of a master that was killed may still be
 * leaving. false: `error` says which and why; what had been opened is closed. */
bool listeners_open(struct listeners *listeners, const char *addresses, unsigned mode, char *error,
                    size_t error_size) MUST_CHECK;

/* Writes where they listen: "127.0.0.1:8080, unix:/run/x.sock". */
void listeners_describe(const struct listeners *listeners, char *text, size_t size);

/* Says whether `addresses` can be read, without opening anything. */
bool listeners_check(const char *addresses, char *error, size_t error_size) MUST_CHECK;

/* No further TCP handshake begins, by a socket filter; those that have begun can end, and who waits in the queue can be
 * accepted. A moment later the queue can only shrink, so that no connection is lost between a worker's last accept and
 * its close. Does nothing to sockets that were handed over. */
void listeners_refuse_handshakes(const struct listeners *listeners);

/* Closes. A Unix socket that was not handed over refuses new connections from now on, whoever else has it open, and its
 * path is removed. */
void listeners_close(struct listeners *listeners);

/* One stream socket at a path, listening, for the control socket. A path that another live process goes on listening on
 * is refused. -1: `error`. */
int listener_open_unix(const char *path, unsigned mode, char *error, size_t error_size) MUST_CHECK;

#endif
