/* scheduler: runs each job of one table at its interval, one at a time, and keeps the record in job_runs. What a job
 * does stands in SQL and may run on several hosts at once; the record decides nothing. It may write to PostgreSQL: with
 * the app's role, and for partitions with the owner's. */
#include "scheduler/scheduler.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/pool_metrics.h"
#include "api/statements.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "pg/pool.h"
#include "pg/report.h"
#include "scheduler/audit.h"
#include "shm/statistics.h"
#include "shm/usage.h"

#define JOB_MAGIC 0x4a4f4253U
/* Events completed in one statement: keeps each transaction short after a long downtime. */
#define COMPLETE_BATCH 500
/* Microseconds until a failed job is tried again, where its interval is longer. */
#define RETRY_WAIT INT64_C(10000000)
/* Microseconds that a job's statement may take. */
#define JOB_STATEMENT_TIMEOUT INT64_C(60000000)
/* How many times as long as a step took the pause behind it is, and the shortest pause in microseconds. */
#define STEP_PAUSE 9
#define STEP_PAUSE_MIN INT64_C(100000)
/* Connections that are kept open: the app's; the owner's only while there is work for it. */
#define APP_LEAST 1
#define OWNER_LEAST 0

/* Registrations of one event in one step of its work: what others may have to wait for, some 70 ms. */
#define EVENT_WORK_BATCH 1000

/* A job goes waiting → starting (its record) → running (its statement, again while there is more, or, after a pause,
 * where its work is done in small steps) → finishing → waiting. One that is asked often and nearly always for nothing
 * (`idle`) has its record made only when its first statement has found work: waiting → running → starting → running …
 */
enum job_step { JOB_WAITING, JOB_STARTING, JOB_RUNNING, JOB_PAUSING, JOB_FINISHING };

struct job {
    OBJECT_HEADER;
    const char *name;
    unsigned label; /* in the statistics */
    const struct pg_statement *statement;
    struct pg_pool *pool;
    char parameters[2][32];
    int64_t interval;
    int64_t batch;   /* a result of so many rows means there is more to do; 0: never */
    bool idle;       /* nearly always there is nothing to do, and no record of that */
    bool afterwards; /* its record is made when it is over, and only where it did something: one statement */
    /* Reads the answer instead of taking its only value for the number of rows; adds to `rows`, and answers whether
     * there is more to do, which then begins after a pause. NULL: `batch` says so. */
    bool (*take)(const PGresult *result, int64_t *rows);
    int64_t sent; /* monotonic, JOB_RUNNING */
    enum job_step step;
    struct event *timer;
    int64_t waits_since; /* monotonic, JOB_WAITING */
    int64_t due;         /* monotonic, JOB_WAITING */
    char run[24];        /* id of the record; "" where it could not be made */
    int64_t rows;
    bool failed;
    char error[256];
};

enum {
    JOB_COMPLETE,
    JOB_EVENT_WORK,
    JOB_REMINDERS,
    JOB_SURVEYS,
    JOB_CHANGES,
    JOB_KEYS,
    JOB_OUTBOX,
    JOB_PARTITIONS,
    JOB_AUDIT,
    JOB_COUNT
};

static struct {
    struct child *child;
    struct pg_pool *app;
    struct pg_pool *owner;
    struct job jobs[JOB_COUNT];
    char host[65];
    bool stopping;
} scheduler;

static void leave_when_idle(void)
{
    for (size_t i = 0; i < JOB_COUNT; i++) {
        if (scheduler.jobs[i].step != JOB_WAITING)
            return;
    }
    child_exit(scheduler.child, EXIT_STATUS_DONE);
}

static void wait_for(struct job *job, int64_t wait)
{
    job->step = JOB_WAITING;
    if (scheduler.stopping) {
        leave_when_idle();
        return;
    }
    job->waits_since = clock_monotonic();
    job->due = job->waits_since + wait;
    struct timeval delay = clock_timeval(wait);
    evtimer_add(job->timer, &delay);
}

