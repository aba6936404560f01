/* users_import_command: takes the people of a company's directory over, all rows of a CSV file or none. turnoutctl
 * only. The rules are turnout.users_import_check and turnout.users_import; this file reads the columns, finds people
 * who stand in the file twice, brings the rows into the order in which they are locked, and tells what has changed. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "base/text.h"
#include "ctl/import.h"

static const char *const columns[] = {"email", "name", "department", "kind", "role", "locale", "timezone"};
enum { EMAIL = 0, DEPARTMENT = 2, COLUMNS = sizeof columns / sizeof columns[0] };

/* A line of the file; its cells lie in the file's text. */
struct person {
    long line;
    const char *cells[COLUMNS]; /* NULL: the file has no such column */
    char *key;                  /* by which PostgreSQL compares addresses; NULL: it has none */
};

struct users {
    struct import import;       /* first: import.c knows this part */
    int places[CSV_FIELDS_MAX]; /* of the file's columns in `columns` */
    struct person *people;
    size_t count;
    size_t capacity;
    size_t added;
    size_t updated;
    struct buffer changes; /* as they will be printed; empty where nobody wants to read them */
};

static struct users *users_of(struct import *import)
{
    return (struct users *)import;
}

static int place_of(const char *name)
{
    name += strspn(name, " \t");
    size_t length = strlen(name);
    while (length > 0 && (name[length - 1] == ' ' || name[length - 1] == '\t'))
        length--;
    for (int i = 0; i < COLUMNS; i++) {
        if (strlen(columns[i]) == length && strncasecmp(columns[i], name, length) == 0)
            return i;
    }
    return -1;
}

static bool take_header(struct import *import, long line, char *const *names, size_t count)
{
    struct users *users = users_of(import);
    bool seen[COLUMNS] = {false};
    for (size_t i = 0; i < count; i++) {
        users->places[i] = place_of(names[i]);
        if (users->places[i] < 0)
            import_complain(import, line, names[i],
                            "is no column of ours: expected email, name, department, kind, role, locale or timezone");
        else if (seen[users->places[i]])
            import_complain(import, line, names[i], "stands twice in the header");
        else
            seen[users->places[i]] = true;
    }
    if (import->errors == 0 && !seen[EMAIL])
        import_complain(import, line, "", "expected a column named email");
    return import->errors == 0;
}

static void take_record(struct import *import, const struct csv *csv, char *const *names, size_t count)
{
    struct users *users = users_of(import);
    struct person person = {.line = csv->line};
    for (size_t i = 0; i < count; i++) {
        if (!text_is_utf8(csv->fields[i], strlen(csv->fields[i]))) {
            import_complain(import, csv->line, names[i], "is not UTF-8");
            return;
        }
        person.cells[users->places[i]] = csv->fields[i];
    }
    if (users->count == users->capacity) {
        users->capacity = users->capacity == 0 ? 1024 : users->capacity * 2;
        users->people = reallocarray(users->people, users->capacity, sizeof *users->people);
        INVARIANT(users->people != NULL);
    }
    users->people[users->count++] = person;
}

/* An empty cell is a value that is not given, but for the department: there it is none. */
static char *rows_text(const struct users *users, size_t first, size_t count)
{
    json_t *rows = json_array();
    INVARIANT(rows != NULL);
    for (size_t i = first; i < first + count; i++) {
        json_t *row = json_object();
        for (int column = 0; column < COLUMNS; column++) {
            const char *cell = users->people[i].cells[column];
            if (cell != NULL && (cell[0] != '\0' || column == DEPARTMENT))
                INVARIANT(json_object_set_new(row, columns[column], json_string(cell)) == 0);
        }
        INVARIANT(json_array_append_new(rows, row) == 0);
    }
    char *text = json_dumps(rows, JSON_COMPACT);
    INVARIANT(text != NULL);
    json_decref(rows);
    return text;
}

