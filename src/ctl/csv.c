/* csv: records of RFC 4180, in place. turnoutctl only. */
#include "ctl/csv.h"

#include <string.h>

void csv_begin(struct csv *csv, char *text, size_t length)
{
    *csv = (struct csv){.at = text, .end = text + length, .next_line = 1};
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        csv->at += 3;
    *csv->end = '\n';
}

static enum csv_result broken(struct csv *csv, const char *error)
{
    csv->error = error;
    return CSV_BROKEN;
}

static bool ends_field(const char *at)
{
    return *at == ',' || *at == '\n' || (*at == '\r' && at[1] == '\n');
}

/* Copies the quoted field at `at` over itself without its quotes. NULL: the closing quote is missing. */
static char *unquote(struct csv *csv, char *at, char **to)
{
    for (at++; at < csv->end; at++) {
        if (*at == '"') {
            if (at + 1 < csv->end && at[1] == '"')
                at++;
            else
                return at + 1;
        }
        if (*at == '\n')
            csv->next_line++;
        *(*to)++ = *at;
    }
    return NULL;
}

static void skip_empty_lines(struct csv *csv)
{
    while (csv->at < csv->end && (*csv->at == '\n' || (*csv->at == '\r' && csv->at[1] == '\n'))) {
        csv->next_line += *csv->at == '\n';
        csv->at++;
    }
}

enum csv_result csv_next(struct csv *csv)
{
    skip_empty_lines(csv);
    if (csv->at >= csv->end)
        return CSV_END;
    csv->line = csv->next_line;
    csv->count = 0;
    for (char *at = csv->at;; at++) {
        if (csv->count == CSV_FIELDS_MAX)
            return broken(csv, "has too many fields");
        char *to = at;
        csv->fields[csv->count++] = at;
        if (*at == '"') {
            at = unquote(csv, at, &to);
            if (at == NULL)
                return broken(csv, "has a quote that is not closed");
            if (!ends_field(at))
                return broken(csv, "has text behind a closing quote");
        } else {
            for (; !ends_field(at); at++)
                *to++ = *at;
        }
        bool last = *at != ',';
        if (*at == '\r')
            at++;
        *to = '\0';
        if (last) {
            csv->at = at + 1;
            csv->next_line++;
            return CSV_RECORD;
        }
    }
}
