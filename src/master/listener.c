/* listener: opens the listening sockets. Master, before the first fork; non-blocking, shared by all workers. */
#include "master/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define BACKLOG 4096
#define UNIX_PREFIX "unix:"
/* The children of a master that was killed listen for up to a second more (base/child.c), and who is started in its
 * place at once would end with "do not restart". Microseconds; the pause in nanoseconds. */
#define TAKEN_WAIT INT64_C(1500000)
#define TAKEN_PAUSE 20000000

/* One address of the list, cut out and without white space. */
struct address {
    char text[512];
    char host[256]; /* TCP */
    char port[16];
    const char *path; /* Unix socket, else NULL */
};

static bool parse_tcp(struct address *address, char *error, size_t error_size)
{
    const char *colon = strrchr(address->text, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - address->text);
    const char *host = address->text;
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        host++;
        length -= 2;
    }
    unsigned port = 0;
    char behind;
    if (colon == NULL || length == 0 || length >= sizeof address->host || strlen(colon + 1) >= sizeof address->port ||
        sscanf(colon + 1, "%5u%c", &port, &behind) != 1 || port > 65535) {
        snprintf(error, error_size, "expected address:port, [address6]:port or unix:/path, not \"%.80s\"",
                 address->text);
        return false;
    }
    memcpy(address->host, host, length);
    address->host[length] = '\0';
    snprintf(address->port, sizeof address->port, "%u", port);
    return true;
}

static bool check_path(const char *path, char *error, size_t error_size)
{
    struct sockaddr_un name;
    if (path[0] == '/' && strlen(path) < sizeof name.sun_path)
        return true;
    snprintf(error, error_size, "%.120s: expected an absolute path of at most %zu bytes", path,
             sizeof name.sun_path - 1);
    return false;
}

/* Reads the next address of the list. Returns 1, 0 at the end, -1 with `error`. */
static int next_address(const char **list, struct address *address, char *error, size_t error_size)
{
    const char *at = *list + strspn(*list, " \t,");
    size_t length = strcspn(at, ",");
    *list = at + length;
    while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\t'))
        length--;
    if (length == 0)
        return 0;
    if (length >= sizeof address->text) {
        snprintf(error, error_size, "an address is too long");
        return -1;
    }
    memcpy(address->text, at, length);
    address->text[length] = '\0';
    address->path = NULL;
    if (strncmp(address->text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0) {
        address->path = address->text + strlen(UNIX_PREFIX);
        return check_path(address->path, error, error_size) ? 1 : -1;
    }
    return parse_tcp(address, error, error_size) ? 1 : -1;
}

bool listeners_check(const char *addresses, char *error, size_t error_size)
{
    struct address address;
    int found;
    size_t count = 0;
    while ((found = next_address(&addresses, &address, error, error_size)) == 1)
        count++;
    if (found == 0 && (count == 0 || count > LISTENERS_MAX)) {
        snprintf(error, error_size, "expected 1 to %d addresses, not %zu", LISTENERS_MAX, count);
        return false;
    }
    return found == 0;
}

/* After a failure, errno says of what: is it an address that somebody holds and may soon give up? */
static bool is_worth_waiting(int64_t until)
{
    static const struct timespec pause = {.tv_nsec = TAKEN_PAUSE};
    if (errno != EADDRINUSE || clock_monotonic() >= until)
        return false;
    nanosleep(&pause, NULL);
    return true;
}

/* A socket file whose listener has died is in the way of nobody. */
static bool remove_dead_socket(const struct sockaddr_un *name, char *error, size_t error_size)
{
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = probe >= 0 && connect(probe, (const struct sockaddr *)name, sizeof *name) == 0;
    int failed = errno;
    if (probe >= 0)
        close(probe);
    if (alive) {
        snprintf(error, error_size, "%s: another process listens there", name->sun_path);
        errno = EADDRINUSE;
        return false;
    }
    struct stat status;
    if (failed != ECONNREFUSED || lstat(name->sun_path, &status) != 0)
        return true;
    if (!S_ISSOCK(status.st_mode)) {
        /* a mistyped path: connect(2) refuses with the same error */
        snprintf(error, error_size, "%s: is in the way, and is no socket", name->sun_path);
        errno = EEXIST;
        return false;
    }
    unlink(name->sun_path);
    return true;
}

/* -1: errno is EADDRINUSE where another process holds the address. */
static int try_unix(const char *path, unsigned mode, char *error, size_t error_size)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (!check_path(path, error, error_size)) {
        errno = 0;
        return -1;
    }
    memcpy(name.sun_path, path, strlen(path));
    if (!remove_dead_socket(&name, error, error_size))
        return -1;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* the file appears with its final permissions */
    mode_t before = umask((mode_t)(0777 & ~mode));
    bool bound = descriptor >= 0 && bind(descriptor, (const struct sockaddr *)&name, sizeof name) == 0 &&
                 listen(descriptor, BACKLOG) == 0;
    int failed = errno;
    umask(before);
    if (bound)
        return descriptor;
    snprintf(error, error_size, "%s: %s", path, strerror(failed));
    if (descriptor >= 0)
        close(descriptor);
    errno = failed;
    return -1;
}

