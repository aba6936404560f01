/* smtp: messages over kept SMTP connections. Mailer. One thread for each connection (smtp_lane.c); the
 * loop and the threads meet under one lock, and an eventfd wakes the loop.
 *
 * Not libcurl's multi interface on the loop: up to the version of Debian 12 it waits for the answer to the end of the
 * data without giving the loop back (smtp_done), and commands would go one after the other (smtp_lane.c).
 *
 * A thread touches its own lane, and what the lock guards. Everything else is the loop's. */
#include "mailer/smtp.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "mailer/smtp_lane.h"
#include "mailer/smtp_settings.h"
#include "mailer/verdict.h"

#define SMTP_MAGIC 0x534d5450U
/* Connections that are there, whatever mail_connections says. */
#define LANES_MAX 100
/* A kept connection is closed when it was idle for so long: servers cut one after minutes. Seconds. */
#define IDLE_TIME 30
/* How often the loop looks whether a message goes on. Microseconds. */
#define WATCH_LEAST INT64_C(5000)
#define WATCH_MOST INT64_C(250000)

struct smtp {
    OBJECT_HEADER;
    struct event *woken;
    struct event *watch;
    int64_t connections;
    int64_t timeout;
    int wake; /* eventfd */
    int64_t connects, failures;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t given;
    struct smtp_settings *settings;
    struct tasks waiting, told;
    int64_t sending; /* given and not answered */
    bool ending;
    struct lane lanes[LANES_MAX];
};

/* Under the lock, but for the first one. */
static void leave_settings(struct smtp_settings *settings)
{
    if (settings != NULL && --settings->users == 0)
        smtp_settings_free(settings);
}

/* ---- a thread ---- */

static void perform(struct lane *lane, struct task *task)
{
    bool reused;
    bool connected = lane_try(lane, task, &reused);
    if (verdict_was_stale(&task->end, reused) && !atomic_load(&lane->late))
        connected = lane_try(lane, task, &reused);
    task->outcome = verdict_of(&task->end);
    pthread_mutex_lock(&lane->smtp->lock);
    lane->smtp->connects += connected;
    lane->smtp->failures += task->outcome == SMTP_UNREACHABLE && task->end.stage < SMTP_STAGE_MAIL;
    pthread_mutex_unlock(&lane->smtp->lock);
}

