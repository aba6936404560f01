/* service: sd_notify, in a page of code. Master.
 *
 * READY follows when every worker serves and has an answer of the database, at the latest DATABASE_PATIENCE after they
 * serve: a daemon whose database is away does what it can (it answers 503 and says so at /readyz), and whoever waits
 * for it must not wait for ever. WATCHDOG is fed by progress: a worker has answered a ping that was sent after the last
 * feeding. A master that hangs, or whose workers all hang or keep dying, feeds nothing and is started again. */
#include "master/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "master/process.h"

/* Microseconds, all. */
#define DATABASE_PATIENCE INT64_C(3000000)
/* Until the first answer of the database: how often the workers are asked. */
#define DATABASE_INTERVAL INT64_C(50000)
/* STATUS follows a change of state at once, and figures that only grow this late. */
#define STATUS_INTERVAL INT64_C(5000000)
/* A manager that does not read must not hold up the master for longer. */
#define SEND_TIME INT64_C(100000)

static struct {
    int socket; /* -1: nobody wants to know */
    int64_t watchdog;
    int64_t fed_number; /* of the last ping when the watchdog was fed */
    int64_t fed_at;
    int64_t serves_since; /* all workers do; 0: not yet */
    int64_t asked_at;     /* for the database, since then */
    bool ready;           /* READY has been said */
    bool reloading;
    bool stopping;
    int64_t status_at;
    char state[96]; /* of the last STATUS: what is told at once when it changes */
} service = {.socket = -1};

static bool connect_to(const char *address)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t length = strlen(address);
    if ((address[0] != '/' && address[0] != '@') || length < 2 || length >= sizeof name.sun_path)
        return false;
    memcpy(name.sun_path, address, length);
    if (address[0] == '@') /* an abstract one */
        name.sun_path[0] = '\0';
    service.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (service.socket < 0)
        return false;
    struct timeval limit = clock_timeval(SEND_TIME);
    (void)setsockopt(service.socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(service.socket, (const struct sockaddr *)&name,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) == 0)
        return true;
    close(service.socket);
    service.socket = -1;
    return false;
}

static void read_watchdog(void)
{
    const char *interval = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    int64_t number;
    if (interval == NULL || !text_parse_int64(interval, 1, INT64_MAX / 2, &service.watchdog))
        service.watchdog = 0;
    if (pid != NULL && (!text_parse_int64(pid, 1, INT32_MAX, &number) || number != getpid()))
        service.watchdog = 0;
}

bool service_open(void)
{
    const char *address = getenv("NOTIFY_SOCKET");
    bool wanted = address != NULL && address[0] != '\0';
    bool connected = wanted && connect_to(address);
    read_watchdog();
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return connected || !wanted;
}

int64_t service_pong_interval(void)
{
    return service.socket < 0 ? 0 : service.watchdog / 4;
}

static bool tell(const char *text)
{
    ssize_t sent;
    do {
        sent = send(service.socket, text, strlen(text), MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0)
        log_warning("the service manager could not be told", log_text("error", strerror(errno)));
    return sent >= 0;
}

struct figures {
    int64_t requests;
    int64_t workers;     /* that serve */
    int64_t unreachable; /* of these, those with a pool that has no connection to the database */
};

static void add_figures(void *context, const struct process *process)
{
    struct figures *figures = context;
    if (process->role != PROCESS_WORKER)
        return;
    figures->requests += process->report.requests;
    if (process->state != PROCESS_READY)
        return;
    figures->workers++;
    bool reachable = process->report.pool_count > 0;
    for (int64_t i = 0; i < process->report.pool_count; i++)
        reachable = reachable && process->report.pools[i].reachable != 0;
    figures->unreachable += !reachable;
}

static struct figures look(void)
{
    struct figures figures = {.requests = 0};
    process_each(&PROCESS_ALL, add_figures, &figures);
    return figures;
}

/* "2 of 2 workers serve, database reachable, 1234 requests" */
static void say_status(const struct figures *figures, int64_t now)
{
    char state[sizeof service.state];
    snprintf(state, sizeof state, "%s%" PRId64 " of %" PRId64 " workers serve, database %s",
             service.stopping    ? "stopping: "
             : service.reloading ? "reloading: "
                                 : "",
             process_workers_ready(), process_workers_wanted(),
             figures->unreachable == 0                  ? "reachable"
             : figures->unreachable == figures->workers ? "not reachable"
                                                        : "not reachable for some");
    if (strcmp(state, service.state) == 0 && now < service.status_at + STATUS_INTERVAL)
        return;
    char text[256];
    snprintf(text, sizeof text, "STATUS=%s, %" PRId64 " requests", state, figures->requests);
    service.status_at = now;
    memcpy(service.state, state, sizeof state);
    (void)tell(text);
}

static void become_ready(const struct figures *figures, int64_t now)
{
    if (process_workers_ready() < process_workers_wanted())
        return;
    if (service.serves_since == 0)
        service.serves_since = now;
    if (figures->unreachable > 0 && now < service.serves_since + DATABASE_PATIENCE) {
        if (now >= service.asked_at + DATABASE_INTERVAL) {
            service.asked_at = now;
            (void)process_ping();
        }
        return;
    }
    service.ready = tell("READY=1");
}

static void feed_watchdog(int64_t now)
{
    int64_t answered = process_last_answer();
    if (service.watchdog == 0 || answered <= service.fed_number || now < service.fed_at + service.watchdog / 8)
        return;
    if (!tell("WATCHDOG=1"))
        return;
    service.fed_number = process_last_ping();
    service.fed_at = now;
}

void service_supervise(void)
{
    if (service.socket < 0)
        return;
    int64_t now = clock_monotonic();
    struct figures figures = look();
    if (!service.ready && !service.stopping)
        become_ready(&figures, now);
    if (service.ready)
        feed_watchdog(now);
    say_status(&figures, now);
}

int64_t service_next_due(void)
{
    if (service.socket < 0)
        return INT64_MAX;
    if (!service.ready && service.serves_since != 0 && !service.stopping)
        return service.asked_at + DATABASE_INTERVAL;
    return service.status_at + STATUS_INTERVAL;
}

void service_reloading(void)
{
    if (service.socket < 0 || !service.ready)
        return;
    char text[80];
    /* the manager tells this reload from an earlier one by it */
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_monotonic());
    service.reloading = tell(text);
}

void service_reloaded(void)
{
    if (service.socket < 0)
        return;
    service.reloading = false;
    /* before its first READY the daemon says that when it is ready */
    if (service.ready && !service.stopping)
        (void)tell("READY=1");
}

void service_stopping(int64_t limit)
{
    if (service.socket < 0)
        return;
    char text[80];
    service.stopping = true;
    snprintf(text, sizeof text, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64, limit);
    (void)tell(text);
}
