/* handover: listening sockets that systemd has opened and hands over (sd_listen_fds(3)): LISTEN_PID, LISTEN_FDS,
 * LISTEN_FDNAMES. Master, once, before it opens anything. */
#ifndef MASTER_HANDOVER_H
#define MASTER_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"
#include "master/listener.h"

/* Takes what there is: the sockets named "http" are the API's, those named "internal" the other listener's; a list that
 * gets none stays empty. The variables are removed in any case. false: `error` says which descriptor is not what it
 * should be. */
bool handover_take(struct listeners *http, struct listeners *internal, char *error, size_t error_size) MUST_CHECK;

#endif
