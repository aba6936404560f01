/* reload: the new configuration is read here and checked as a whole by a process of its own (OpenSSL and libpq must not
 * start in the master), then put in force in place: in the master, and by one message to each child. Master.
 *
 * Nothing is half done: whatever is wrong with the file, its values or the secrets that it names refuses all of it, and
 * the daemon goes on as it was. What needs another start is left as it is, and named. After that a child can only fail
 * to read again what the check has just read; it says so and keeps what it had. */
#include "master/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/option.h"
#include "master/master.h"
#include "master/process.h"
#include "master/service.h"
#include "shm/statistics.h"

/* Microseconds. A check reads a few files: one that takes longer hangs on one of them. */
#define CHECK_TIME INT64_C(10000000)
/* Children answer within a turn of their loops; who asked for the reload hears no later than this who has not. */
#define ANSWER_TIME INT64_C(3000000)

/* idle → checking (a child looks at the new configuration) → telling (the children of the table take it over) → idle */
enum reload_step { RELOAD_IDLE, RELOAD_CHECKING, RELOAD_TELLING };

static struct {
    struct reload_options options;
    enum reload_step step;
    int64_t asked;  /* the last number given out */
    int64_t number; /* of the one under way, or the last one */
    int64_t deadline;
    bool stopping;
    struct configuration *next; /* CHECKING */
    pid_t checker;              /* CHECKING; 0: it has ended */
    int complaint;              /* CHECKING: the end of a pipe that its line comes through */
    int64_t told;               /* TELLING: the number that the process table gave */
    struct reload_result result;
} reload = {.complaint = -1};

void reload_create(const struct reload_options *options)
{
    reload.options = *options;
}

int64_t reload_ask(void)
{
    reload.asked = reload.number + 1;
    return reload.asked;
}

const struct reload_result *reload_result(int64_t number)
{
    bool ended = number < reload.number || (number == reload.number && reload.step == RELOAD_IDLE);
    return ended ? &reload.result : NULL;
}

static void clear_result(void)
{
    struct reload_change *changes = reload.result.changes;
    for (struct reload_change *change = changes; change != NULL && change->name != NULL; change++) {
        free(change->from);
        free(change->to);
    }
    free(changes);
    reload.result = (struct reload_result){.changes = calloc(1, sizeof *changes)};
    INVARIANT(reload.result.changes != NULL);
}

static void append_name(struct buffer *names, const char *name)
{
    buffer_printf(names, "%s%s", buffer_length(names) == 0 ? "" : ", ", name);
}

/* The one line of a reload. */
static void tell_log(void)
{
    const struct reload_result *result = &reload.result;
    struct buffer changed = {0};
    struct buffer restart = {0};
    for (const struct reload_change *change = result->changes; change->name != NULL; change++)
        append_name(change->restart ? &restart : &changed, change->name);
    if (result->outcome == RELOAD_REFUSED)
        log_error("reload refused; the configuration stays as it was", log_text("error", result->text));
    else
        log_at(result->outcome == RELOAD_DONE ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
               result->outcome == RELOAD_DONE ? "configuration reloaded" : "configuration reloaded, not everywhere",
               log_text("changed", buffer_length(&changed) == 0 ? "nothing" : buffer_text(&changed)),
               log_text("needs_restart", buffer_length(&restart) == 0 ? NULL : buffer_text(&restart)),
               log_text("error", result->text[0] == '\0' ? NULL : result->text));
    buffer_free(&changed);
    buffer_free(&restart);
}

static void finish(enum reload_outcome outcome, const char *text)
{
    reload.step = RELOAD_IDLE;
    reload.result.outcome = outcome;
    snprintf(reload.result.text, sizeof reload.result.text, "%s", text);
    configuration_free(reload.next);
    reload.next = NULL;
    if (reload.complaint >= 0)
        close(reload.complaint);
    reload.complaint = -1;
    statistics_count(STATISTICS_RELOADS, outcome == RELOAD_DONE ? LABEL_RESULT_OK : LABEL_RESULT_FAILED);
    statistics_set(STATISTICS_RELOAD_SUCCEEDED, LABEL_NONE_ONE, LABEL_NONE_ONE, outcome == RELOAD_DONE);
    if (outcome == RELOAD_DONE)
        statistics_set(STATISTICS_RELOAD_TIME, LABEL_NONE_ONE, LABEL_NONE_ONE, clock_realtime());
    tell_log();
    service_reloaded();
    reload.options.ended();
}

/* A FIFO, from `-c <(...)`, would hold up the master until somebody wrote into it. */
static struct configuration *read_file(char *error, size_t error_size)
{
    const char *path = configuration_path(reload.options.configuration);
    struct stat status;
    if (stat(path, &status) != 0) {
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
        return NULL;
    }
    if (!S_ISREG(status.st_mode)) {
        snprintf(error, error_size, "%s: is not a regular file, which could be read again", path);
        return NULL;
    }
    return configuration_read(path, error, error_size);
}

static _Noreturn void check(int complaint)
{
    char error[sizeof reload.result.text - 1];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    reload.options.enter(complaint);
    log_set_process("check", -1);
    if (master_check(reload.next, error, sizeof error))
        _exit(EXIT_SUCCESS);
    ssize_t written = write(complaint, error, strlen(error));
    (void)written;
    _exit(EXIT_FAILURE);
}

/* Another process looks at what only a look at the system can tell. */
static bool start_check(char *error, size_t error_size)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        snprintf(error, error_size, "no pipe for the check: %s", strerror(errno));
        return false;
    }
    reload.complaint = ends[0];
    reload.checker = fork();
    if (reload.checker == 0)
        check(ends[1]);
    close(ends[1]);
    if (reload.checker > 0)
        return true;
    reload.checker = 0;
    snprintf(error, error_size, "no process for the check: %s", strerror(errno));
    return false;
}

