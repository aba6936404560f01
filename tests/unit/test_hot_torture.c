/* Torture of the hot cache: real processes, a refresher and some workers, killed, stopped and crashed at random while
 * they publish and read. Each byte that a worker had in its hands must be the right one, and after a body was served
 * nobody who asks later may be served an older one of the same key.
 *
 * This process is the master, and the only one that commits. What stands for PostgreSQL and Redis is memory that all
 * share. Ten seconds; TURNOUT_FULL=1: a minute. */
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/hot_layout.h"
#include "shm/hot_read.h"
#include "shm/hot_write.h"
#include "shm/region.h"

enum {
    KEYS = 700,
    WORKERS = 3,
    CACHE_MEBIBYTES = 6,
    BODY_MIN = 200,
    BODY_MAX = 100 << 10,
    CRASHED = 7,         /* exit status */
    COHERENT_FOR = 6000, /* microseconds */
    STALE_MAX = 3000,
};

enum {
    COUNT_FRESH,
    COUNT_STALE,
    COUNT_MISSING,
    COUNT_LAPSED,
    COUNT_OWN,
    COUNT_AGAIN,
    COUNT_WAITED,
    COUNT_PUBLISHED,
    COUNT_OLDER,
    COUNT_OVERTAKEN,
    COUNT_TOO_LARGE,
    COUNT_EVICTED,
    COUNT_GENERATIONS,
    COUNT_WORKERS_KILLED,
    COUNT_WORKERS_STOPPED,
    COUNT_WRITERS_KILLED,
    COUNT_WRITERS_CRASHED,
    COUNT_KEPT,
    COUNT_COUNT,
};
static const char *const count_texts[] = {
    [COUNT_FRESH] = "fresh hits",
    [COUNT_STALE] = "stale hits",
    [COUNT_MISSING] = "misses",
    [COUNT_LAPSED] = "lapses",
    [COUNT_OWN] = "served themselves",
    [COUNT_AGAIN] = "looked again",
    [COUNT_WAITED] = "waited for an intent",
    [COUNT_PUBLISHED] = "published",
    [COUNT_OLDER] = "refused as older",
    [COUNT_OVERTAKEN] = "overtaken",
    [COUNT_TOO_LARGE] = "without room",
    [COUNT_EVICTED] = "evicted",
    [COUNT_GENERATIONS] = "generations ended by a lapse",
    [COUNT_WORKERS_KILLED] = "workers killed",
    [COUNT_WORKERS_STOPPED] = "workers stopped",
    [COUNT_WRITERS_KILLED] = "refreshers killed",
    [COUNT_WRITERS_CRASHED] = "refreshers crashed",
    [COUNT_KEPT] = "successors that kept entries",
};

/* What a body says and is measured by. */
struct body_meta {
    uint64_t key;
    uint64_t value; /* the last commit to this key */
};

static struct world {
    /* PostgreSQL: the master alone writes. A commit stores the value, then its number. */
    _Atomic uint64_t committed;
    _Atomic uint64_t values[KEYS];
    uint64_t epoch;
    /* Redis: some body of each key, of any time. */
    struct {
        _Atomic uint64_t whole;
        uint64_t value;
        struct hot_version version;
    } store[KEYS];
    /* The clients: the highest that any of them was served. */
    _Atomic uint64_t shown[KEYS];
    _Atomic int64_t counts[COUNT_COUNT];
    _Atomic int failed;
    char failure[300];
    char pool[BODY_MAX * 3]; /* bytes, of which bodies are pieces */
} * world;

static uint64_t random_state;
static sigset_t crash_signal; /* blocked until the refresher has a handler */

static uint64_t random_next(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random_state >> 33;
}

static bool one_in(unsigned n)
{
    return random_next() % n == 0;
}

static void pause_for(int64_t microseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000}, NULL);
}

static void count(unsigned what)
{
    atomic_fetch_add(&world->counts[what], 1);
}

/* The first one is kept. */
static PRINTF_LIKE(1, 2) void blame(const char *format, ...)
{
    int nobody = 0;
    if (!atomic_compare_exchange_strong(&world->failed, &nobody, 1))
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world->failure, sizeof world->failure, format, arguments);
    va_end(arguments);
}

#define fail(...)           \
    do {                    \
        blame(__VA_ARGS__); \
        _exit(9);           \
    } while (0)

/* ---- bodies ---- */

static size_t key_text(char text[HOT_KEY_MAX + 1], unsigned key)
{
    return (size_t)snprintf(text, HOT_KEY_MAX + 1, "events:%u", key);
}

