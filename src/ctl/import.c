/* import: reads files of rows and runs the transaction that writes them. turnoutctl only; touches the file that it is
 * told to read and the configuration's database. */
#include "ctl/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "base/uuid.h"
#include "pg/session.h"

#define FILE_SIZE_MAX (256 << 20)
#define ERRORS_SHOWN 20

char *import_read_file(const char *path, size_t *length)
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

void import_complain(struct import *import, long line, const char *pointer, const char *detail)
{
    import->errors++;
    if (import->errors <= ERRORS_SHOWN)
        fprintf(stderr, "turnoutctl: %s:%ld: %s%s%s\n", import->path, line, pointer, pointer[0] == '\0' ? "" : " ",
                detail);
}

static bool is_readable_header(struct import *import, const struct csv *csv)
{
    for (size_t i = 0; i < csv->count; i++) {
        if (!text_is_utf8(csv->fields[i], strlen(csv->fields[i])) || csv->fields[i][0] == '\0') {
            import_complain(import, csv->line, "", "the header holds a name that is empty or not UTF-8");
            return false;
        }
    }
    return true;
}

bool import_read_csv(struct import *import, const struct import_reader *reader, char *text, size_t length)
{
    struct csv csv;
    char *names[CSV_FIELDS_MAX];
    if (memchr(text, '\0', length) != NULL) {
        import_complain(import, 1, "", "holds a NUL byte: expected text in UTF-8");
        return false;
    }
    csv_begin(&csv, text, length);
    enum csv_result result = csv_next(&csv);
    size_t count = csv.count;
    if (result == CSV_RECORD) {
        memcpy(names, csv.fields, sizeof names);
        if (!is_readable_header(import, &csv) ||
            (reader->header != NULL && !reader->header(import, csv.line, names, count)))
            return false;
        while ((result = csv_next(&csv)) == CSV_RECORD) {
            if (csv.count == count)
                reader->record(import, &csv, names, count);
            else
                import_complain(import, csv.line, "", "has another number of fields than the header");
        }
    } else if (result == CSV_END) {
        import_complain(import, 1, "", "expected a header line with the names of fields");
        return false;
    }
    if (result == CSV_BROKEN)
        import_complain(import, csv.line, "", csv.error);
    return result == CSV_END;
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

bool import_send_all(struct import *import, PGconn *connection, size_t total, import_send *send)
{
    char request_id[UUID_TEXT_SIZE];
    bool terminal = isatty(STDERR_FILENO) != 0;
    bool good = true;
    uuid_v7(request_id);
    for (size_t first = 0; good && first < total; first += IMPORT_CHUNK) {
        size_t count = total - first < IMPORT_CHUNK ? total - first : IMPORT_CHUNK;
        good = send(import, connection, request_id, first, count);
        if (terminal)
            fprintf(stderr, "\r%zu of %zu %s", first + count, total, import->noun);
    }
    if (terminal && total > 0)
        fputc('\n', stderr);
    return good;
}

enum import_result import_write(struct import *import, PGconn *connection, size_t total, import_send *send)
{
    if (!run_sql(connection, import->isolation) || !import_send_all(import, connection, total, send) ||
        import->errors > 0)
        return IMPORT_NOT_WRITTEN; /* what the session has done ends with it */
    if (run_sql(connection, "commit"))
        return IMPORT_WRITTEN;
    return PQstatus(connection) == CONNECTION_OK ? IMPORT_NOT_WRITTEN : IMPORT_UNKNOWN;
}

PGconn *import_connect(struct import *import)
{
    struct configuration *configuration = turnoutctl_configuration(import->ctl);
    char error[512];
    PGconn *connection =
        pg_session_open(configuration->database, configuration->database_password_file, error, sizeof error);
    if (connection == NULL)
        fprintf(stderr, "turnoutctl: %s\n", error);
    configuration_free(configuration);
    return connection;
}

int import_conclude(struct import *import, enum import_result result)
{
    if (import->errors > ERRORS_SHOWN)
        fprintf(stderr, "turnoutctl: %s: and %zu more\n", import->path, import->errors - ERRORS_SHOWN);
    if (result == IMPORT_NOT_WRITTEN)
        fprintf(stderr, "turnoutctl: %s: nothing was written\n", import->path);
    else if (result == IMPORT_UNKNOWN)
        fprintf(stderr, "turnoutctl: %s: the connection was lost at the commit: look whether the %s are there\n",
                import->path, import->noun);
    return result == IMPORT_WRITTEN ? CTL_DONE : CTL_REFUSED;
}