int listener_open_unix(const char *path, unsigned mode, char *error, size_t error_size)
{
    int64_t until = clock_monotonic() + TAKEN_WAIT;
    int descriptor;
    do
        descriptor = try_unix(path, mode, error, error_size);
    while (descriptor < 0 && is_worth_waiting(until));
    return descriptor;
}

/* -1: errno is EADDRINUSE where another process holds the address. */
static int try_tcp(const struct address *address, char *error, size_t error_size)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    int failed = getaddrinfo(address->host, address->port, &hints, &found);
    if (failed != 0) {
        snprintf(error, error_size, "%.80s: %s", address->text, gai_strerror(failed));
        errno = 0;
        return -1;
    }
    int descriptor = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    bool bound =
        descriptor >= 0 && setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (found->ai_family != AF_INET6 || setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
        bind(descriptor, found->ai_addr, found->ai_addrlen) == 0 && listen(descriptor, BACKLOG) == 0;
    failed = errno;
    freeaddrinfo(found);
    if (bound)
        return descriptor;
    snprintf(error, error_size, "%.80s: %s", address->text, strerror(failed));
    if (descriptor >= 0)
        close(descriptor);
    errno = failed;
    return -1;
}

static int open_tcp(const struct address *address, char *error, size_t error_size)
{
    int64_t until = clock_monotonic() + TAKEN_WAIT;
    int descriptor;
    do
        descriptor = try_tcp(address, error, error_size);
    while (descriptor < 0 && is_worth_waiting(until));
    return descriptor;
}

bool listeners_open(struct listeners *listeners, const char *addresses, unsigned mode, char *error, size_t error_size)
{
    struct address address;
    int found;
    *listeners = (struct listeners){.count = 0};
    while ((found = next_address(&addresses, &address, error, error_size)) == 1) {
        if (listeners->count == LISTENERS_MAX) {
            snprintf(error, error_size, "expected at most %d addresses", LISTENERS_MAX);
            found = -1;
            break;
        }
        int descriptor = address.path != NULL ? listener_open_unix(address.path, mode, error, error_size)
                                              : open_tcp(&address, error, error_size);
        if (descriptor < 0) {
            found = -1;
            break;
        }
        if (address.path != NULL)
            memcpy(listeners->paths[listeners->count], address.path, strlen(address.path) + 1);
        listeners->descriptors[listeners->count++] = descriptor;
    }
    if (found < 0)
        listeners_close(listeners);
    return found == 0;
}

static void describe(int descriptor, char *text, size_t size)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un path;
    } name = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t length = sizeof name;
    char host[INET6_ADDRSTRLEN] = "";
    if (getsockname(descriptor, &name.any, &length) != 0)
        snprintf(text, size, "descriptor %d", descriptor);
    else if (name.any.sa_family == AF_INET)
        snprintf(text, size, "%s:%u", inet_ntop(AF_INET, &name.v4.sin_addr, host, sizeof host),
                 ntohs(name.v4.sin_port));
    else if (name.any.sa_family == AF_INET6)
        snprintf(text, size, "[%s]:%u", inet_ntop(AF_INET6, &name.v6.sin6_addr, host, sizeof host),
                 ntohs(name.v6.sin6_port));
    else
        snprintf(text, size, UNIX_PREFIX "%.*s", (int)sizeof name.path.sun_path, name.path.sun_path);
}

void listeners_describe(const struct listeners *listeners, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < listeners->count; i++) {
        char one[160];
        describe(listeners->descriptors[i], one, sizeof one);
        used += (size_t)snprintf(text + used, size - used, "%s%s", i == 0 ? "" : ", ", one);
        if (used >= size)
            return;
    }
}

void listeners_refuse_handshakes(const struct listeners *listeners)
{
    /* From the TCP header on: drops what has SYN and not ACK. The end of a handshake that has begun passes. */
    enum { FLAGS = 13, SYN = 0x02, ACK = 0x10 };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS),      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    for (size_t i = 0; i < listeners->count && !listeners->handed_over; i++) {
        if (listeners->paths[i][0] == '\0')
            setsockopt(listeners->descriptors[i], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    }
}

void listeners_close(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        bool has_path = listeners->paths[i][0] != '\0';
        if (has_path) /* refuses from now on through the descriptors that workers have, too */
            shutdown(listeners->descriptors[i], SHUT_RD);
        close(listeners->descriptors[i]);
        if (has_path)
            unlink(listeners->paths[i]);
    }
    listeners->count = 0;
}
