/* resolver: host names to addresses in a thread of its own. Any process with a loop.
 *
 * The thread is detached and shares with the loop only its own job, which the last of the two frees: a lookup that
 * hangs keeps a thread, a descriptor and some hundred bytes until the C library gives up, and stops neither the loop
 * nor the end of the process. Threads that outlived their lookup are counted, and past a few no more are started. */
#include "base/resolver.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

#define RESOLVER_MAGIC 0x70677273u
/* A lookup that hangs ends after resolv.conf's time-out times attempts times servers: half a minute is usual. */
#define THREADS_MAX 16
/* What NSS modules need, generously; the default of 8 MiB would count against address space limits. */
#define THREAD_STACK_BYTES ((size_t)512 * 1024)

struct resolver {
    OBJECT_HEADER;
    atomic_int holders;   /* the loop and the thread; the last one frees */
    atomic_bool finished; /* set by the thread when `answer` is complete: from then on the loop may read it */
    int descriptor;       /* eventfd; closed by the last holder, so that a late thread never writes to another's */
    struct event *event;  /* the loop's */
    resolver_done *done;
    void *context;
    int count;
    char *names[RESOLVER_NAMES_MAX];
    struct resolver_answer answer; /* the thread's until `finished` */
    char error[192];
};

static atomic_int threads;

static bool start_thread(struct resolver *resolver);
static void *run_thread(void *argument);
static void look_up(struct resolver *resolver, int name);
static void on_event(evutil_socket_t descriptor, short what, void *argument);
static void release(struct resolver *resolver);

struct resolver *resolver_start(struct event_base *base, const char *const names[], int count, int64_t timeout,
                                resolver_done *done, void *context)
{
    INVARIANT(count >= 1 && count <= RESOLVER_NAMES_MAX);
    struct resolver *resolver = calloc(1, sizeof *resolver);
    INVARIANT(resolver != NULL);
    resolver->magic = RESOLVER_MAGIC;
    resolver->done = done;
    resolver->context = context;
    resolver->count = count;
    for (int i = 0; i < count; i++) {
        resolver->names[i] = strdup(names[i]);
        INVARIANT(resolver->names[i] != NULL);
    }
    atomic_init(&resolver->holders, 1);
    resolver->descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    resolver->event = event_new(base, resolver->descriptor, EV_READ, on_event, resolver);
    INVARIANT(resolver->event != NULL);
    struct timeval interval = clock_timeval(timeout);
    if (resolver->descriptor == -1 || event_add(resolver->event, &interval) == -1 || !start_thread(resolver)) {
        snprintf(resolver->error, sizeof resolver->error, "cannot look up %s: %s", names[0],
                 atomic_load(&threads) >= THREADS_MAX ? "too many lookups hang" : strerror(errno));
        resolver->answer.error = resolver->error;
        atomic_store(&resolver->finished, true);
        event_active(resolver->event, EV_READ, 0);
    }
    return resolver;
}

void resolver_cancel(struct resolver *resolver)
{
    OBJECT_CHECK(resolver, RESOLVER_MAGIC);
    event_free(resolver->event);
    resolver->event = NULL;
    release(resolver);
}

/* Signals belong to the thread of the loop: the new one is born with all of them blocked. */
static bool start_thread(struct resolver *resolver)
{
    if (atomic_fetch_add(&threads, 1) >= THREADS_MAX) {
        atomic_fetch_sub(&threads, 1);
        return false;
    }
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    atomic_fetch_add(&resolver->holders, 1);
    int failure = pthread_create(&thread, &attributes, run_thread, resolver);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0) {
        atomic_fetch_sub(&resolver->holders, 1);
        atomic_fetch_sub(&threads, 1);
        errno = failure;
    }
    return failure == 0;
}

static void *run_thread(void *argument)
{
    struct resolver *resolver = argument;
    OBJECT_CHECK(resolver, RESOLVER_MAGIC);
    for (int i = 0; i < resolver->count; i++)
        look_up(resolver, i);
    /* one of several hosts that cannot be found is no failure: the others may do */
    resolver->answer.error = resolver->answer.count > 0 ? NULL : resolver->error;
    atomic_store(&resolver->finished, true);
    uint64_t one = 1;
    ssize_t written = write(resolver->descriptor, &one, sizeof one);
    (void)written; /* cannot fail: the counter of an eventfd holds far more than one */
    release(resolver);
    atomic_fetch_sub(&threads, 1);
    return NULL;
}

static void look_up(struct resolver *resolver, int name)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(resolver->names[name], NULL, &hints, &found);
    if (failure != 0) {
        if (resolver->error[0] == '\0')
            snprintf(resolver->error, sizeof resolver->error, "cannot look up %s: %s", resolver->names[name],
                     failure == EAI_SYSTEM ? strerror(errno) : gai_strerror(failure));
        return;
    }
    struct resolver_answer *answer = &resolver->answer;
    for (struct addrinfo *each = found; each != NULL && answer->count < RESOLVER_ADDRESSES_MAX; each = each->ai_next) {
        struct resolver_address *address = &answer->addresses[answer->count];
        if (getnameinfo(each->ai_addr, each->ai_addrlen, address->text, sizeof address->text, NULL, 0,
                        NI_NUMERICHOST) == 0) {
            address->name = name;
            answer->count++;
        }
    }
    freeaddrinfo(found);
}

static void on_event(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct resolver *resolver = argument;
    OBJECT_CHECK(resolver, RESOLVER_MAGIC);
    struct resolver_answer late = {.error = "the lookup of the host name took too long"};
    event_free(resolver->event);
    resolver->event = NULL;
    resolver->done(resolver->context, atomic_load(&resolver->finished) ? &resolver->answer : &late);
    release(resolver);
}

static void release(struct resolver *resolver)
{
    if (atomic_fetch_sub(&resolver->holders, 1) > 1)
        return;
    if (resolver->descriptor != -1)
        close(resolver->descriptor);
    for (int i = 0; i < resolver->count; i++)
        free(resolver->names[i]);
    OBJECT_BURY(resolver);
    free(resolver);
}