static void begin(void)
{
    char error[sizeof reload.result.text];
    reload.number = reload.asked;
    clear_result();
    service_reloading();
    reload.step = RELOAD_CHECKING;
    reload.deadline = clock_monotonic() + CHECK_TIME;
    reload.next = read_file(error, sizeof error);
    if (reload.next == NULL || !start_check(error, sizeof error))
        finish(RELOAD_REFUSED, error);
}

static void note_change(size_t *count, const struct option *option, const struct configuration *next)
{
    char value[OPTION_TEXT_MAX];
    struct reload_change *change;
    reload.result.changes = reallocarray(reload.result.changes, *count + 2, sizeof *change);
    INVARIANT(reload.result.changes != NULL);
    change = &reload.result.changes[(*count)++];
    option_show(option, reload.options.configuration, value, sizeof value);
    *change = (struct reload_change){.name = option->name, .restart = !option->reloadable, .from = strdup(value)};
    option_show(option, next, value, sizeof value);
    change->to = strdup(value);
    INVARIANT(change->from != NULL && change->to != NULL);
    change[1].name = NULL;
}

/* The configuration as it will be: the new values, but for those that need a restart. They must be right together. */
static struct configuration *merge(char *error, size_t error_size)
{
    struct configuration *merged = configuration_copy(reload.options.configuration);
    for (const struct option *option = option_table(); option->name != NULL; option++) {
        if (option->reloadable)
            configuration_take(merged, reload.next, option);
    }
    if (configuration_check(merged, error, error_size))
        return merged;
    size_t length = strlen(error);
    snprintf(error + length, error_size - length, " until the next start");
    configuration_free(merged);
    return NULL;
}

/* Puts the new values in force in the master. */
static void put_in_force(const struct configuration *merged)
{
    size_t count = 0;
    for (const struct option *option = option_table(); option->name != NULL; option++) {
        if (!option_equal(option, reload.options.configuration, reload.next))
            note_change(&count, option, reload.next);
        if (option->reloadable)
            configuration_adopt(option, merged);
    }
    log_configure(merged->log_level, merged->log_format);
    process_set_workers(merged->workers);
}

static void apply(void)
{
    char error[sizeof reload.result.text];
    const char *from = reload.options.configuration->log_file;
    struct configuration *merged = merge(error, sizeof error);
    if (merged == NULL) {
        finish(RELOAD_REFUSED, error);
        return;
    }
    const char *to = merged->log_file;
    if (strcmp(from == NULL ? "" : from, to == NULL ? "" : to) != 0 && !log_open(to)) {
        snprintf(error, sizeof error, "log_file: %s: %s", to == NULL ? "" : to, strerror(errno));
        finish(RELOAD_REFUSED, error);
    } else {
        put_in_force(merged);
        reload.told = process_reload();
        reload.step = RELOAD_TELLING;
        reload.deadline = clock_monotonic() + ANSWER_TIME;
    }
    configuration_free(merged);
}

static void add_problem(void *context, const struct process *process)
{
    struct buffer *text = context;
    const char *between = buffer_length(text) == 0 ? "" : "; ";
    if (process->pid == 0)
        return;
    if (process->reload_done < reload.told)
        buffer_printf(text, "%s%s %d (pid %d) does not answer and goes on with the old values until it does", between,
                      process_role_name(process->role), process->slot, (int)process->pid);
    else if (process->reload_error[0] != '\0')
        buffer_printf(text, "%s%s %d (pid %d): %s", between, process_role_name(process->role), process->slot,
                      (int)process->pid, process->reload_error);
}

static void end_telling(void)
{
    struct buffer text = {0};
    process_each(&PROCESS_ALL, add_problem, &text);
    finish(buffer_length(&text) == 0 ? RELOAD_DONE : RELOAD_PARTIAL, buffer_text(&text));
    buffer_free(&text);
}

void reload_reaped(pid_t pid, int status)
{
    if (pid != reload.checker || reload.checker == 0)
        return;
    reload.checker = 0;
    if (reload.step != RELOAD_CHECKING)
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS) {
        apply();
        return;
    }
    char error[sizeof reload.result.text];
    ssize_t length = read(reload.complaint, error, sizeof error - 1);
    if (length > 0)
        error[length] = '\0';
    else
        snprintf(error, sizeof error, "the check of the new configuration died");
    char line[sizeof reload.result.text];
    snprintf(line, sizeof line, "%s: %.380s", configuration_path(reload.options.configuration), error);
    finish(RELOAD_REFUSED, line);
}

static void end_check(const char *why)
{
    if (reload.checker > 0)
        kill(reload.checker, SIGKILL);
    finish(RELOAD_REFUSED, why);
}

void reload_abandon(void)
{
    reload.stopping = true;
    if (reload.step == RELOAD_CHECKING)
        end_check("the daemon is stopping");
    else if (reload.step == RELOAD_TELLING)
        end_telling();
}

void reload_supervise(void)
{
    int64_t now = clock_monotonic();
    if (reload.step == RELOAD_CHECKING && now >= reload.deadline)
        end_check("the check of the new configuration hangs on one of the files that it names");
    if (reload.step == RELOAD_TELLING && (now >= reload.deadline || process_reloaded(reload.told)))
        end_telling();
    if (reload.step != RELOAD_IDLE || reload.asked == reload.number)
        return;
    if (!reload.stopping) {
        begin();
        return;
    }
    reload.number = reload.asked;
    clear_result();
    finish(RELOAD_REFUSED, "the daemon is stopping");
}

int64_t reload_next_due(void)
{
    if (reload.step != RELOAD_IDLE)
        return reload.deadline;
    return reload.asked == reload.number ? INT64_MAX : 0;
}
