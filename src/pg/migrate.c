/* migrate: brings the database's schema and rules up to date. turnoutctl only; writes to PostgreSQL as the owner.
 *
 * One migration runs at a time, over all hosts: a session advisory lock is held throughout. Each schema file is one
 * transaction with its row in turnout.migrations, the rules are one transaction with theirs in turnout.rules. So it may
 * be killed at any moment, and the next run goes on from there. Triggers on those two tables tell the caches.
 *
 * A file that begins with the line STATEMENT_BY_STATEMENT is one query; each row of its result is a statement that runs
 * by itself, outside of a transaction. So an index of a big table is built concurrently, whatever partitions an
 * installation has. Such a query asks the catalogue what is still to do, as it may be run again from the middle. */
#include "pg/migrate.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "pg/session.h"
#include "pg/sql_files.h"

/* Any number will do, as long as nobody else locks it: "turnout" in ASCII. */
#define LOCK "32780231637955956"
/* A migration that waits for a table lock makes everybody else wait behind it: it gives up soon and comes again. */
#define LOCK_TIMEOUT "3s"
#define TRIES_MOST 20
#define BETWEEN_TRIES_SECONDS 1
/* Outside of a transaction writers go on, and must not wait long behind a statement that waits itself. Building
 * concurrently holds nobody up, and waits for who was there before it as long as that takes. */
#define STATEMENT_LOCK_TIMEOUT "500ms"
#define STATEMENT_BY_STATEMENT "-- statement by statement\n"
#define BETWEEN_LOOKS_MICROSECONDS 100000

struct migration {
    const struct pg_migrate_options *options;
    PGconn *connection;
    struct pg_sql_files schema;
    struct pg_sql_files rules;
    char rules_checksum[PG_SHA256_TEXT_SIZE];
    int applied;    /* the highest version of the database */
    bool rules_due; /* the rules of the database are others */
};

/* A transaction that failed: is it worth another try? */
enum try { TRY_DONE, TRY_AGAIN, TRY_FAILED };

static bool run(struct migration *migration);
static bool lock(struct migration *migration);
static bool check_server(struct migration *migration);
static bool make_schema(struct migration *migration);
static bool read_applied(struct migration *migration);
static bool check_applied(struct migration *migration, const PGresult *applied);
static bool read_rules(struct migration *migration);
static bool apply_schema(struct migration *migration);
static bool apply_rules(struct migration *migration);
static bool with_tries(struct migration *migration, const char *name,
                       enum try (*transaction)(struct migration *, const struct pg_sql_file *),
                       const struct pg_sql_file *file);
static enum try apply_file(struct migration *migration, const struct pg_sql_file *file);
static enum try apply_statements(struct migration *migration, const struct pg_sql_file *file);
static enum try record(struct migration *migration, const struct pg_sql_file *file);
static enum try apply_all_rules(struct migration *migration, const struct pg_sql_file *unused);
static enum try begin(struct migration *migration);
static enum try run_file(struct migration *migration, const char *folder, const struct pg_sql_file *file);
static enum try run_sql(struct migration *migration, const char *sql, int count, const char *const *values);
static enum try judge(struct migration *migration, PGresult *result, const char *folder,
                      const struct pg_sql_file *file);
static bool ask(struct migration *migration, const char *sql, char *value, size_t size);
static int line_of(const char *text, const PGresult *error);
static bool fail(const struct migration *migration, const char *format, ...) PRINTF_LIKE(2, 3);
static void tell(const struct migration *migration, const char *format, ...) PRINTF_LIKE(2, 3);

int pg_migrate(const struct pg_migrate_options *options)
{
    struct migration migration = {.options = options};
    bool good =
        pg_sql_files_read_schema(&migration.schema, options->sql_directory, options->error, options->error_size) &&
        pg_sql_files_read_rules(&migration.rules, options->sql_directory, options->error, options->error_size);
    if (good) {
        pg_sql_files_checksum(&migration.rules, migration.rules_checksum);
        migration.connection =
            pg_session_open(options->dsn, options->password_file, options->error, options->error_size);
        good = migration.connection != NULL && run(&migration);
    }
    PQfinish(migration.connection);
    pg_sql_files_free(&migration.schema);
    pg_sql_files_free(&migration.rules);
    return good ? 0 : 1;
}