static void wake_loop(const struct smtp *smtp)
{
    uint64_t one = 1;
    while (write(smtp->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* The next message, or NULL where the thread is to end. Under the lock. */
static struct task *next_task(struct lane *lane)
{
    struct smtp *smtp = lane->smtp;
    while (!smtp->ending) {
        if (!TAILQ_EMPTY(&smtp->waiting)) {
            struct task *task = TAILQ_FIRST(&smtp->waiting);
            TAILQ_REMOVE(&smtp->waiting, task, link);
            return task;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += IDLE_TIME;
        if (lane->curl == NULL) {
            pthread_cond_wait(&smtp->given, &smtp->lock);
        } else if (pthread_cond_timedwait(&smtp->given, &smtp->lock, &until) == ETIMEDOUT) {
            pthread_mutex_unlock(&smtp->lock);
            lane_hang_up(lane);
            pthread_mutex_lock(&smtp->lock);
        }
    }
    return NULL;
}

static void *run(void *context)
{
    struct lane *lane = context;
    struct smtp *smtp = lane->smtp;
    pthread_mutex_lock(&smtp->lock);
    struct task *task;
    while ((task = next_task(lane)) != NULL) {
        bool changed = lane->settings != smtp->settings;
        if (changed) {
            struct smtp_settings *old = lane->settings;
            smtp->settings->users++;
            lane->settings = smtp->settings;
            leave_settings(old);
        }
        lane->task = task;
        atomic_store(&lane->late, false);
        lane_note(lane);
        pthread_mutex_unlock(&smtp->lock);
        if (changed)
            lane_hang_up(lane);
        perform(lane, task);
        pthread_mutex_lock(&smtp->lock);
        lane->task = NULL;
        TAILQ_INSERT_TAIL(&smtp->told, task, link);
        wake_loop(smtp);
    }
    pthread_mutex_unlock(&smtp->lock);
    lane_hang_up(lane);
    return NULL;
}

/* ---- the loop ---- */

static void free_task(struct task *task)
{
    free(task->bytes);
    free(task);
}

static void on_woken(evutil_socket_t descriptor, short events, void *context)
{
    struct smtp *smtp = context;
    uint64_t count;
    (void)events;
    OBJECT_CHECK(smtp, SMTP_MAGIC);
    if (read(descriptor, &count, sizeof count) < 0)
        return;
    pthread_mutex_lock(&smtp->lock);
    struct task *task;
    while ((task = TAILQ_FIRST(&smtp->told)) != NULL) {
        TAILQ_REMOVE(&smtp->told, task, link);
        smtp->sending -= task->done != NULL;
        pthread_mutex_unlock(&smtp->lock);
        if (task->done != NULL)
            task->done(task->context, task->outcome, task->words);
        free_task(task);
        pthread_mutex_lock(&smtp->lock);
    }
    pthread_mutex_unlock(&smtp->lock);
}

/* Under the lock: the thread cannot have closed its descriptor meanwhile. */
static void cut(struct lane *lane)
{
    atomic_store(&lane->late, true);
    int descriptor = atomic_load(&lane->descriptor);
    if (descriptor >= 0)
        shutdown(descriptor, SHUT_RDWR);
}

static void arm_watch(struct smtp *smtp)
{
    int64_t wait = smtp->timeout / 4;
    struct timeval delay = clock_timeval(wait < WATCH_LEAST ? WATCH_LEAST : wait > WATCH_MOST ? WATCH_MOST : wait);
    if (!evtimer_pending(smtp->watch, NULL))
        evtimer_add(smtp->watch, &delay);
}

static void on_watch(evutil_socket_t unused, short events, void *context)
{
    struct smtp *smtp = context;
    (void)unused;
    (void)events;
    OBJECT_CHECK(smtp, SMTP_MAGIC);
    int64_t now = clock_monotonic();
    pthread_mutex_lock(&smtp->lock);
    for (size_t i = 0; i < LANES_MAX; i++) {
        struct lane *lane = &smtp->lanes[i];
        if (lane->task != NULL && now - atomic_load(&lane->moved) > smtp->timeout)
            cut(lane);
    }
    bool busy = smtp->sending > 0;
    pthread_mutex_unlock(&smtp->lock);
    if (busy)
        arm_watch(smtp);
}

/* Threads take no signals: these are the loop's. */
static void start_lane(struct smtp *smtp, struct lane *lane)
{
    sigset_t all, before;
    lane->smtp = smtp;
    lane->lock = &smtp->lock;
    atomic_store(&lane->descriptor, -1);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&lane->thread, NULL, run, lane);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    INVARIANT(failed == 0);
    lane->started = true;
}

struct smtp *smtp_create(const struct smtp_options *options, char *error, size_t error_size)
{
    INVARIANT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    struct smtp_settings *settings = smtp_settings_make(options, error, error_size);
    if (settings == NULL)
        return NULL;
    struct smtp *smtp = calloc(1, sizeof *smtp);
    INVARIANT(smtp != NULL);
    smtp->magic = SMTP_MAGIC;
    smtp->settings = settings;
    smtp->timeout = options->timeout;
    smtp->connections = options->connections;
    TAILQ_INIT(&smtp->waiting);
    TAILQ_INIT(&smtp->told);
    pthread_condattr_t clock;
    INVARIANT(pthread_condattr_init(&clock) == 0 && pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) == 0);
    INVARIANT(pthread_mutex_init(&smtp->lock, NULL) == 0 && pthread_cond_init(&smtp->given, &clock) == 0);
    pthread_condattr_destroy(&clock);
    smtp->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    INVARIANT(smtp->wake >= 0);
    smtp->woken = event_new(options->base, smtp->wake, EV_READ | EV_PERSIST, on_woken, smtp);
    smtp->watch = evtimer_new(options->base, on_watch, smtp);
    INVARIANT(smtp->woken != NULL && smtp->watch != NULL);
    event_add(smtp->woken, NULL);
    return smtp;
}

bool smtp_change(struct smtp *smtp, const struct smtp_options *options, char *error, size_t error_size)
{
    struct smtp_settings *settings = smtp_settings_make(options, error, error_size);
    if (settings == NULL)
        return false;
    pthread_mutex_lock(&smtp->lock);
    leave_settings(smtp->settings);
    smtp->settings = settings;
    smtp->timeout = options->timeout;
    smtp->connections = options->connections;
    pthread_mutex_unlock(&smtp->lock);
    return true;
}

int64_t smtp_room(const struct smtp *smtp)
{
    /* only the loop changes it */
    return smtp->connections > smtp->sending ? smtp->connections - smtp->sending : 0;
}

void smtp_send(struct smtp *smtp, const struct smtp_message *message)
{
    struct task *task = calloc(1, sizeof *task);
    INVARIANT(task != NULL && smtp_room(smtp) > 0 && message->done != NULL);
    snprintf(task->sender, sizeof task->sender, "<%s>", message->sender);
    snprintf(task->recipient, sizeof task->recipient, "<%s>", message->recipient);
    /* a copy: a thread may be at it still after the caller was told that it is given up */
    task->bytes = malloc(message->length == 0 ? 1 : message->length);
    INVARIANT(task->bytes != NULL);
    memcpy(task->bytes, message->bytes, message->length);
    task->length = message->length;
    task->done = message->done;
    task->context = message->context;
    pthread_mutex_lock(&smtp->lock);
    TAILQ_INSERT_TAIL(&smtp->waiting, task, link);
    smtp->sending++;
    size_t idle = 0, started = 0, waiting = 0;
    for (; started < LANES_MAX && smtp->lanes[started].started; started++)
        idle += smtp->lanes[started].task == NULL;
    TAILQ_FOREACH (task, &smtp->waiting, link)
        waiting++;
    if (idle < waiting && (int64_t)started < smtp->connections)
        start_lane(smtp, &smtp->lanes[started]);
    pthread_cond_signal(&smtp->given);
    pthread_mutex_unlock(&smtp->lock);
    arm_watch(smtp);
}

static void give_up(struct smtp *smtp, struct task *task)
{
    smtp_done *done = task->done;
    void *context = task->context;
    task->done = NULL;
    smtp->sending--;
    pthread_mutex_unlock(&smtp->lock);
    done(context, SMTP_GIVEN_UP, "given up while it was being sent: it may have been taken");
    pthread_mutex_lock(&smtp->lock);
}

void smtp_cancel_all(struct smtp *smtp)
{
    struct task *task;
    pthread_mutex_lock(&smtp->lock);
    while ((task = TAILQ_FIRST(&smtp->waiting)) != NULL) {
        TAILQ_REMOVE(&smtp->waiting, task, link);
        give_up(smtp, task);
        free_task(task);
    }
    for (size_t i = 0; i < LANES_MAX; i++) {
        struct lane *lane = &smtp->lanes[i];
        if (lane->task == NULL || lane->task->done == NULL)
            continue;
        cut(lane);
        give_up(smtp, lane->task);
    }
    pthread_mutex_unlock(&smtp->lock);
}

void smtp_figures(const struct smtp *smtp, struct smtp_figures *figures)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&smtp->lock;
    *figures = (struct smtp_figures){.sending = smtp->sending};
    pthread_mutex_lock(lock);
    figures->connects = smtp->connects;
    figures->failures = smtp->failures;
    for (size_t i = 0; i < LANES_MAX; i++)
        figures->open += smtp->lanes[i].started && atomic_load(&smtp->lanes[i].descriptor) >= 0;
    pthread_mutex_unlock(lock);
}

void smtp_destroy(struct smtp *smtp)
{
    smtp_cancel_all(smtp);
    pthread_mutex_lock(&smtp->lock);
    smtp->ending = true;
    for (size_t i = 0; i < LANES_MAX; i++) {
        if (smtp->lanes[i].started)
            cut(&smtp->lanes[i]); /* nobody waits for an answer to QUIT */
    }
    pthread_cond_broadcast(&smtp->given);
    pthread_mutex_unlock(&smtp->lock);
    for (size_t i = 0; i < LANES_MAX && smtp->lanes[i].started; i++) {
        pthread_join(smtp->lanes[i].thread, NULL);
        leave_settings(smtp->lanes[i].settings);
    }
    struct task *task;
    while ((task = TAILQ_FIRST(&smtp->told)) != NULL) {
        TAILQ_REMOVE(&smtp->told, task, link);
        free_task(task);
    }
    leave_settings(smtp->settings);
    event_free(smtp->woken);
    event_free(smtp->watch);
    close(smtp->wake);
    pthread_mutex_destroy(&smtp->lock);
    pthread_cond_destroy(&smtp->given);
    OBJECT_BURY(smtp);
    free(smtp);
}