static uint64_t mixed(unsigned key, uint64_t value)
{
    uint64_t bits = (key * UINT64_C(0x9e3779b97f4a7c15)) ^ (value * UINT64_C(0xc2b2ae3d27d4eb4f));
    return bits ^ bits >> 29;
}

/* Small ones are as frequent as large ones: sizes double nine times. */
static size_t size_of(unsigned key, uint64_t value)
{
    uint64_t bits = mixed(key, value);
    size_t size = (size_t)BODY_MIN << bits % 10;
    return size + (bits >> 8) % size > BODY_MAX ? BODY_MAX : size + (bits >> 8) % size;
}

static const char *bytes_of(unsigned key, uint64_t value)
{
    return world->pool + (mixed(key, value) >> 20) % (sizeof world->pool - BODY_MAX);
}

/* ---- a worker ---- */

static void serve(unsigned key, uint64_t value, uint64_t before, const char *how)
{
    if (value < before)
        fail("key %u went back: %" PRIu64 " was served %s after %" PRIu64, key, value, how, before);
    uint64_t shown = atomic_load(&world->shown[key]);
    while (shown < value && !atomic_compare_exchange_weak(&world->shown[key], &shown, value)) {
    }
}

/* Sends what was found: copies it, as slowly as a worker under load may, and lets go. */
static void send_found(unsigned key, const struct hot_view *view, uint64_t before, const char *how)
{
    static char sent[BODY_MAX];
    struct body_meta meta;
    const struct hot_body *body = &view->bodies[HOT_IDENTITY];
    memcpy(&meta, view->meta, sizeof meta);
    if (body->length > BODY_MAX)
        fail("key %u is %zu bytes long", key, body->length);
    size_t length = body->length, half = length / 2;
    memcpy(sent, body->bytes, half);
    if (one_in(50))
        sched_yield();
    if (one_in(500))
        pause_for(500);
    memcpy(sent + half, body->bytes + half, length - half);
    hot_release();
    if (meta.key != key || length != size_of(key, meta.value) || memcmp(sent, bytes_of(key, meta.value), length) != 0)
        fail("key %u: what was served %s are not the bytes of %" PRIu64, key, how, meta.value);
    serve(key, meta.value, before, how);
}

static void serve_own(unsigned key, const char *text, size_t length, uint64_t before)
{
    uint64_t value = atomic_load(&world->values[key]);
    if (one_in(10))
        pause_for(1000);
    int64_t until = clock_monotonic() + INT64_C(60000000);
    for (;;) {
        struct hot_view view;
        switch (hot_serve_own(text, length, clock_monotonic(), STALE_MAX)) {
        case HOT_OWN_SERVE:
            count(COUNT_OWN);
            serve(key, value, before, "by a worker itself");
            return;
        case HOT_OWN_LOOK_AGAIN:
            count(COUNT_AGAIN);
            enum hot_found found = hot_find(text, length, clock_monotonic(), STALE_MAX, &view);
            if (found == HOT_FRESH || found == HOT_STALE) {
                send_found(key, &view, before, "at the second look");
                return;
            }
            break;
        case HOT_OWN_WAIT:
            count(COUNT_WAITED);
            pause_for(100);
            break;
        }
        if (clock_monotonic() > until)
            fail("key %u: a worker waits for ever", key);
    }
}

static _Noreturn void work(int slot)
{
    region_attach_reader(slot);
    for (;;) {
        unsigned key = (unsigned)(random_next() % KEYS * (random_next() % KEYS) / KEYS);
        char text[HOT_KEY_MAX + 1];
        size_t length = key_text(text, key);
        uint64_t before = atomic_load(&world->shown[key]);
        struct hot_view view;
        switch (hot_find(text, length, clock_monotonic(), STALE_MAX, &view)) {
        case HOT_FRESH:
            count(COUNT_FRESH);
            send_found(key, &view, before, "fresh");
            break;
        case HOT_STALE:
            count(COUNT_STALE);
            send_found(key, &view, before, "stale");
            break;
        case HOT_LAPSED:
            count(COUNT_LAPSED);
            serve_own(key, text, length, before);
            break;
        case HOT_MISSING:
            count(COUNT_MISSING);
            if (one_in(20)) /* the others are parked, and have a better fate */
                serve_own(key, text, length, before);
            break;
        }
    }
}

/* ---- the refresher ---- */