static void submit(struct job *job, struct pg_pool *pool, const struct pg_statement *statement,
                   const char *const *parameters, enum pg_retry retry, pg_done *done)
{
    struct pg_query query = {.statement = statement, .retry = retry, .done = done, .context = job};
    for (int i = 0; i < statement->parameter_count; i++)
        query.parameters[i] = parameters[i];
    pg_pool_submit(pool, &query);
}

static const char *failure(const struct pg_answer *answer)
{
    switch (answer->status) {
    case PG_STATUS_FAILED:
        return answer->message;
    case PG_STATUS_TIMED_OUT:
        return "statement time-out";
    case PG_STATUS_UNAVAILABLE:
        return "no connection to PostgreSQL";
    case PG_STATUS_LOST:
        return "connection to PostgreSQL lost";
    case PG_STATUS_ROWS:
        break;
    }
    return NULL;
}

static void on_finished(void *context, const struct pg_answer *answer)
{
    struct job *job = context;
    OBJECT_CHECK(job, JOB_MAGIC);
    const char *why = failure(answer);
    if (why != NULL)
        log_warning("a job's record could not be finished", log_text("job", job->name), log_text("error", why));
    PQclear(answer->result);
    wait_for(job, job->failed && job->interval > RETRY_WAIT ? RETRY_WAIT : job->interval);
}

static void finish(struct job *job)
{
    statistics_add(STATISTICS_JOB_RUNS, job->label, job->failed ? LABEL_RESULT_FAILED : LABEL_RESULT_OK, 1);
    statistics_add(STATISTICS_JOB_ROWS, job->label, LABEL_NONE_ONE, job->rows);
    if (!job->failed)
        statistics_set(STATISTICS_JOB_TIME, job->label, LABEL_NONE_ONE, clock_realtime());
    if (job->failed)
        log_error("a job failed", log_text("job", job->name), log_text("error", job->error));
    else if (job->rows > 0)
        log_info("a job did its work", log_text("job", job->name), log_int("rows", job->rows));
    job->step = JOB_FINISHING;
    char rows[24];
    snprintf(rows, sizeof rows, "%" PRId64, job->rows);
    if (job->afterwards && (job->failed || job->rows > 0)) {
        char took[48];
        snprintf(took, sizeof took, "%" PRId64 " microseconds", clock_monotonic() - job->sent);
        const char *parameters[] = {
            job->name, scheduler.host, took, job->failed ? "failed" : "done", rows, job->failed ? job->error : NULL};
        submit(job, scheduler.app, &statement_job_ran, parameters, PG_RETRY_NEVER, on_finished);
        return;
    }
    if (job->run[0] == '\0') {
        wait_for(job, job->failed && job->interval > RETRY_WAIT ? RETRY_WAIT : job->interval);
        return;
    }
    const char *parameters[] = {job->run, job->failed ? "failed" : "done", rows, job->failed ? job->error : NULL};
    submit(job, scheduler.app, &statement_job_finished, parameters, PG_RETRY_READ, on_finished);
}

static void run(struct job *job);
static void start(struct job *job);

/* Small steps leave the database alone for nine tenths of the time, however long a step takes there. */
static void pause_job(struct job *job)
{
    int64_t wait = (clock_monotonic() - job->sent) * STEP_PAUSE;
    struct timeval delay = clock_timeval(wait < STEP_PAUSE_MIN ? STEP_PAUSE_MIN : wait);
    job->step = JOB_PAUSING;
    evtimer_add(job->timer, &delay);
}

static void on_run(void *context, const struct pg_answer *answer)
{
    struct job *job = context;
    OBJECT_CHECK(job, JOB_MAGIC);
    const char *why = failure(answer);
    int64_t rows = 0;
    bool more = false;
    if (why != NULL) {
        job->failed = true;
        snprintf(job->error, sizeof job->error, "%s", why);
    } else if (job->take != NULL) {
        more = job->take(answer->result, &job->rows);
    } else if (PQntuples(answer->result) == 1 &&
               text_parse_int64(PQgetvalue(answer->result, 0, 0), 0, INT64_MAX, &rows)) {
        job->rows += rows;
    }
    PQclear(answer->result);
    bool again = !job->failed && job->batch > 0 && rows >= job->batch && !scheduler.stopping;
    if (again && job->run[0] == '\0' && job->idle)
        start(job);
    else if (more && !scheduler.stopping)
        pause_job(job);
    else if (again)
        run(job);
    else
        finish(job);
}

