/* Migrations: what turnoutctl migrate does to a database, with a folder of SQL files of our own. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pg/migrate.h"
#include "pg_fixture.h"

/* What migrate itself needs of the first file. */
#define FIRST                                                                                               \
    "create table turnout.rules (checksum text not null, applied_at timestamptz not null default now());\n" \
    "create table turnout.one (n int);\n"

static char folder[64];
static char error[2000];
static char lines[4000];

static void write_file(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void write_file(const char *name, const char *format, ...)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    ck_assert_int_eq(fclose(file), 0);
}

static void remove_file(const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_int_eq(unlink(path), 0);
}

static void note(void *context, const char *line)
{
    (void)context;
    ck_assert_ptr_null(strchr(line, '\n'));
    strncat(lines, line, sizeof lines - strlen(lines) - 2);
    strcat(lines, "\n");
}

static int migrate(void)
{
    error[0] = lines[0] = '\0';
    struct pg_migrate_options options = {.dsn = "user=turnout_owner",
                                         .sql_directory = folder,
                                         .progress = note,
                                         .error = error,
                                         .error_size = sizeof error};
    return pg_migrate(&options);
}

static void expect_error(const char *text)
{
    ck_assert_int_eq(migrate(), 1);
    ck_assert_msg(strstr(error, text) != NULL, "expected \"%s\" in: %s", text, error);
}

static const char *versions(void)
{
    return fixture_sql("select coalesce(string_agg(version || ' ' || name, ',' order by version), '') "
                       "from turnout.migrations");
}

static void begin(void)
{
    char path[200];
    strcpy(folder, "/tmp/turnout-sql.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/schema", folder);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/rules", folder);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    write_file("schema/0001_first.sql", FIRST);
    write_file("rules/answer.sql", "create or replace function turnout.answer() returns int language sql as "
                                   "$$ select turnout.number() $$;");
    write_file("rules/number.sql", "create or replace function turnout.number() returns int language sql as "
                                   "$$ select 42 $$;");
    fixture_sql("create role turnout_owner login; create role turnout_app login;"
                "grant create on database postgres to turnout_owner");
}