/* Runs a statement about some of the people. NULL: it said why not. */
static PGresult *ask(struct users *users, PGconn *connection, const char *sql, const char *const *parameters, int count,
                     size_t first)
{
    PGresult *result = PQexecParams(connection, sql, count, NULL, parameters, NULL, NULL, 0);
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        return result;
    fprintf(stderr, "turnoutctl: %s:%ld: %s", users->import.path, users->people[first].line,
            PQresultErrorMessage(result));
    PQclear(result);
    return NULL;
}

/* The person whom a line of a result is about; lines count from 1 within the chunk. */
static struct person *person_of(const struct users *users, const PGresult *result, int line, size_t first, size_t count)
{
    int64_t row;
    INVARIANT(text_parse_int64(PQgetvalue(result, line, 0), 1, (int64_t)count, &row));
    return &users->people[first + (size_t)row - 1];
}

static bool check_chunk(struct import *import, PGconn *connection, const char *request_id, size_t first, size_t count)
{
    struct users *users = users_of(import);
    (void)request_id;
    char *rows = rows_text(users, first, count);
    const char *parameters[] = {rows};
    PGresult *result =
        ask(users, connection, "select \"row\", key, pointer, detail from turnout.users_import_check($1)", parameters,
            1, first);
    free(rows);
    if (result == NULL)
        return false;
    for (int i = 0; i < PQntuples(result); i++) {
        struct person *person = person_of(users, result, i, first, count);
        if (!PQgetisnull(result, i, 2)) {
            import_complain(import, person->line, PQgetvalue(result, i, 2), PQgetvalue(result, i, 3));
            if (strcmp(PQgetvalue(result, i, 2), "/email") == 0) { /* it is nobody's, and nobody's twin */
                free(person->key);
                person->key = NULL;
            }
        } else if (!PQgetisnull(result, i, 1)) {
            person->key = strdup(PQgetvalue(result, i, 1));
            INVARIANT(person->key != NULL);
        }
    }
    PQclear(result);
    return true;
}

/* By key as bytes, as turnout.users_import locks; equal ones in the order of the file. */
static int compare(const void *left, const void *right)
{
    const struct person *one = left;
    const struct person *other = right;
    int order = strcmp(one->key == NULL ? "" : one->key, other->key == NULL ? "" : other->key);
    return order != 0 ? order : one->line < other->line ? -1 : 1;
}

static void find_twins(struct users *users)
{
    if (users->count > 0)
        qsort(users->people, users->count, sizeof *users->people, compare);
    for (size_t i = 1; i < users->count; i++) {
        const struct person *person = &users->people[i];
        const struct person *twin = &users->people[i - 1];
        if (person->key == NULL || twin->key == NULL || strcmp(person->key, twin->key) != 0)
            continue;
        char detail[80];
        snprintf(detail, sizeof detail, "is the address of line %ld, too", twin->line);
        import_complain(&users->import, person->line, "/email", detail);
    }
}

static void append_json(struct buffer *buffer, const char *text)
{
    text_append_json(buffer, text, strlen(text));
}

/* {"line":2,"change":"updated","email":"a@example.com","before":{...},"after":{...}} */
static void note_as_json(struct users *users, const struct person *person, const PGresult *result, int i)
{
    struct buffer *changes = &users->changes;
    buffer_printf(changes, "%s{\"line\":%ld,\"change\":\"%s\",\"email\":", buffer_length(changes) == 0 ? "" : ",\n",
                  person->line, PQgetvalue(result, i, 1));
    append_json(changes, PQgetvalue(result, i, 2));
    buffer_printf(changes, ",\"before\":%s,\"after\":%s}",
                  PQgetisnull(result, i, 3) ? "null" : PQgetvalue(result, i, 3), PQgetvalue(result, i, 4));
}

