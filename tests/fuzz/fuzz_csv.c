/* fuzz_csv: the reader of RFC 4180.
 *
 * What must hold: reading ends; the records of a text, written with every field in quotes, are read as the same
 * records; lines are counted upwards. */
#include <stdbool.h>

#include "base/buffer.h"
#include "ctl/csv.h"
#include "target.h"

static void put_field(struct buffer *to, const char *field)
{
    buffer_append_text(to, "\"");
    for (; *field != '\0'; field++)
        buffer_append(to, *field == '"' ? "\"\"" : field, *field == '"' ? 2 : 1);
    buffer_append_text(to, "\"");
}

/* All records, quoted; whether the text ended well. A field ends at its first NUL, as it does for everybody. */
static bool read_all(const uint8_t *bytes, size_t size, struct buffer *records)
{
    char *text = exact_copy(bytes, size, 1);
    struct csv csv;
    enum csv_result result;
    long line = 0;
    csv_begin(&csv, text, size);
    while ((result = csv_next(&csv)) == CSV_RECORD) {
        MUST(csv.count >= 1 && csv.count <= CSV_FIELDS_MAX && csv.line > line);
        line = csv.line;
        for (size_t i = 0; i < csv.count; i++) {
            if (i > 0)
                buffer_append_text(records, ",");
            put_field(records, csv.fields[i]);
        }
        buffer_append_text(records, "\r\n");
    }
    MUST(result == CSV_END || csv.error != NULL);
    free(text);
    return result == CSV_END;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct buffer once = {0};
    struct buffer twice = {0};
    (void)read_all(bytes, size, &once);
    MUST(read_all((const uint8_t *)buffer_text(&once), buffer_length(&once), &twice));
    MUST(strcmp(buffer_text(&once), buffer_text(&twice)) == 0);
    buffer_free(&once);
    buffer_free(&twice);
    return 0;
}