static bool run(struct migration *migration)
{
    if (!check_server(migration) || !lock(migration) || !make_schema(migration) || !read_applied(migration) ||
        !read_rules(migration))
        return false;
    int expected = migration->schema.count;
    if (migration->applied > expected) {
        tell(migration,
             "the database is at version %d, these files end at %d: it belongs to a newer turnout, nothing is changed",
             migration->applied, expected);
        return true;
    }
    bool due = migration->applied < expected || migration->rules_due;
    if (!apply_schema(migration) || (migration->rules_due && !apply_rules(migration)))
        return false;
    tell(migration, "version %d%s", expected, due ? "" : ", nothing to do");
    return true;
}

static bool check_server(struct migration *migration)
{
    char value[64];
    if (PQserverVersion(migration->connection) < 150000)
        return fail(migration, "PostgreSQL %s is too old: turnout needs version 15 or newer",
                    PQparameterStatus(migration->connection, "server_version"));
    const char *encoding = PQparameterStatus(migration->connection, "server_encoding");
    if (encoding == NULL || strcmp(encoding, "UTF8") != 0)
        return fail(migration, "the database is encoded in %s: make one with encoding UTF8",
                    encoding == NULL ? "something unknown" : encoding);
    if (!ask(migration, "select count(*) from pg_catalog.pg_roles where rolname = 'turnout_app'", value, sizeof value))
        return false;
    if (strcmp(value, "0") == 0)
        return fail(migration, "the role turnout_app does not exist. turnout runs as turnout_app and migrates as "
                               "turnout_owner; a superuser makes them with\n"
                               "  create role turnout_owner login;\n"
                               "  create role turnout_app login;");
    return true;
}

/* Held until the connection ends. Asked for again and again: a statement that waited for it would be an old
 * transaction, for which an index that is built concurrently by the other migration would wait in turn. */
static bool lock(struct migration *migration)
{
    char value[64];
    for (bool told = false;; told = true) {
        if (!ask(migration, "select pg_catalog.pg_try_advisory_lock(" LOCK ")", value, sizeof value))
            return false;
        if (strcmp(value, "t") == 0)
            return true;
        if (!told)
            tell(migration, "another migration is running: waiting for its end");
        usleep(BETWEEN_LOOKS_MICROSECONDS);
    }
}

/* `if not exists` would ask for the right to create schemas even where there is nothing to create. */
static bool make_schema(struct migration *migration)
{
    char value[64];
    if (!ask(migration, "select pg_catalog.to_regclass('turnout.migrations') is not null", value, sizeof value))
        return false;
    if (strcmp(value, "t") == 0)
        return true;
    if (!ask(migration, "select pg_catalog.to_regnamespace('turnout') is not null", value, sizeof value))
        return false;
    if (strcmp(value, "t") != 0 && run_sql(migration, "create schema turnout", 0, NULL) != TRY_DONE)
        return false;
    return run_sql(migration,
                   "create table turnout.migrations (version integer primary key, name text not null, "
                   "checksum text not null, applied_at timestamptz not null default now())",
                   0, NULL) == TRY_DONE;
}

static bool read_applied(struct migration *migration)
{
    PGresult *applied = PQexec(migration->connection, "select version, name, checksum, "
                                                      "to_char(applied_at, 'YYYY-MM-DD HH24:MI') || ' UTC' "
                                                      "from turnout.migrations order by version");
    bool good = PQresultStatus(applied) == PGRES_TUPLES_OK;
    if (good)
        good = check_applied(migration, applied);
    else
        pg_session_error(migration->connection, applied, migration->options->error, migration->options->error_size);
    PQclear(applied);
    return good;
}

/* What has run must be what the files say, or nobody knows what the database is. */
static bool check_applied(struct migration *migration, const PGresult *applied)
{
    for (int i = 0; i < PQntuples(applied); i++) {
        int version = atoi(PQgetvalue(applied, i, 0));
        if (version != i + 1)
            return fail(migration, "the database lacks version %d but has version %d (%s)", i + 1, version,
                        PQgetvalue(applied, i, 1));
        migration->applied = version;
        if (version > migration->schema.count)
            continue; /* of a newer turnout */
        const struct pg_sql_file *file = &migration->schema.files[version - 1];
        if (strcmp(file->checksum, PQgetvalue(applied, i, 2)) != 0)
            return fail(migration,
                        "%s was edited after it was applied (%s); nothing has been changed. Restore it and "
                        "put the change into a new file",
                        file->name, PQgetvalue(applied, i, 3));
    }
    return true;
}