static void count_evicted(void *context, const char *key, size_t length)
{
    (void)context;
    (void)key;
    (void)length;
    count(COUNT_EVICTED);
}

/* As the handler of a crash signal: first nobody believes any of it, and then it may look like anything. */
static void crash(int unused)
{
    (void)unused;
    region_distrust();
    uint64_t *index = (uint64_t *)(hot_region.writable + hot_region.index);
    for (unsigned i = 0; i < 2000; i++)
        index[random_next() % hot_region.slot_count] = (random_next() << 30 ^ random_next()) | HOT_PRESENT;
    memset(hot_region.writable + hot_region.floors, 0xff, 1 << 16);
    _exit(CRASHED);
}

/* A snapshot: the last commit, and the value of a key as of then. */
static struct hot_version snapshot(unsigned key, uint64_t *value)
{
    uint64_t committed;
    do {
        committed = atomic_load(&world->committed);
        *value = atomic_load(&world->values[key]);
    } while (*value > committed);
    return (struct hot_version){.epoch = world->epoch, .xmax = committed};
}

static void publish(unsigned key, enum hot_source source)
{
    char text[HOT_KEY_MAX + 1];
    struct hot_entry entry = {
        .key = text,
        .key_length = key_text(text, key),
        .pattern = HOT_PATTERN_EVENT,
        .source = source,
        .expires_at = INT64_MAX,
        .rendered_at = clock_monotonic(),
    };
    struct body_meta meta = {.key = key};
    if (source == HOT_FROM_STORE) {
        if (atomic_load(&world->store[key].whole) == 0)
            return;
        entry.version = world->store[key].version;
        meta.value = world->store[key].value;
    } else {
        entry.ticket = hot_ticket(text, entry.key_length);
        entry.version = snapshot(key, &meta.value);
        if (one_in(100))
            pause_for(500);
    }
    entry.meta = &meta;
    entry.meta_length = sizeof meta;
    entry.bodies[HOT_IDENTITY] = (struct hot_body){
        .bytes = bytes_of(key, meta.value), .length = size_of(key, meta.value), .lines = "", .etag = ""};
    static const unsigned counts[] = {COUNT_PUBLISHED, COUNT_OLDER, COUNT_OVERTAKEN, COUNT_TOO_LARGE};
    enum hot_publish published = hot_publish(&entry);
    count(counts[published]);
    /* Redis gets to know of some, and of those late. */
    if (published == HOT_PUBLISHED && one_in(20)) {
        atomic_store(&world->store[key].whole, 0);
        world->store[key].version = entry.version;
        world->store[key].value = meta.value;
        atomic_store(&world->store[key].whole, 1);
    }
}

static _Noreturn void refresh(bool distrust)
{
    region_attach_writer();
    signal(SIGUSR1, crash);
    sigprocmask(SIG_UNBLOCK, &crash_signal, NULL);
    size_t kept = hot_open(distrust, count_evicted, NULL);
    if (distrust && kept > 0)
        fail("a successor kept %zu entries of one that crashed", kept);
    char cursor[HOT_CURSOR_MAX];
    if (kept > 0)
        count(COUNT_KEPT);
    if (hot_load_cursor(cursor) == 0) {
        uint64_t unused;
        struct hot_version version = snapshot(0, &unused);
        hot_raise_pattern_floor(HOT_PATTERN_EVENT, &version);
        hot_store_cursor("resynchronised", 14);
    }
    for (;;) {
        unsigned key = (unsigned)(random_next() % KEYS);
        unsigned action = (unsigned)(random_next() % 200);
        char text[HOT_KEY_MAX + 1];
        size_t length = key_text(text, key);
        if (action < 4) {
            int64_t now = clock_monotonic();
            if (!hot_extend(now, now + COHERENT_FOR))
                count(COUNT_GENERATIONS);
        } else if (action < 10) {
            (void)hot_delete(text, length);
        } else if (action < 11) {
            hot_maintain();
        } else if (action < 40) {
            publish(key, HOT_FROM_STORE);
        } else {
            publish(key, HOT_FROM_DATABASE);
        }
        if (one_in(4000))
            pause_for(COHERENT_FOR + 2 * STALE_MAX); /* silent for too long */
    }
}

/* ---- the master ---- */

static pid_t start(int slot, bool distrust)
{
    world->epoch += slot == WORKERS;
    uint64_t seed = random_next() << 20 | (uint64_t)slot;
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    random_state = seed;
    if (slot == WORKERS)
        refresh(distrust);
    work(slot);
}

