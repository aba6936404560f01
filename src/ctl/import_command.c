/* import_command: writes all events of a file, or none. turnoutctl only. The rows are checked and written by
 * turnout.events_import, in one transaction; this file turns JSON or CSV into rows and the rows' numbers back into
 * lines. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "base/uuid.h"
#include "ctl/csv.h"
#include "ctl/turnoutctl.h"
#include "pg/session.h"

/* Rows of one call: bounds its memory in PostgreSQL and moves the progress line. */
#define CHUNK 500
#define FILE_SIZE_MAX (256 << 20)
#define ERRORS_SHOWN 20

/* What became of the rows; unknown: the connection was lost with the commit on its way. */
enum written { ROWS_NOT_WRITTEN, ROWS_WRITTEN, ROWS_UNKNOWN };

struct import {
    const struct turnoutctl *ctl;
    const char *path;
    json_t *rows; /* array */
    long *lines;  /* of each row, from 1 */
    size_t capacity;
    size_t errors;
};

static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "re");
    struct stat status;
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        fprintf(stderr, "turnoutctl: %s: %s\n", path, strerror(errno));
        if (file != NULL)
            fclose(file);
        return NULL;
    }
    if (!S_ISREG(status.st_mode) || status.st_size > FILE_SIZE_MAX) {
        fprintf(stderr, "turnoutctl: %s: expected a file of at most 256 MiB\n", path);
        fclose(file);
        return NULL;
    }
    char *text = malloc((size_t)status.st_size + 2);
    INVARIANT(text != NULL);
    *length = fread(text, 1, (size_t)status.st_size, file);
    text[*length] = '\0';
    bool failed = ferror(file) != 0;
    fclose(file);
    if (!failed)
        return text;
    fprintf(stderr, "turnoutctl: %s: cannot be read\n", path);
    free(text);
    return NULL;
}

static void complain(struct import *import, long line, const char *pointer, const char *detail)
{
    import->errors++;
    if (import->errors <= ERRORS_SHOWN)
        fprintf(stderr, "turnoutctl: %s:%ld: %s%s%s\n", import->path, line, pointer, pointer[0] == '\0' ? "" : " ",
                detail);
}

static void add_row(struct import *import, json_t *row, long line)
{
    size_t count = json_array_size(import->rows);
    if (count == import->capacity) {
        import->capacity = count == 0 ? 1024 : count * 2;
        import->lines = realloc(import->lines, import->capacity * sizeof *import->lines);
        INVARIANT(import->lines != NULL);
    }
    import->lines[count] = line;
    INVARIANT(json_array_append_new(import->rows, row) == 0);
}