/* Each job's function can be run again at any time, so a lost connection is simply another try. */
static void run(struct job *job)
{
    const char *parameters[] = {job->parameters[0], job->parameters[1]};
    job->step = JOB_RUNNING;
    job->sent = clock_monotonic();
    submit(job, job->pool, job->statement, parameters, PG_RETRY_READ, on_run);
}

static void on_started(void *context, const struct pg_answer *answer)
{
    struct job *job = context;
    OBJECT_CHECK(job, JOB_MAGIC);
    const char *why = failure(answer);
    job->run[0] = '\0';
    if (why == NULL && PQntuples(answer->result) == 1)
        snprintf(job->run, sizeof job->run, "%s", PQgetvalue(answer->result, 0, 0));
    if (why != NULL) {
        job->failed = true;
        snprintf(job->error, sizeof job->error, "%s", why);
        finish(job);
        return;
    }
    PQclear(answer->result);
    run(job);
}

static void start(struct job *job)
{
    job->step = JOB_STARTING;
    const char *parameters[] = {job->name, scheduler.host};
    submit(job, scheduler.app, &statement_job_started, parameters, PG_RETRY_NEVER, on_started);
}

static void on_timer(evutil_socket_t unused, short events, void *context)
{
    struct job *job = context;
    (void)unused;
    (void)events;
    OBJECT_CHECK(job, JOB_MAGIC);
    if (job->step == JOB_PAUSING) {
        run(job);
        return;
    }
    if (scheduler.stopping)
        return;
    job->rows = 0;
    job->failed = false;
    job->run[0] = '\0';
    if (job->idle || job->afterwards)
        run(job);
    else
        start(job);
}

static void on_stop(void *context, enum child_stop how)
{
    (void)context;
    scheduler.stopping = true;
    if (how == CHILD_STOP_NOW) {
        child_exit(scheduler.child, EXIT_STATUS_DONE);
        return;
    }
    leave_when_idle();
    for (size_t i = 0; i < JOB_COUNT; i++) {
        if (scheduler.jobs[i].step != JOB_PAUSING)
            continue;
        evtimer_del(scheduler.jobs[i].timer);
        finish(&scheduler.jobs[i]); /* its next steps are its successor's */
    }
}

static void sample(void)
{
    pool_metrics_sample(LABEL_POOL_SCHEDULER_APP, scheduler.app);
    if (scheduler.owner != NULL)
        pool_metrics_sample(LABEL_POOL_SCHEDULER_OWNER, scheduler.owner);
    usage_sample();
}

static void on_lag(void *context, int64_t microseconds)
{
    (void)context;
    statistics_observe(STATISTICS_LOOP_LAG, LABEL_ROLE_SCHEDULER, microseconds);
}

static void on_report(void *context, struct child_report *report)
{
    (void)context;
    pg_pool_report(scheduler.app, "app", report);
    if (scheduler.owner != NULL)
        pg_pool_report(scheduler.owner, "owner", report);
    sample();
}

/* Its two connections are not part of the workers' share. */
static void on_db_share(void *context, int64_t share)
{
    (void)context;
    (void)share;
}

static struct pg_pool *open_pool(const struct configuration *configuration, unsigned label, const char *name,
                                 const char *dsn, const char *password_file, int64_t least)
{
    struct pg_pool_options options = {.base = child_base(scheduler.child),
                                      .role = "scheduler",
                                      .name = name,
                                      .dsn = dsn,
                                      .password_file = password_file,
                                      .connections_min = least,
                                      .connections_max = 1,
                                      .connect_timeout = configuration->db_connect_timeout,
                                      .acquire_timeout = configuration->db_acquire_timeout,
                                      .statement_timeout = JOB_STATEMENT_TIMEOUT,
                                      .idle_time = configuration->db_idle_time,
                                      .lifetime = configuration->db_lifetime,
                                      .queue_max = 100,
                                      .observer = pool_metrics_observer(label)};
    return pg_pool_create(&options);
}