static void end(pid_t pid, int signal_number, int expected)
{
    int status = 0;
    kill(pid, signal_number);
    if (waitpid(pid, &status, 0) != pid || status == 9 << 8)
        return; /* it has failed: world->failed */
    if (expected == 0 ? !WIFSIGNALED(status) || WTERMSIG(status) != signal_number
                      : !WIFEXITED(status) || WEXITSTATUS(status) != expected)
        blame("a process ended with status %d on signal %d", status, signal_number);
}

static void torture(pid_t pids[WORKERS + 1])
{
    int slot = (int)(random_next() % WORKERS);
    switch (random_next() % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
        end(pids[WORKERS], SIGKILL, 0);
        count(COUNT_WRITERS_KILLED);
        pids[WORKERS] = start(WORKERS, false);
        return;
    case 4:
        end(pids[WORKERS], SIGUSR1, CRASHED);
        count(COUNT_WRITERS_CRASHED);
        pids[WORKERS] = start(WORKERS, true);
        return;
    case 5:
    case 6:
        kill(pids[slot], SIGSTOP);
        pause_for(20000);
        kill(pids[slot], SIGCONT);
        count(COUNT_WORKERS_STOPPED);
        return;
    case 7:
        kill(pids[WORKERS], SIGSTOP);
        pause_for(20000);
        kill(pids[WORKERS], SIGCONT);
        return;
    default:
        end(pids[slot], SIGKILL, 0);
        region_clear_pin(slot);
        count(COUNT_WORKERS_KILLED);
        pids[slot] = start(slot, false);
    }
}

/* Each of these has happened so often at least, or the test has tested nothing. */
static bool happened(void)
{
    static const struct {
        unsigned count;
        int64_t least;
    } wanted[] = {
        {COUNT_FRESH, 1000}, {COUNT_OWN, 100},       {COUNT_PUBLISHED, 1000},    {COUNT_OLDER, 10},
        {COUNT_EVICTED, 10}, {COUNT_OVERTAKEN, 10},  {COUNT_WORKERS_KILLED, 10}, {COUNT_WRITERS_KILLED, 5},
        {COUNT_KEPT, 1},     {COUNT_GENERATIONS, 1}, {COUNT_WRITERS_CRASHED, 1},
    };
    for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (atomic_load(&world->counts[wanted[i].count]) < wanted[i].least)
            return false;
    return true;
}

int main(void)
{
    int64_t seconds = getenv("TURNOUT_FULL") != NULL ? 60 : 8;
    random_state = (uint64_t)clock_realtime();
    printf("seed %" PRIu64 "\n", random_state);
    fflush(stdout);
    world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char error[200];
    if (world == MAP_FAILED || !region_create(CACHE_MEBIBYTES << 20, WORKERS, error, sizeof error))
        return 1;
    for (size_t i = 0; i < sizeof world->pool; i++)
        world->pool[i] = (char)random_next();

    sigemptyset(&crash_signal);
    sigaddset(&crash_signal, SIGUSR1);
    sigprocmask(SIG_BLOCK, &crash_signal, NULL);
    pid_t pids[WORKERS + 1];
    for (int slot = 0; slot <= WORKERS; slot++)
        pids[slot] = start(slot, false);
    int64_t began = clock_monotonic(), next = began;
    /* On a machine that does many other things it takes longer until all has happened. */
    while (!atomic_load(&world->failed) && (clock_monotonic() < began + seconds * 1000000 ||
                                            (!happened() && clock_monotonic() < began + seconds * 10000000))) {
        for (unsigned i = 0; i < 5; i++) {
            uint64_t commit = atomic_load(&world->committed) + 1;
            atomic_store(&world->values[random_next() % KEYS * (random_next() % KEYS) / KEYS], commit);
            atomic_store(&world->committed, commit);
        }
        pause_for(200);
        if (clock_monotonic() < next)
            continue;
        torture(pids);
        next = clock_monotonic() + (int64_t)(random_next() % 20000);
    }
    for (int slot = 0; slot <= WORKERS; slot++)
        end(pids[slot], SIGKILL, 0);
    for (unsigned i = 0; i < COUNT_COUNT; i++)
        printf("%10" PRId64 " %s\n", atomic_load(&world->counts[i]), count_texts[i]);
    if (atomic_load(&world->failed))
        printf("%s\n", world->failure);
    else if (!happened())
        printf("too little has happened\n");
    return atomic_load(&world->failed) || !happened() ? 1 : 0;
}