/* White space, counting lines. */
static const char *skip_space(const char *at, long *line)
{
    for (; *at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'; at++)
        *line += *at == '\n';
    return at;
}

/* Reads the array element by element, so that each knows its line. */
static bool read_json(struct import *import, const char *text, size_t length)
{
    const char *end = text + length;
    long line = 1;
    const char *at = skip_space(text, &line);
    if (*at != '[') {
        complain(import, line, "", "expected a JSON array of events");
        return false;
    }
    at = skip_space(at + 1, &line);
    while (*at != ']') {
        json_error_t error;
        json_t *row = json_loadb(at, (size_t)(end - at), JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &error);
        if (row == NULL) {
            complain(import, line + error.line - 1, "", error.text);
            return false;
        }
        add_row(import, row, line);
        for (const char *stop = at + error.position; at < stop; at++)
            line += *at == '\n';
        at = skip_space(at, &line);
        if (*at == ',') {
            at = skip_space(at + 1, &line);
            if (*at == ']') {
                complain(import, line, "", "expected an event behind the comma");
                return false;
            }
        } else if (*at != ']') {
            complain(import, line, "", "expected ',' or ']' behind an event");
            return false;
        }
    }
    if (skip_space(at + 1, &line) != end) {
        complain(import, line, "", "expected nothing behind the array");
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

static bool read_record(struct import *import, const struct csv *csv, char *const *names, size_t name_count)
{
    if (csv->count != name_count) {
        complain(import, csv->line, "", "has another number of fields than the header");
        return true;
    }
    json_t *row = json_object();
    INVARIANT(row != NULL);
    for (size_t i = 0; i < name_count; i++) {
        if (csv->fields[i][0] == '\0')
            continue; /* an empty cell is a field that is not given */
        json_t *value = cell_value(names[i], csv->fields[i]);
        if (value == NULL) {
            complain(import, csv->line, names[i], "is not UTF-8");
            json_decref(row);
            return true;
        }
        INVARIANT(json_object_set_new(row, names[i], value) == 0);
    }
    add_row(import, row, csv->line);
    return true;
}

static bool read_csv(struct import *import, char *text, size_t length)
{
    struct csv csv;
    char *names[CSV_FIELDS_MAX];
    csv_begin(&csv, text, length);
    enum csv_result result = csv_next(&csv);
    size_t name_count = csv.count;
    if (result == CSV_RECORD) {
        memcpy(names, csv.fields, sizeof names);
        for (size_t i = 0; i < name_count; i++) {
            if (!text_is_utf8(names[i], strlen(names[i])) || names[i][0] == '\0') {
                complain(import, csv.line, "", "the header holds a name that is empty or not UTF-8");
                return false;
            }
        }
        while ((result = csv_next(&csv)) == CSV_RECORD && read_record(import, &csv, names, name_count))
            continue;
    } else if (result == CSV_END) {
        complain(import, 1, "", "expected a header line with the names of fields");
        return false;
    }
    if (result == CSV_BROKEN)
        complain(import, csv.line, "", csv.error);
    return result == CSV_END;
}

static json_t *chunk_of(const struct import *import, size_t first, size_t count)
{
    json_t *chunk = json_array();
    INVARIANT(chunk != NULL);
    for (size_t i = first; i < first + count; i++)
        INVARIANT(json_array_append(chunk, json_array_get(import->rows, i)) == 0);
    return chunk;
}

static void take_errors(struct import *import, const PGresult *result, size_t first)
{
    for (int i = 0; i < PQntuples(result); i++) {
        int64_t row;
        if (!text_parse_int64(PQgetvalue(result, i, 0), 1, CHUNK, &row))
            row = 1;
        complain(import, import->lines[first + (size_t)row - 1], PQgetvalue(result, i, 1), PQgetvalue(result, i, 2));
    }
}

/* true: the call ran; what it found wrong is counted. */
static bool send_chunk(struct import *import, PGconn *connection, const char *request_id, size_t first, size_t count)
{
    json_t *chunk = chunk_of(import, first, count);
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
        take_errors(import, result, first);
    else
        fprintf(stderr, "turnoutctl: %s:%ld: %s", import->path, import->lines[first], PQresultErrorMessage(result));
    PQclear(result);
    return good;
}

static bool run_sql(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    bool good = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!good)
        fprintf(stderr, "turnoutctl: %s: %s", sql, PQerrorMessage(connection));
    PQclear(result);
    return good;
}

/* Every chunk is checked, also behind a bad one, so that all bad rows are named at once. */
static enum written write_rows(struct import *import, PGconn *connection)
{
    char request_id[UUID_TEXT_SIZE];
    size_t total = json_array_size(import->rows);
    bool terminal = isatty(STDERR_FILENO) != 0;
    uuid_v7(request_id);
    bool good = run_sql(connection, "begin");
    for (size_t first = 0; good && first < total; first += CHUNK) {
        size_t count = total - first < CHUNK ? total - first : CHUNK;
        good = send_chunk(import, connection, request_id, first, count);
        if (terminal)
            fprintf(stderr, "\r%zu of %zu events", first + count, total);
    }
    if (terminal && total > 0)
        fputc('\n', stderr);
    if (!good || import->errors > 0)
        return ROWS_NOT_WRITTEN; /* what the session has done ends with it */
    if (run_sql(connection, "commit"))
        return ROWS_WRITTEN;
    return PQstatus(connection) == CONNECTION_OK ? ROWS_NOT_WRITTEN : ROWS_UNKNOWN;
}

static enum written import_rows(struct import *import)
{
    struct configuration *configuration = turnoutctl_configuration(import->ctl);
    char error[512];
    PGconn *connection =
        pg_session_open(configuration->database, configuration->database_password_file, error, sizeof error);
    if (connection == NULL) {
        fprintf(stderr, "turnoutctl: %s\n", error);
        configuration_free(configuration);
        return ROWS_NOT_WRITTEN;
    }
    enum written written = write_rows(import, connection);
    PQfinish(connection);
    configuration_free(configuration);
    return written;
}

static bool is_json(const char *text, size_t length)
{
    long line = 1;
    const char *at = skip_space(text, &line);
    return length > 0 && (*at == '[' || *at == '{');
}

int import_command(const struct turnoutctl *ctl)
{
    if (ctl->argument_count != 1)
        log_bad_start("events import: expected one file");
    size_t length;
    char *text = read_file(ctl->arguments[0], &length);
    if (text == NULL)
        return CTL_REFUSED;
    struct import import = {.ctl = ctl, .path = ctl->arguments[0], .rows = json_array()};
    bool readable = is_json(text, length) ? read_json(&import, text, length) : read_csv(&import, text, length);
    free(text);
    enum written written = readable && import.errors == 0 ? import_rows(&import) : ROWS_NOT_WRITTEN;
    size_t total = json_array_size(import.rows);
    if (import.errors > ERRORS_SHOWN)
        fprintf(stderr, "turnoutctl: %s: and %zu more\n", import.path, import.errors - ERRORS_SHOWN);
    if (written == ROWS_NOT_WRITTEN)
        fprintf(stderr, "turnoutctl: %s: nothing was written\n", import.path);
    else if (written == ROWS_UNKNOWN)
        fprintf(stderr, "turnoutctl: %s: the connection was lost at the commit: look whether the events are there\n",
                import.path);
    else
        printf(ctl->json ? "{\"imported\":%zu}\n" : "%zu events imported\n", total);
    json_decref(import.rows);
    free(import.lines);
    return written == ROWS_WRITTEN ? CTL_DONE : CTL_REFUSED;
}
