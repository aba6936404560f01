/* handover: listening sockets that systemd hands over. Master. They stay systemd's: nothing here or later shuts them
 * down, removes their paths, or keeps anybody out of their queues, where clients wait for the next daemon while this
 * one ends. */
#include "master/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

/* SD_LISTEN_FDS_START */
#define FIRST 3

/* false: without LISTEN_FDS, or it is meant for another process (an ancestor that did not read it). */
static bool is_ours(void)
{
    const char *pid = getenv("LISTEN_PID");
    int64_t number;
    return getenv("LISTEN_FDS") != NULL && pid != NULL && text_parse_int64(pid, 1, INT32_MAX, &number) &&
           number == getpid();
}

static bool option_is(int descriptor, int option, int wanted)
{
    int value;
    socklen_t size = sizeof value;
    return getsockopt(descriptor, SOL_SOCKET, option, &value, &size) == 0 && value == wanted;
}

static bool is_listener(int descriptor)
{
    return option_is(descriptor, SO_TYPE, SOCK_STREAM) && option_is(descriptor, SO_ACCEPTCONN, 1) &&
           (option_is(descriptor, SO_DOMAIN, AF_INET) || option_is(descriptor, SO_DOMAIN, AF_INET6) ||
            option_is(descriptor, SO_DOMAIN, AF_UNIX));
}

static bool prepare(int descriptor)
{
    int status = fcntl(descriptor, F_GETFL);
    int flags = fcntl(descriptor, F_GETFD);
    return status >= 0 && flags >= 0 && fcntl(descriptor, F_SETFL, status | O_NONBLOCK) == 0 &&
           fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC) == 0;
}

static bool take(int descriptor, const char *name, struct listeners *http, struct listeners *internal, char *error,
                 size_t error_size)
{
    struct listeners *listeners = strcmp(name, "http") == 0 ? http : strcmp(name, "internal") == 0 ? internal : NULL;
    if (listeners == NULL)
        snprintf(error, error_size, "descriptor %d is named \"%.60s\": expected http or internal (FileDescriptorName=)",
                 descriptor, name);
    else if (!is_listener(descriptor))
        snprintf(error, error_size, "descriptor %d (%s): expected a listening stream socket (TCP or Unix)", descriptor,
                 name);
    else if (listeners->count == LISTENERS_MAX)
        snprintf(error, error_size, "expected at most %d sockets named %s", LISTENERS_MAX, name);
    else if (!prepare(descriptor))
        snprintf(error, error_size, "descriptor %d (%s): %s", descriptor, name, strerror(errno));
    else {
        listeners->descriptors[listeners->count++] = descriptor;
        listeners->handed_over = true;
        return true;
    }
    return false;
}

static bool take_all(struct listeners *http, struct listeners *internal, char *error, size_t error_size)
{
    int64_t count;
    const char *names = getenv("LISTEN_FDNAMES");
    if (!text_parse_int64(getenv("LISTEN_FDS"), 0, 2 * LISTENERS_MAX, &count)) {
        snprintf(error, error_size, "expected a number of sockets up to %d, not \"%.60s\"", 2 * LISTENERS_MAX,
                 getenv("LISTEN_FDS"));
        return false;
    }
    for (int i = 0; i < count; i++) {
        char name[64] = "";
        size_t length = names == NULL ? 0 : strcspn(names, ":");
        snprintf(name, sizeof name, "%.*s", (int)length, names == NULL ? "" : names);
        if (!take(FIRST + i, name, http, internal, error, error_size))
            return false;
        if (names != NULL)
            names += length + (names[length] == ':' ? 1 : 0);
    }
    return true;
}

bool handover_take(struct listeners *http, struct listeners *internal, char *error, size_t error_size)
{
    *http = (struct listeners){.count = 0};
    *internal = (struct listeners){.count = 0};
    bool taken = !is_ours() || take_all(http, internal, error, error_size);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return taken;
}
