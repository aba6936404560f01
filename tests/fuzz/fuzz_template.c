/* fuzz_template: the reader and the writer of mails' templates.
 *
 * What must hold: reading and rendering end; a template is refused with words, or read; ends of lines as CR LF change
 * nothing; no value brings a tag, a quotation mark or a line of its own, whatever it holds. */
#include <stdbool.h>

#include "mail/template.h"
#include "target.h"

#define NAMES 4

static const struct template_name names[NAMES] = {{"a", false}, {"title", false}, {"when", false}, {"flag", true}};
static const char *const hostile[NAMES] = {"<b>\"'&>", "\r\nBcc: x\n\v\x7f", "{{title}}{{{a}}}\xe2\x80\xa8\xc2\x85",
                                           "1"};
static const char *const half[NAMES] = {"", "<\"\n", NULL, ""};

static size_t count_of(const char *text, size_t length, char wanted)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += text[i] == wanted;
    return count;
}

/* Of the rendered text there is no more than the template itself may have brought. */
static void check_rendered(const struct template *template, const char *const *values, enum template_form form,
                           const char *bytes, size_t size)
{
    struct buffer text = {0};
    template_render(template, values, &text);
    const char *rendered = buffer_text(&text);
    size_t length = buffer_length(&text);
    MUST(count_of(rendered, length, '\n') <= (form == TEMPLATE_LINE ? 0 : count_of(bytes, size, '\n')));
    MUST(count_of(rendered, length, '\r') == 0 && count_of(rendered, length, '\0') == 0);
    if (form == TEMPLATE_HTML) {
        MUST(count_of(rendered, length, '<') <= count_of(bytes, size, '<'));
        MUST(count_of(rendered, length, '"') <= count_of(bytes, size, '"'));
        MUST(count_of(rendered, length, '\'') <= count_of(bytes, size, '\''));
    }
    buffer_free(&text);
}

/* Whether both are refused, or render the same. */
static void check_same(const struct template *one, const char *bytes, size_t size, enum template_form form)
{
    struct buffer other = {0};
    char error[128];
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r'))
            buffer_append_text(&other, "\r");
        buffer_append(&other, &bytes[i], 1);
    }
    if (buffer_length(&other) <= TEMPLATE_SIZE_MAX) {
        struct template *two =
            template_read(buffer_text(&other), buffer_length(&other), form, names, NAMES, error, sizeof error);
        MUST((one == NULL) == (two == NULL));
        if (one != NULL) {
            struct buffer first = {0};
            struct buffer second = {0};
            template_render(one, hostile, &first);
            template_render(two, hostile, &second);
            MUST(strcmp(buffer_text(&first), buffer_text(&second)) == 0);
            buffer_free(&first);
            buffer_free(&second);
        }
        template_free(two);
    }
    buffer_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = exact_copy(bytes, size, 0);
    for (int form = TEMPLATE_LINE; form <= TEMPLATE_HTML; form++) {
        char error[128] = "";
        struct template *template =
            template_read(text, size, (enum template_form)form, names, NAMES, error, sizeof error);
        MUST(template != NULL || strncmp(error, "line ", 5) == 0);
        if (template != NULL) {
            check_rendered(template, hostile, (enum template_form)form, text, size);
            check_rendered(template, half, (enum template_form)form, text, size);
        }
        check_same(template, text, size, (enum template_form)form);
        template_free(template);
    }
    free(text);
    return 0;
}