static bool read_rules(struct migration *migration)
{
    char value[PG_SHA256_TEXT_SIZE];
    if (!ask(migration, "select pg_catalog.to_regclass('turnout.rules') is not null", value, sizeof value))
        return false;
    migration->rules_due = true;
    if (strcmp(value, "t") != 0)
        return true;
    if (!ask(migration, "select checksum from turnout.rules", value, sizeof value))
        return false;
    migration->rules_due = strcmp(value, migration->rules_checksum) != 0;
    return true;
}

static bool apply_schema(struct migration *migration)
{
    while (migration->applied < migration->schema.count) {
        const struct pg_sql_file *file = &migration->schema.files[migration->applied];
        int64_t began = clock_monotonic();
        bool alone = strncmp(file->text, STATEMENT_BY_STATEMENT, strlen(STATEMENT_BY_STATEMENT)) == 0;
        if (!with_tries(migration, file->name, alone ? apply_statements : apply_file, file))
            return false;
        migration->applied = file->version;
        tell(migration, "applied %s in %" PRId64 " ms", file->name, (clock_monotonic() - began) / 1000);
    }
    return true;
}

static bool apply_rules(struct migration *migration)
{
    int64_t began = clock_monotonic();
    if (!with_tries(migration, "rules", apply_all_rules, NULL))
        return false;
    tell(migration, "applied %d rules in %" PRId64 " ms", migration->rules.count, (clock_monotonic() - began) / 1000);
    return true;
}

/* Runs a transaction until it is through; a lock that somebody else holds too long is no failure yet. */
static bool with_tries(struct migration *migration, const char *name,
                       enum try (*transaction)(struct migration *, const struct pg_sql_file *),
                       const struct pg_sql_file *file)
{
    for (int i = 1;; i++) {
        enum try result = transaction(migration, file);
        if (result == TRY_DONE)
            return true;
        if (PQtransactionStatus(migration->connection) != PQTRANS_IDLE)
            PQclear(PQexec(migration->connection, "rollback"));
        if (result == TRY_FAILED || i == TRIES_MOST)
            return false;
        tell(migration, "%s: %s; try %d of %d follows", name, migration->options->error, i + 1, TRIES_MOST);
        sleep(BETWEEN_TRIES_SECONDS);
    }
}

static enum try apply_file(struct migration *migration, const struct pg_sql_file *file)
{
    enum try result = begin(migration);
    if (result == TRY_DONE)
        result = run_file(migration, "schema", file);
    if (result == TRY_DONE)
        result = record(migration, file);
    return result == TRY_DONE ? run_sql(migration, "commit", 0, NULL) : result;
}

static enum try record(struct migration *migration, const struct pg_sql_file *file)
{
    char version[16];
    snprintf(version, sizeof version, "%d", file->version);
    const char *values[] = {version, file->name, file->checksum};
    return run_sql(migration, "insert into turnout.migrations (version, name, checksum) values ($1, $2, $3)", 3,
                   values);
}

static enum try apply_statements(struct migration *migration, const struct pg_sql_file *file)
{
    PGresult *statements = PQexec(migration->connection, file->text);
    if (PQresultStatus(statements) != PGRES_TUPLES_OK)
        return judge(migration, statements, "schema", file);
    enum try result = TRY_DONE;
    for (int i = 0; result == TRY_DONE && i < PQntuples(statements); i++) {
        const char *statement = PQgetvalue(statements, i, 0);
        bool concurrently = strstr(statement, " concurrently ") != NULL;
        result =
            run_sql(migration,
                    concurrently ? "set lock_timeout = 0" : "set lock_timeout = '" STATEMENT_LOCK_TIMEOUT "'", 0, NULL);
        if (result == TRY_DONE)
            result = run_sql(migration, statement, 0, NULL);
    }
    PQclear(statements);
    return result == TRY_DONE ? record(migration, file) : result;
}