static void add_job(int place, unsigned label, const char *name, const struct pg_statement *statement,
                    struct pg_pool *pool)
{
    struct job *job = &scheduler.jobs[place];
    job->magic = JOB_MAGIC;
    job->name = name;
    job->label = label;
    job->statement = statement;
    job->pool = pool;
    job->timer = evtimer_new(child_base(scheduler.child), on_timer, job);
    INVARIANT(job->timer != NULL);
}

static void add_jobs(void)
{
    add_job(JOB_COMPLETE, LABEL_JOB_COMPLETE_EVENTS, "complete-events", &statement_complete_ended_events,
            scheduler.app);
    add_job(JOB_EVENT_WORK, LABEL_JOB_EVENT_WORK, "event-work", &statement_event_work_step, scheduler.app);
    add_job(JOB_REMINDERS, LABEL_JOB_REMINDERS, "reminders", &statement_owe_reminders, scheduler.app);
    add_job(JOB_SURVEYS, LABEL_JOB_SURVEY_INVITATIONS, "survey-invitations", &statement_owe_survey_invitations,
            scheduler.app);
    scheduler.jobs[JOB_REMINDERS].afterwards = scheduler.jobs[JOB_SURVEYS].afterwards = true;
    add_job(JOB_CHANGES, LABEL_JOB_PRUNE_CHANGES, "prune-changes", &statement_prune_changes, scheduler.app);
    add_job(JOB_KEYS, LABEL_JOB_PRUNE_KEYS, "prune-idempotency-keys", &statement_prune_idempotency_keys, scheduler.app);
    add_job(JOB_OUTBOX, LABEL_JOB_PRUNE_OUTBOX, "prune-outbox", &statement_mail_prune, scheduler.app);
    add_job(JOB_AUDIT, LABEL_JOB_AUDIT, "audit", &statement_audit_step, scheduler.app);
    scheduler.jobs[JOB_AUDIT].take = audit_take;
    add_job(JOB_PARTITIONS, LABEL_JOB_PARTITIONS, "partitions", &statement_ensure_partitions, scheduler.owner);
    scheduler.jobs[JOB_COMPLETE].batch = COMPLETE_BATCH;
    snprintf(scheduler.jobs[JOB_COMPLETE].parameters[0], sizeof scheduler.jobs->parameters[0], "%d", COMPLETE_BATCH);
    scheduler.jobs[JOB_EVENT_WORK].batch = 1;
    scheduler.jobs[JOB_EVENT_WORK].idle = true;
    snprintf(scheduler.jobs[JOB_EVENT_WORK].parameters[0], sizeof scheduler.jobs->parameters[0], "%d",
             EVENT_WORK_BATCH);
    scheduler.jobs[JOB_KEYS].batch = 1; /* it deletes so many at once, and is done when there are none */
    scheduler.jobs[JOB_OUTBOX].batch = 1;
}

/* At the start and after a reload. */
static void set_jobs(const struct configuration *configuration)
{
    struct job *jobs = scheduler.jobs;
    size_t size = sizeof jobs->parameters[0];
    jobs[JOB_COMPLETE].interval = configuration->complete_interval;
    jobs[JOB_EVENT_WORK].interval = configuration->event_work_interval;
    jobs[JOB_REMINDERS].interval = jobs[JOB_SURVEYS].interval = configuration->reminder_interval;
    jobs[JOB_CHANGES].interval = configuration->prune_interval;
    jobs[JOB_KEYS].interval = configuration->prune_interval;
    jobs[JOB_OUTBOX].interval = configuration->prune_interval;
    jobs[JOB_PARTITIONS].interval = configuration->partition_interval;
    snprintf(jobs[JOB_CHANGES].parameters[0], size, "%" PRId64 " microseconds", configuration->changes_keep);
    snprintf(jobs[JOB_KEYS].parameters[0], size, "%" PRId64 " microseconds", configuration->idempotency_keep);
    snprintf(jobs[JOB_OUTBOX].parameters[0], size, "%" PRId64 " microseconds", configuration->outbox_keep);
    snprintf(jobs[JOB_PARTITIONS].parameters[0], size, "%" PRId64, configuration->partition_years);
    jobs[JOB_AUDIT].interval = configuration->audit_interval;
    snprintf(jobs[JOB_AUDIT].parameters[0], size, "%" PRId64, configuration->audit_rows);
    snprintf(jobs[JOB_AUDIT].parameters[1], size, "%" PRId64 " microseconds", configuration->audit_interval);
}

