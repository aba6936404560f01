/* mail_command: what turnoutctl does with the outbox and the scheduler's record itself, with the configuration's
 * database: dead mail, retry, drop, pause, resume, show jobs. turnoutctl only. What each does stands in sql/rules. */
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/text.h"
#include "ctl/command.h"
#include "ctl/turnoutctl.h"
#include "pg/session.h"

/* Types of columns that are numbers (pg_type.oid): int4 and int8. */
enum { TYPE_INT8 = 20, TYPE_INT4 = 23 };

enum argument { ARGUMENT_NONE, ARGUMENT_ID, ARGUMENT_ID_OR_ALL, ARGUMENT_WHO };

static const struct task {
    enum command command;
    enum argument argument;
    const char *sql;
    const char *done;    /* of a number or a yes; NULL: rows are printed */
    const char *nothing; /* said instead where it is 0 or no, or where there are no rows */
    bool refused;        /* ... with status 1 */
} tasks[] = {
    {COMMAND_SHOW_JOBS, ARGUMENT_NONE,
     "select job, started_at, took_ms, outcome, rows, runs_day, failed_day, host, error from turnout.job_summary()",
     NULL, "no job has run yet", false},
    {COMMAND_MAIL_DEAD, ARGUMENT_NONE,
     "select id, kind, email, event_id, title, attempts, due_at, error from turnout.mail_dead(0, 100000)", NULL,
     "no mail is dead", false},
    {COMMAND_MAIL_RETRY, ARGUMENT_ID_OR_ALL, "select turnout.mail_retry($1)", "owed again",
     "there is no such mail that could be retried", true},
    {COMMAND_MAIL_DROP, ARGUMENT_ID, "select turnout.mail_drop($1)", "dropped",
     "there is no such mail that is dead or owed", true},
    {COMMAND_MAIL_PAUSE, ARGUMENT_WHO, "select turnout.mail_pause($1)::integer", "mail is paused on all hosts",
     "mail was paused already", false},
    {COMMAND_MAIL_RESUME, ARGUMENT_NONE, "select turnout.mail_resume()::integer", "mail goes on", "mail was not paused",
     false},
};

static const struct task *task_of(enum command command)
{
    const struct task *task = tasks;
    while (task->command != command)
        task++;
    return task;
}

/* ---- rows ---- */

static bool is_number(const PGresult *result, int column)
{
    return PQftype(result, column) == TYPE_INT8 || PQftype(result, column) == TYPE_INT4;
}

static void print_json(const PGresult *result)
{
    struct buffer out = {0};
    buffer_append_text(&out, "[");
    for (int row = 0; row < PQntuples(result); row++) {
        buffer_append_text(&out, row > 0 ? ",{" : "{");
        for (int column = 0; column < PQnfields(result); column++) {
            buffer_printf(&out, "%s\"%s\":", column > 0 ? "," : "", PQfname(result, column));
            const char *value = PQgetvalue(result, row, column);
            if (PQgetisnull(result, row, column))
                buffer_append_text(&out, "null");
            else if (is_number(result, column))
                buffer_append_text(&out, value);
            else
                text_append_json(&out, value, strlen(value));
        }
        buffer_append_text(&out, "}");
    }
    buffer_append_text(&out, "]");
    puts(buffer_text(&out));
    buffer_free(&out);
}

/* A value as a cell of a terminal: what an organizer or a server wrote moves no cursor. */
static const char *cell(const PGresult *result, int row, int column)
{
    static char text[512];
    if (PQgetisnull(result, row, column))
        return "-";
    snprintf(text, sizeof text, "%s", PQgetvalue(result, row, column));
    for (char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = ' ';
    }
    return text;
}

static void print_table(const PGresult *result)
{
    enum { COLUMNS_MAX = 16 };
    int widths[COLUMNS_MAX] = {0};
    int columns = PQnfields(result);
    INVARIANT(columns <= COLUMNS_MAX);
    for (int column = 0; column < columns; column++) {
        widths[column] = (int)strlen(PQfname(result, column));
        for (int row = 0; row < PQntuples(result); row++) {
            int width = (int)strlen(cell(result, row, column));
            widths[column] = width > widths[column] ? width : widths[column];
        }
    }
    for (int column = 0; column < columns; column++) {
        char name[64];
        snprintf(name, sizeof name, "%s", PQfname(result, column));
        for (char *at = name; *at != '\0'; at++)
            *at = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
        printf("%-*s%s", column + 1 < columns ? widths[column] + 2 : 0, name, column + 1 < columns ? "" : "\n");
    }
    for (int row = 0; row < PQntuples(result); row++) {
        for (int column = 0; column < columns; column++)
            printf("%-*s%s", column + 1 < columns ? widths[column] + 2 : 0, cell(result, row, column),
                   column + 1 < columns ? "" : "\n");
    }
}