/* Bodies are not checked against the catalogue here: files come in order of names, and a rule may call any other. */
static enum try apply_all_rules(struct migration *migration, const struct pg_sql_file *unused)
{
    (void)unused;
    const char *values[] = {migration->rules_checksum};
    enum try result = begin(migration);
    if (result == TRY_DONE)
        result = run_sql(migration, "set local check_function_bodies = off", 0, NULL);
    for (int i = 0; result == TRY_DONE && i < migration->rules.count; i++)
        result = run_file(migration, "rules", &migration->rules.files[i]);
    if (result == TRY_DONE)
        result = run_sql(migration, "delete from turnout.rules", 0, NULL);
    if (result == TRY_DONE)
        result = run_sql(migration, "insert into turnout.rules (checksum) values ($1)", 1, values);
    return result == TRY_DONE ? run_sql(migration, "commit", 0, NULL) : result;
}

static enum try begin(struct migration *migration)
{
    enum try result = run_sql(migration, "begin", 0, NULL);
    return result == TRY_DONE ? run_sql(migration, "set local lock_timeout = '" LOCK_TIMEOUT "'", 0, NULL) : result;
}

static enum try run_file(struct migration *migration, const char *folder, const struct pg_sql_file *file)
{
    enum try result = judge(migration, PQexec(migration->connection, file->text), folder, file);
    if (result == TRY_DONE && PQtransactionStatus(migration->connection) != PQTRANS_INTRANS) {
        fail(migration, "%s/%s ends the transaction that it runs in: it must not say begin, commit or rollback", folder,
             file->name);
        return TRY_FAILED;
    }
    return result;
}

static enum try run_sql(struct migration *migration, const char *sql, int count, const char *const *values)
{
    return judge(migration, PQexecParams(migration->connection, sql, count, NULL, values, NULL, NULL, 0), NULL, NULL);
}

/* Takes the result. An error leaves its one line in `error`, with the place in the file where PostgreSQL tells it. */
static enum try judge(struct migration *migration, PGresult *result, const char *folder, const struct pg_sql_file *file)
{
    ExecStatusType status = PQresultStatus(result);
    enum try verdict = TRY_DONE;
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
        char why[1024];
        const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        pg_session_error(migration->connection, result, why, sizeof why);
        int line = file == NULL ? 0 : line_of(file->text, result);
        if (file == NULL)
            fail(migration, "%s", why);
        else if (line > 0)
            fail(migration, "%s/%s:%d: %s", folder, file->name, line, why);
        else
            fail(migration, "%s/%s: %s", folder, file->name, why);
        bool passing = sqlstate != NULL && (strcmp(sqlstate, "55P03") == 0 || strcmp(sqlstate, "40P01") == 0 ||
                                            strcmp(sqlstate, "40001") == 0);
        verdict = passing ? TRY_AGAIN : TRY_FAILED;
    }
    PQclear(result);
    return verdict;
}

/* The first value of a query, "" where there is none. */
static bool ask(struct migration *migration, const char *sql, char *value, size_t size)
{
    PGresult *result = PQexec(migration->connection, sql);
    bool good = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (good)
        snprintf(value, size, "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    else
        pg_session_error(migration->connection, result, migration->options->error, migration->options->error_size);
    PQclear(result);
    return good;
}

/* PostgreSQL counts characters from 1; 0: it tells no place. */
static int line_of(const char *text, const PGresult *error)
{
    const char *position = PQresultErrorField(error, PG_DIAG_STATEMENT_POSITION);
    if (position == NULL)
        return 0;
    long left = strtol(position, NULL, 10) - 1;
    int line = 1;
    for (; *text != '\0' && left > 0; text++) {
        line += *text == '\n';
        left -= ((unsigned char)text[1] & 0xc0) != 0x80; /* bytes that continue a character are not counted */
    }
    return line;
}

static bool fail(const struct migration *migration, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(migration->options->error, migration->options->error_size, format, arguments);
    va_end(arguments);
    return false;
}

static void tell(const struct migration *migration, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (migration->options->progress != NULL)
        migration->options->progress(migration->options->context, line);
}