/* A job that waits by an interval which is now another one: by that, from when it began to wait. One that is tried
 * again soon after a failure keeps its time where that is sooner. */
static void retime(struct job *job, int64_t interval_before)
{
    if (job->pool == NULL || job->step != JOB_WAITING || job->interval == interval_before || scheduler.stopping)
        return;
    int64_t due = job->waits_since + job->interval;
    if (job->due - job->waits_since < interval_before && job->due < due)
        return;
    job->due = due;
    struct timeval delay = clock_timeval(due - clock_monotonic());
    evtimer_add(job->timer, &delay);
}

static void change_pool(struct pg_pool *pool, const char *password_file, int64_t least)
{
    const struct configuration *configuration = configuration_get();
    struct pg_pool_settings settings = {.password_file = password_file,
                                        .connections_min = least,
                                        .connect_timeout = configuration->db_connect_timeout,
                                        .acquire_timeout = configuration->db_acquire_timeout,
                                        .statement_timeout = JOB_STATEMENT_TIMEOUT,
                                        .idle_time = configuration->db_idle_time,
                                        .lifetime = configuration->db_lifetime};
    pg_pool_change(pool, &settings);
}

static bool on_reload(void *context, char *error, size_t error_size)
{
    const struct configuration *configuration = configuration_get();
    int64_t before[JOB_COUNT];
    (void)context;
    (void)error;
    (void)error_size;
    for (size_t i = 0; i < JOB_COUNT; i++)
        before[i] = scheduler.jobs[i].interval;
    set_jobs(configuration);
    change_pool(scheduler.app, configuration->database_password_file, APP_LEAST);
    if (scheduler.owner != NULL)
        change_pool(scheduler.owner, configuration->database_owner_password_file, OWNER_LEAST);
    for (size_t i = 0; i < JOB_COUNT; i++)
        retime(&scheduler.jobs[i], before[i]);
    return true;
}

int scheduler_main(const struct scheduler_options *options)
{
    const struct configuration *configuration = options->configuration;
    scheduler.child = child_create(options->start);
    if (gethostname(scheduler.host, sizeof scheduler.host - 1) != 0)
        snprintf(scheduler.host, sizeof scheduler.host, "unknown");
    scheduler.app = open_pool(configuration, LABEL_POOL_SCHEDULER_APP, "app", configuration->database,
                              configuration->database_password_file, APP_LEAST);
    if (configuration->database_owner != NULL)
        scheduler.owner = open_pool(configuration, LABEL_POOL_SCHEDULER_OWNER, "owner", configuration->database_owner,
                                    configuration->database_owner_password_file, OWNER_LEAST);
    else
        log_warning("database_owner is not set: partitions for coming years are not made by this host");
    add_jobs();
    set_jobs(configuration);
    for (size_t i = 0; i < JOB_COUNT; i++) {
        if (scheduler.jobs[i].pool != NULL)
            wait_for(&scheduler.jobs[i], 0);
    }

    static const struct child_callbacks callbacks = {
        .stop = on_stop, .report = on_report, .db_share = on_db_share, .lag = on_lag, .reload = on_reload};
    child_ready(scheduler.child);
    int status = child_run(scheduler.child, &callbacks);
    /* the owner's first: a job that it answers now finishes its record through the other one */
    if (scheduler.owner != NULL)
        pg_pool_destroy(scheduler.owner);
    pg_pool_destroy(scheduler.app);
    return status;
}