static void end(void)
{
    char command[200];
    fixture_sql("drop schema if exists turnout cascade; drop owned by turnout_owner; drop role turnout_owner;"
                "drop role if exists turnout_app");
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(test_an_empty_database_gets_schema_and_rules_and_a_second_run_does_nothing)
{
    write_file("schema/0002_second.sql", "create table turnout.two (n int);");
    ck_assert_msg(migrate() == 0, "%s", error);
    ck_assert_str_eq(versions(), "1 0001_first.sql,2 0002_second.sql");
    ck_assert_str_eq(fixture_sql("select turnout.answer()"), "42");
    ck_assert_str_eq(fixture_sql("select length(checksum) from turnout.rules"), "64");
    ck_assert_ptr_nonnull(strstr(lines, "applied 0002_second.sql"));
    ck_assert_ptr_nonnull(strstr(lines, "applied 2 rules"));
    ck_assert_msg(migrate() == 0, "%s", error);
    ck_assert_str_eq(lines, "version 2, nothing to do\n");
}
END_TEST

START_TEST(test_a_later_file_and_a_changed_rule_are_applied_alone)
{
    ck_assert_int_eq(migrate(), 0);
    write_file("rules/number.sql", "create or replace function turnout.number() returns int language sql as "
                                   "$$ select 43 $$;");
    ck_assert_msg(migrate() == 0, "%s", error);
    ck_assert_ptr_null(strstr(lines, ".sql"));
    ck_assert_str_eq(fixture_sql("select turnout.answer()"), "43");
    ck_assert_str_eq(fixture_sql("select count(*) from turnout.rules"), "1");
    write_file("schema/0002_second.sql", "create table turnout.two (n int);");
    ck_assert_msg(migrate() == 0, "%s", error);
    ck_assert_ptr_null(strstr(lines, "rules"));
    ck_assert_ptr_nonnull(strstr(lines, "applied 0002_second.sql"));
}
END_TEST

START_TEST(test_an_edited_migration_is_refused_by_name_and_nothing_changes)
{
    ck_assert_int_eq(migrate(), 0);
    write_file("schema/0001_first.sql", FIRST "-- a comment more\n");
    write_file("schema/0002_second.sql", "create table turnout.two (n int);");
    write_file("rules/number.sql", "create or replace function turnout.number() returns int language sql as "
                                   "$$ select 43 $$;");
    expect_error("0001_first.sql was edited after it was applied");
    ck_assert_str_eq(versions(), "1 0001_first.sql");
    ck_assert_str_eq(fixture_sql("select turnout.answer()"), "42");
    write_file("schema/0001_first.sql", FIRST);
    ck_assert_msg(migrate() == 0, "%s", error);
    ck_assert_str_eq(fixture_sql("select turnout.answer()"), "43");
}
END_TEST

START_TEST(test_an_error_names_file_and_line_and_undoes_its_file_only)
{
    write_file("schema/0002_second.sql",
               "create table turnout.two (n int);\n-- schön\ncreate tabel turnout.three ();\n");
    expect_error("schema/0002_second.sql:3: syntax error");
    ck_assert_str_eq(versions(), "1 0001_first.sql");
    ck_assert_str_eq(fixture_sql("select to_regclass('turnout.two') is null"), "t");
    write_file("schema/0002_second.sql", "create table turnout.two (n int);\n");
    write_file("rules/number.sql", "create or replace function turnout.number()\nreturns no_such_type\n"
                                   "language sql as $$ select 42 $$;");
    expect_error("rules/number.sql: type \"no_such_type\" does not exist");
    ck_assert_str_eq(versions(), "1 0001_first.sql,2 0002_second.sql");
    ck_assert_str_eq(fixture_sql("select count(*) from pg_proc where pronamespace = 'turnout'::regnamespace"), "0");
}
END_TEST

START_TEST(test_gaps_doubles_and_strange_names_are_refused_before_anything_runs)
{
    write_file("schema/0003_third.sql", "select 1;");
    expect_error("schema/0002_*.sql is missing");
    write_file("schema/0002_a.sql", "select 1;");
    write_file("schema/0002_b.sql", "select 1;");
    expect_error("have the same number");
    remove_file("schema/0002_b.sql");
    write_file("schema/4-fourth.sql", "select 1;");
    expect_error("4-fourth.sql is not named NNNN_name.sql");
    ck_assert_str_eq(fixture_sql("select to_regnamespace('turnout') is null"), "t");
    int version;
    ck_assert(!pg_schema_expected(folder, &version, error, sizeof error));
    remove_file("schema/4-fourth.sql");
    write_file("schema/0002_a.sql~", "an editor's copy");
    ck_assert(pg_schema_expected(folder, &version, error, sizeof error));
    ck_assert_int_eq(version, 3);
    ck_assert_msg(migrate() == 0, "%s", error);
}
END_TEST

START_TEST(test_a_newer_database_is_left_alone_by_older_files)
{
    write_file("schema/0002_second.sql", "create table turnout.two (n int);");
    ck_assert_int_eq(migrate(), 0);
    remove_file("schema/0002_second.sql");
    write_file("rules/number.sql", "create or replace function turnout.number() returns int language sql as "
                                   "$$ select 1 $$;");
    ck_assert_int_eq(migrate(), 0);
    ck_assert_ptr_nonnull(strstr(lines, "the database is at version 2, these files end at 1"));
    ck_assert_str_eq(fixture_sql("select turnout.answer()"), "42");
    /* a file that was applied and lies below another one can't be missing */
    fixture_sql("delete from turnout.migrations where version = 1");
    expect_error("the database lacks version 1 but has version 2");
}
END_TEST

START_TEST(test_two_hosts_at_once_apply_each_file_once)
{
    write_file("schema/0002_second.sql", "create table turnout.two (n int); select pg_sleep(0.5);");
    pid_t children[3];
    for (int i = 0; i < 3; i++) {
        children[i] = fork();
        ck_assert_int_ne(children[i], -1);
        if (children[i] == 0)
            _exit(migrate());
    }
    for (int i = 0; i < 3; i++) {
        int status;
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_str_eq(versions(), "1 0001_first.sql,2 0002_second.sql");
}
END_TEST

START_TEST(test_a_locked_table_is_waited_for_in_short_tries)
{
    ck_assert_int_eq(migrate(), 0);
    write_file("schema/0002_second.sql", "alter table turnout.one add column m int;");
    PGconn *holder = fixture_connect();
    PQclear(PQexec(holder, "begin; lock table turnout.one"));
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        int status = migrate();
        ssize_t written = write(pipes[1], lines, strlen(lines));
        (void)written;
        _exit(status);
    }
    /* its first try gives up */
    const char *seen = "0";
    int64_t end_of_patience = fixture_deadline();
    fixture_base();
    while (strcmp(seen = fixture_sql("select count(*) from pg_stat_activity where application_name = 'turnoutctl' "
                                     "and query = 'rollback'"),
                  "0") == 0)
        fixture_turn(end_of_patience, "the first try to give up");
    PQfinish(holder);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    char said[2000] = "";
    ck_assert_int_gt(read(pipes[0], said, sizeof said - 1), 0);
    ck_assert_ptr_nonnull(strstr(said, "0002_second.sql: canceling statement due to lock timeout; try 2 of"));
    ck_assert_str_eq(versions(), "1 0001_first.sql,2 0002_second.sql");
}
END_TEST

#define ONE_BY_ONE                                                                        \
    "-- statement by statement\n"                                                         \
    "select 'create index concurrently if not exists ' || name || ' on turnout.one (n)' " \
    "from (values ('one_first'), ('one_second')) names (name)"

START_TEST(test_rows_of_a_query_run_as_statements_outside_of_a_transaction)
{
    write_file("schema/0002_second.sql", ONE_BY_ONE);
    ck_assert_msg(migrate() == 0, "%s", error);
    ck_assert_str_eq(versions(), "1 0001_first.sql,2 0002_second.sql");
    ck_assert_str_eq(
        fixture_sql("select count(*) from pg_index where indrelid = 'turnout.one'::regclass and indisvalid"), "2");
    /* in a transaction it is refused, so it was in none */
    write_file("schema/0003_third.sql", "create index concurrently on turnout.one (n)");
    expect_error("CREATE INDEX CONCURRENTLY cannot run inside a transaction block");
}
END_TEST

START_TEST(test_statements_that_were_interrupted_are_gone_through_again)
{
    write_file("schema/0002_second.sql", ONE_BY_ONE " union all select 'create index on turnout.nothing (n)'");
    expect_error("relation \"turnout.nothing\" does not exist");
    ck_assert_str_eq(versions(), "1 0001_first.sql");
    ck_assert_str_eq(fixture_sql("select count(*) from pg_index where indrelid = 'turnout.one'::regclass"), "2");
    fixture_sql("create table turnout.nothing (n int); alter table turnout.nothing owner to turnout_owner");
    ck_assert_msg(migrate() == 0, "%s", error);
    ck_assert_str_eq(versions(), "1 0001_first.sql,2 0002_second.sql");
    write_file("schema/0003_third.sql", "-- statement by statement\nselect nonsense");
    expect_error("schema/0003_third.sql:2: column \"nonsense\" does not exist");
}
END_TEST

START_TEST(test_a_file_that_commits_by_itself_is_refused)
{
    write_file("schema/0002_second.sql", "create table turnout.two (n int); commit;");
    expect_error("schema/0002_second.sql ends the transaction that it runs in");
}
END_TEST

START_TEST(test_a_forgotten_role_is_told_with_the_lines_that_make_it)
{
    fixture_sql("drop role turnout_app");
    expect_error("create role turnout_owner login;\n  create role turnout_app login;");
    ck_assert_str_eq(fixture_sql("select to_regnamespace('turnout') is null"), "t");
    fixture_sql("create role turnout_app login");
    ck_assert_msg(migrate() == 0, "%s", error);
}
END_TEST

START_TEST(test_turnouts_own_files_apply_and_tell_the_caches)
{
    const char *source = getenv("srcdir");
    char own[2000];
    snprintf(own, sizeof own, "%s/sql", source == NULL ? "." : source);
    struct pg_migrate_options options = {.dsn = "user=turnout_owner",
                                         .sql_directory = own,
                                         .progress = note,
                                         .error = error,
                                         .error_size = sizeof error};
    ck_assert_msg(pg_migrate(&options) == 0, "%s", error);
    int version;
    ck_assert(pg_schema_expected(own, &version, error, sizeof error));
    ck_assert_int_eq(atoi(fixture_sql("select turnout.schema_version()")), version);
    fixture_sql(
        "delete from turnout.changes; update turnout.rules set checksum = 'other'; delete from turnout.changes");
    ck_assert_msg(pg_migrate(&options) == 0, "%s", error);
    ck_assert_str_eq(fixture_sql("select string_agg(kind::text, ',') from turnout.changes"), "all");
}
END_TEST

int main(int count, char **arguments)
{
    (void)count;
    fixture_need_postgres(arguments);
    Suite *suite = suite_create("pg_migrate");
    TCase *tests = tcase_create("migrate");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, test_an_empty_database_gets_schema_and_rules_and_a_second_run_does_nothing);
    tcase_add_test(tests, test_a_later_file_and_a_changed_rule_are_applied_alone);
    tcase_add_test(tests, test_an_edited_migration_is_refused_by_name_and_nothing_changes);
    tcase_add_test(tests, test_an_error_names_file_and_line_and_undoes_its_file_only);
    tcase_add_test(tests, test_gaps_doubles_and_strange_names_are_refused_before_anything_runs);
    tcase_add_test(tests, test_a_newer_database_is_left_alone_by_older_files);
    tcase_add_test(tests, test_two_hosts_at_once_apply_each_file_once);
    tcase_add_test(tests, test_a_locked_table_is_waited_for_in_short_tries);
    tcase_add_test(tests, test_rows_of_a_query_run_as_statements_outside_of_a_transaction);
    tcase_add_test(tests, test_statements_that_were_interrupted_are_gone_through_again);
    tcase_add_test(tests, test_a_file_that_commits_by_itself_is_refused);
    tcase_add_test(tests, test_a_forgotten_role_is_told_with_the_lines_that_make_it);
    tcase_add_test(tests, test_turnouts_own_files_apply_and_tell_the_caches);
    suite_add_tcase(suite, tests);
    return fixture_run(suite);
}