/* ---- the command ---- */

static int say(const struct turnoutctl *ctl, int status, const char *text)
{
    if (ctl->json) {
        struct buffer out = {0};
        buffer_printf(&out, "{\"status\":%d,\"text\":", status);
        text_append_json(&out, text, strlen(text));
        buffer_append_text(&out, "}");
        puts(buffer_text(&out));
        buffer_free(&out);
    } else {
        fprintf(status == CTL_DONE ? stdout : stderr, "%s%s\n", status == CTL_DONE ? "" : "turnoutctl: ", text);
    }
    return status;
}

static int conclude(const struct turnoutctl *ctl, const struct task *task, const PGresult *result)
{
    char text[160];
    int64_t count = 0;
    if (task->done == NULL && ctl->json) {
        print_json(result);
        return CTL_DONE;
    }
    if (task->done == NULL && PQntuples(result) > 0) {
        print_table(result);
        return CTL_DONE;
    }
    if (task->done == NULL)
        return say(ctl, CTL_DONE, task->nothing);
    if (PQntuples(result) != 1 || !text_parse_int64(PQgetvalue(result, 0, 0), 0, INT64_MAX, &count))
        count = 0;
    bool all = ctl->argument_count == 1 && strcmp(ctl->arguments[0], "all") == 0;
    if (task->argument == ARGUMENT_ID || task->argument == ARGUMENT_ID_OR_ALL)
        snprintf(text, sizeof text, "%" PRId64 " letter%s %s", count, count == 1 ? " is" : "s are", task->done);
    else
        snprintf(text, sizeof text, "%s", task->done);
    if (count > 0 || all)
        return say(ctl, CTL_DONE, text);
    return say(ctl, task->refused ? CTL_REFUSED : CTL_DONE, task->nothing);
}

/* The only parameter; NULL is null. */
static const char *parameter_of(const struct turnoutctl *ctl, const struct task *task, const char *words)
{
    const struct passwd *user;
    int64_t id;
    bool takes = task->argument == ARGUMENT_ID || task->argument == ARGUMENT_ID_OR_ALL;
    if (ctl->argument_count != (takes ? 1 : 0))
        log_bad_start("%s: expected %s", words, takes ? "exactly one argument" : "no argument");
    switch (task->argument) {
    case ARGUMENT_NONE:
        return NULL;
    case ARGUMENT_WHO:
        user = getpwuid(geteuid());
        return user == NULL ? "somebody without a name" : user->pw_name;
    case ARGUMENT_ID_OR_ALL:
        if (strcmp(ctl->arguments[0], "all") == 0)
            return NULL;
        break;
    case ARGUMENT_ID:
        break;
    }
    if (!text_parse_int64(ctl->arguments[0], 1, INT64_MAX, &id))
        log_bad_start("%s: \"%s\" is no number of a mail; see mail dead", words, ctl->arguments[0]);
    return ctl->arguments[0];
}

int mail_command(enum command command, const struct turnoutctl *ctl)
{
    const struct task *task = task_of(command);
    const char *parameter = parameter_of(ctl, task, command_table[command].words);
    struct configuration *configuration = turnoutctl_configuration(ctl);
    char error[512];
    PGconn *connection =
        pg_session_open(configuration->database, configuration->database_password_file, error, sizeof error);
    configuration_free(configuration);
    if (connection == NULL) {
        fprintf(stderr, "turnoutctl: %s\n", error);
        return CTL_UNREACHABLE;
    }
    PGresult *result =
        PQexecParams(connection, task->sql, task->argument == ARGUMENT_NONE ? 0 : 1, NULL, &parameter, NULL, NULL, 0);
    int status = CTL_UNREACHABLE;
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        status = conclude(ctl, task, result);
    } else {
        pg_session_error(connection, result, error, sizeof error);
        fprintf(stderr, "turnoutctl: %s\n", error);
    }
    PQclear(result);
    PQfinish(connection);
    return status;
}