/* updated a@example.com: department "Works" -> null */
static void note_as_text(struct users *users, const PGresult *result, int i)
{
    struct buffer *changes = &users->changes;
    buffer_printf(changes, "%s %s", PQgetvalue(result, i, 1), PQgetvalue(result, i, 2));
    json_t *before = PQgetisnull(result, i, 3) ? NULL : json_loads(PQgetvalue(result, i, 3), 0, NULL);
    json_t *after = json_loads(PQgetvalue(result, i, 4), 0, NULL);
    const char *separator = ":";
    const char *name;
    json_t *was;
    json_object_foreach(before, name, was)
    {
        json_t *is = json_object_get(after, name);
        buffer_printf(changes, "%s %s ", separator, name);
        append_json(changes, json_is_string(was) ? json_string_value(was) : "");
        buffer_append_text(changes, " -> ");
        append_json(changes, json_is_string(is) ? json_string_value(is) : "");
        separator = ",";
    }
    buffer_append_text(changes, "\n");
    json_decref(before);
    json_decref(after);
}

static bool write_chunk(struct import *import, PGconn *connection, const char *request_id, size_t first, size_t count)
{
    struct users *users = users_of(import);
    char *rows = rows_text(users, first, count);
    const char *parameters[] = {request_id, rows, import->ctl->dry_run ? "true" : "false"};
    PGresult *result = ask(users, connection,
                           "select \"row\", outcome, email, before, after from turnout.users_import($1, null, $2, $3)",
                           parameters, 3, first);
    free(rows);
    if (result == NULL)
        return false;
    for (int i = 0; i < PQntuples(result); i++) {
        const struct person *person = person_of(users, result, i, first, count);
        if (strcmp(PQgetvalue(result, i, 1), "added") == 0)
            users->added++;
        else
            users->updated++;
        if (import->ctl->json)
            note_as_json(users, person, result, i);
        else if (import->ctl->verbose)
            note_as_text(users, result, i);
    }
    PQclear(result);
    return true;
}

static enum import_result import_people(struct users *users)
{
    enum import_result result = IMPORT_NOT_WRITTEN;
    PGconn *connection = import_connect(&users->import);
    if (connection == NULL)
        return result;
    if (import_send_all(&users->import, connection, users->count, check_chunk)) {
        find_twins(users);
        if (users->import.errors == 0)
            result = import_write(&users->import, connection, users->count, write_chunk);
    }
    PQfinish(connection);
    return result;
}

static void print_changes(const struct users *users)
{
    if (buffer_length(&users->changes) > 0)
        fwrite(buffer_bytes(&users->changes), 1, buffer_length(&users->changes), stdout);
}

static void tell(const struct users *users)
{
    const struct turnoutctl *ctl = users->import.ctl;
    size_t unchanged = users->count - users->added - users->updated;
    if (ctl->json) {
        printf("{\"added\":%zu,\"updated\":%zu,\"unchanged\":%zu,\"dry_run\":%s,\"changes\":[", users->added,
               users->updated, unchanged, ctl->dry_run ? "true" : "false");
        print_changes(users);
        puts("]}");
        return;
    }
    print_changes(users);
    printf("%zu added, %zu updated, %zu unchanged%s\n", users->added, users->updated, unchanged,
           ctl->dry_run ? " (dry run: nothing was written)" : "");
}

int users_import_command(const struct turnoutctl *ctl)
{
    static const struct import_reader reader = {.header = take_header, .record = take_record};
    if (ctl->argument_count != 1)
        log_bad_start("users import: expected one file");
    size_t length;
    char *text = import_read_file(ctl->arguments[0], &length);
    if (text == NULL)
        return CTL_REFUSED;
    struct users users = {.import = {.ctl = ctl,
                                     .path = ctl->arguments[0],
                                     .noun = "users",
                                     .isolation = ctl->dry_run ? "begin read only" : "begin"}};
    enum import_result result =
        import_read_csv(&users.import, &reader, text, length) ? import_people(&users) : IMPORT_NOT_WRITTEN;
    if (result == IMPORT_WRITTEN)
        tell(&users);
    for (size_t i = 0; i < users.count; i++)
        free(users.people[i].key);
    free(users.people);
    free(text);
    buffer_free(&users.changes);
    return import_conclude(&users.import, result);
}
