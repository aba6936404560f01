/* letter_print: writes messages for tests that read them with other programs.
 *
 * Usage: letter_print TEMPLATES [OWN]. Each line of standard input is {"style": {"from", "reply_to", "public_url",
 * "unsubscribe_url", "now"}, "owed": {...}}. To each it writes a line, {"recipient", "sender", "message_id", "length"}
 * or {"error"}, and behind the first of them the bytes of the message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mail/letter.h"

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void print_line(json_t *line)
{
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(line);
}

static void print_letter(const struct letters *letters, const json_t *wanted)
{
    const json_t *given = json_object_get(wanted, "style");
    const struct letter_style style = {
        .from = text_of(given, "from"),
        .reply_to = text_of(given, "reply_to"),
        .public_url = text_of(given, "public_url"),
        .unsubscribe_url = text_of(given, "unsubscribe_url"),
        .now = json_integer_value(json_object_get(given, "now")),
    };
    struct letter letter;
    char error[256];
    if (letter_write(letters, &style, json_object_get(wanted, "owed"), &letter, error, sizeof error)) {
        print_line(json_pack("{s:s, s:s, s:s, s:I}", "recipient", letter.recipient, "sender", letter.sender,
                             "message_id", letter.message_id, "length", (json_int_t)buffer_length(&letter.message)));
        fwrite(buffer_bytes(&letter.message), 1, buffer_length(&letter.message), stdout);
    } else {
        print_line(json_pack("{s:s}", "error", error));
    }
    letter_free(&letter);
}

int main(int argc, char **argv)
{
    char error[512];
    char *line = NULL;
    size_t size = 0;
    struct letters *letters = letters_read(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : NULL, error, sizeof error);
    if (letters == NULL) {
        fprintf(stderr, "%s\n", error);
        return 2;
    }
    while (getline(&line, &size, stdin) > 0) {
        json_t *wanted = json_loads(line, 0, NULL);
        INVARIANT(wanted != NULL);
        print_letter(letters, wanted);
        json_decref(wanted);
    }
    free(line);
    letters_free(letters);
    return fflush(stdout) == 0 ? 0 : 1;
}
