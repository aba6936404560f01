/* import_command: writes all events of a file, or none. turnoutctl only. The rows are checked and written by
 * turnout.events_import, in one transaction; this file turns JSON or CSV into rows and the rows' numbers back into
 * lines. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ctl/import.h"

struct events {
    struct import import; /* first: import.c knows this part */
    json_t *rows;         /* array */
    long *lines;          /* of each row, from 1 */
    size_t capacity;
};

static struct events *events_of(struct import *import)
{
    return (struct events *)import;
}

static void add_row(struct events *events, json_t *row, long line)
{
    size_t count = json_array_size(events->rows);
    if (count == events->capacity) {
        events->capacity = count == 0 ? 1024 : count * 2;
        events->lines = realloc(events->lines, events->capacity * sizeof *events->lines);
        INVARIANT(events->lines != NULL);
    }
    events->lines[count] = line;
    INVARIANT(json_array_append_new(events->rows, row) == 0);
}

/* White space, counting lines. */
static const char *skip_space(const char *at, long *line)
{
    for (; *at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'; at++)
        *line += *at == '\n';
    return at;
}

/* Reads the array element by element, so that each knows its line. */
static bool read_json(struct events *events, const char *text, size_t length)
{
    const char *end = text + length;
    long line = 1;
    const char *at = skip_space(text, &line);
    if (*at != '[') {
        import_complain(&events->import, line, "", "expected a JSON array of events");
        return false;
    }
    at = skip_space(at + 1, &line);
    while (*at != ']') {
        json_error_t error;
        json_t *row = json_loadb(at, (size_t)(end - at), JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &error);
        if (row == NULL) {
            import_complain(&events->import, line + error.line - 1, "", error.text);
            return false;
        }
        add_row(events, row, line);
        for (const char *stop = at + error.position; at < stop; at++)
            line += *at == '\n';
        at = skip_space(at, &line);
        if (*at == ',') {
            at = skip_space(at + 1, &line);
            if (*at == ']') {
                import_complain(&events->import, line, "", "expected an event behind the comma");
                return false;
            }
        } else if (*at != ']') {
            import_complain(&events->import, line, "", "expected ',' or ']' behind an event");
            return false;
        }
    }
    if (skip_space(at + 1, &line) != end) {
        import_complain(&events->import, line, "", "expected nothing behind the array");
        return false;
    }
    return true;
}

/* How the text of a CSV cell becomes the JSON value of its field; what does not fit stays a text, and the rule says
 * what is wrong. */
static const struct cell_type {
    const char *field;
    enum { CELL_NUMBER, CELL_SWITCH, CELL_LIST } type;
} cell_types[] = {{"capacity", CELL_NUMBER},         {"waitlist_limit", CELL_NUMBER},
                  {"department_limit", CELL_NUMBER}, {"waitlist_enabled", CELL_SWITCH},
                  {"guests_allowed", CELL_SWITCH},   {"organizers", CELL_LIST},
                  {"organizer_ids", CELL_LIST},      {NULL, CELL_LIST}};

static json_t *list_of(const char *text)
{
    json_t *list = json_array();
    INVARIANT(list != NULL);
    while (*(text += strspn(text, "; ")) != '\0') {
        size_t length = strcspn(text, "; ");
        INVARIANT(json_array_append_new(list, json_stringn(text, length)) == 0);
        text += length;
    }
    return list;
}

static json_t *cell_value(const char *field, const char *text)
{
    for (const struct cell_type *cell = cell_types; cell->field != NULL; cell++) {
        int64_t number;
        if (strcmp(cell->field, field) != 0)
            continue;
        if (cell->type == CELL_NUMBER && text_parse_int64(text, INT64_MIN, INT64_MAX, &number))
            return json_integer(number);
        if (cell->type == CELL_SWITCH && (strcmp(text, "true") == 0 || strcmp(text, "yes") == 0))
            return json_true();
        if (cell->type == CELL_SWITCH && (strcmp(text, "false") == 0 || strcmp(text, "no") == 0))
            return json_false();
        if (cell->type == CELL_LIST)
            return list_of(text);
    }
    return json_string(text);
}

static void take_record(struct import *base, const struct csv *csv, char *const *names, size_t count)
{
    struct events *events = events_of(base);
    json_t *row = json_object();
    INVARIANT(row != NULL);
    for (size_t i = 0; i < count; i++) {
        if (csv->fields[i][0] == '\0')
            continue; /* an empty cell is a field that is not given */
        json_t *value = cell_value(names[i], csv->fields[i]);
        if (value == NULL) {
            import_complain(base, csv->line, names[i], "is not UTF-8");
            json_decref(row);
            return;
        }
        INVARIANT(json_object_set_new(row, names[i], value) == 0);
    }
    add_row(events, row, csv->line);
}

static json_t *chunk_of(const struct events *events, size_t first, size_t count)
{
    json_t *chunk = json_array();
    INVARIANT(chunk != NULL);
    for (size_t i = first; i < first + count; i++)
        INVARIANT(json_array_append(chunk, json_array_get(events->rows, i)) == 0);
    return chunk;
}

static void take_errors(struct events *events, const PGresult *result, size_t first)
{
    for (int i = 0; i < PQntuples(result); i++) {
        int64_t row;
        if (!text_parse_int64(PQgetvalue(result, i, 0), 1, IMPORT_CHUNK, &row))
            row = 1;
        import_complain(&events->import, events->lines[first + (size_t)row - 1], PQgetvalue(result, i, 1),
                        PQgetvalue(result, i, 2));
    }
}

static bool send_chunk(struct import *base, PGconn *connection, const char *request_id, size_t first, size_t count)
{
    struct events *events = events_of(base);
    json_t *chunk = chunk_of(events, first, count);
    char *text = json_dumps(chunk, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(chunk);
    INVARIANT(text != NULL);
    const char *parameters[] = {request_id, text};
    PGresult *result =
        PQexecParams(connection, "select \"row\", pointer, detail from turnout.events_import($1, null, $2)", 2, NULL,
                     parameters, NULL, NULL, 0);
    free(text);
    bool good = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (good)
        take_errors(events, result, first);
    else
        fprintf(stderr, "turnoutctl: %s:%ld: %s", events->import.path, events->lines[first],
                PQresultErrorMessage(result));
    PQclear(result);
    return good;
}

static bool is_json(const char *text, size_t length)
{
    long line = 1;
    const char *at = skip_space(text, &line);
    return length > 0 && (*at == '[' || *at == '{');
}

static enum import_result write_rows(struct events *events)
{
    PGconn *connection = import_connect(&events->import);
    if (connection == NULL)
        return IMPORT_NOT_WRITTEN;
    enum import_result result = import_write(&events->import, connection, json_array_size(events->rows), send_chunk);
    PQfinish(connection);
    return result;
}

int import_command(const struct turnoutctl *ctl)
{
    static const struct import_reader reader = {.record = take_record};
    if (ctl->argument_count != 1)
        log_bad_start("events import: expected one file");
    size_t length;
    char *text = import_read_file(ctl->arguments[0], &length);
    if (text == NULL)
        return CTL_REFUSED;
    struct events events = {.import = {.ctl = ctl, .path = ctl->arguments[0], .noun = "events", .isolation = "begin"},
                            .rows = json_array()};
    bool readable = is_json(text, length) ? read_json(&events, text, length)
                                          : import_read_csv(&events.import, &reader, text, length);
    free(text);
    enum import_result result = readable && events.import.errors == 0 ? write_rows(&events) : IMPORT_NOT_WRITTEN;
    if (result == IMPORT_WRITTEN)
        printf(ctl->json ? "{\"imported\":%zu}\n" : "%zu events imported\n", json_array_size(events.rows));
    json_decref(events.rows);
    free(events.lines);
    return import_conclude(&events.import, result);
}
