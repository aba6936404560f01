/* template: read into a list of steps, each of which knows where its section ends, so that rendering is one walk. */
#include "mail/template.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum step_kind {
    STEP_TEXT,  /* bytes of the template */
    STEP_VALUE, /* of a name */
    STEP_IF,    /* goes to `next` where the value is empty */
    STEP_UNLESS /* goes to `next` where it is not */
};

struct step {
    enum step_kind kind;
    size_t name;  /* index */
    size_t next;  /* of a section: the step behind it */
    size_t start; /* of a text: where it stands in `text`, and how long it is */
    size_t length;
};

struct template
{
    enum template_form form;
    char *text;
    struct step *steps;
    size_t count;
};

/* ---- reading ---- */

struct reader {
    struct template *template;
    size_t length; /* of the text */
    size_t at;
    size_t line;
    const struct template_name *names;
    size_t name_count;
    size_t open[TEMPLATE_DEPTH_MAX]; /* steps of the sections that are open here */
    size_t open_lines[TEMPLATE_DEPTH_MAX];
    size_t depth;
    char *error;
    size_t error_size;
};

PRINTF_LIKE(2, 3) static bool refuse(struct reader *reader, const char *format, ...)
{
    va_list arguments;
    int written = snprintf(reader->error, reader->error_size, "line %zu: ", reader->line);
    va_start(arguments, format);
    if (written > 0 && (size_t)written < reader->error_size)
        vsnprintf(reader->error + written, reader->error_size - (size_t)written, format, arguments);
    va_end(arguments);
    return false;
}

/* LF alone, and nothing that no text file holds. */
static bool copy_text(struct reader *reader, const char *bytes, size_t length)
{
    char *to = reader->template->text = malloc(length + 1);
    INVARIANT(to != NULL);
    if (length >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) { /* editors write it */
        bytes += 3;
        length -= 3;
    }
    if (!text_is_utf8(bytes, length))
        return refuse(reader, "the file is not UTF-8");
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '\r' && i + 1 < length && bytes[i + 1] == '\n')
            continue;
        if (((unsigned char)bytes[i] < ' ' && bytes[i] != '\n' && bytes[i] != '\t') || bytes[i] == 0x7f)
            return refuse(reader, "a control character (0x%02x)", (unsigned)bytes[i]);
        reader->line += bytes[i] == '\n';
        *to++ = bytes[i];
    }
    if (reader->template->form == TEMPLATE_LINE)
        while (to > reader->template->text && to[-1] == '\n')
            to--;
    *to = '\0';
    reader->length = (size_t)(to - reader->template->text);
    reader->line = 1;
    if (reader->template->form == TEMPLATE_LINE && memchr(reader->template->text, '\n', reader->length) != NULL)
        return refuse(reader, "expected one line, found more");
    return true;
}

/* The room is that of all steps there can be: a tag has five bytes at least, with text between it and the next. */
static struct step *add_step(struct reader *reader, enum step_kind kind)
{
    struct step *step = &reader->template->steps[reader->template->count++];
    *step = (struct step){.kind = kind};
    return step;
}

static void add_text(struct reader *reader, size_t start, size_t end)
{
    if (end <= start)
        return;
    struct step *step = add_step(reader, STEP_TEXT);
    step->start = start;
    step->length = end - start;
}

/* One tag: its sigil (0: a value), and its content without the blanks around it. */
struct tag {
    size_t start; /* of the braces */
    size_t end;   /* behind them */
    char sigil;
    const char *name;
    int length;
};

/* The tag that opens at `start`. */
static bool find_tag(struct reader *reader, size_t start, struct tag *tag)
{
    const char *text = reader->template->text;
    const char *content = text + start + 2;
    const char *end = strstr(content, "}}");
    if (*content == '{')
        return refuse(reader, "{{{ is not known here: every value is escaped");
    if (end == NULL)
        return refuse(reader, "a tag that does not end: expected }}");
    *tag = (struct tag){.start = start, .end = (size_t)(end - text) + 2};
    if (*content != '\0' && strchr("#^/!&>=", *content) != NULL)
        tag->sigil = *content++;
    if (tag->sigil == '&' || tag->sigil == '>' || tag->sigil == '=')
        return refuse(reader, "{{%c is not known here: only names, sections and remarks are", tag->sigil);
    while (content < end && (*content == ' ' || *content == '\t'))
        content++;
    while (end > content && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    tag->name = content;
    tag->length = (int)(end - content);
    return true;
}

static bool find_name(struct reader *reader, const struct tag *tag, size_t *index)
{
    for (*index = 0; *index < reader->name_count; ++*index) {
        const char *name = reader->names[*index].name;
        if (strlen(name) == (size_t)tag->length && memcmp(name, tag->name, (size_t)tag->length) == 0)
            return true;
    }
    return refuse(reader, "there is no \"%.*s\"", tag->length > 64 ? 64 : tag->length, tag->name);
}

static bool open_section(struct reader *reader, const struct tag *tag)
{
    size_t name;
    if (!find_name(reader, tag, &name))
        return false;
    if (reader->depth == TEMPLATE_DEPTH_MAX)
        return refuse(reader, "sections stand in one another more than %d deep", TEMPLATE_DEPTH_MAX);
    reader->open[reader->depth] = reader->template->count;
    reader->open_lines[reader->depth++] = reader->line;
    add_step(reader, tag->sigil == '#' ? STEP_IF : STEP_UNLESS)->name = name;
    return true;
}

static bool close_section(struct reader *reader, const struct tag *tag)
{
    size_t name;
    if (!find_name(reader, tag, &name))
        return false;
    if (reader->depth == 0)
        return refuse(reader, "{{/%s}} closes nothing", reader->names[name].name);
    struct step *opened = &reader->template->steps[reader->open[--reader->depth]];
    if (opened->name != name)
        return refuse(reader, "{{/%s}} closes {{#%s}} of line %zu", reader->names[name].name,
                      reader->names[opened->name].name, reader->open_lines[reader->depth]);
    opened->next = reader->template->count;
    return true;
}

static bool add_value(struct reader *reader, const struct tag *tag)
{
    size_t name;
    if (!find_name(reader, tag, &name))
        return false;
    if (reader->names[name].is_flag)
        return refuse(reader, "\"%s\" is for sections alone: {{#%s}}", reader->names[name].name,
                      reader->names[name].name);
    add_step(reader, STEP_VALUE)->name = name;
    return true;
}

/* Where the text before a tag ends and that behind it begins: around a tag that stands alone on its line, the line is
 * left out. */
static void trim_line(const struct reader *reader, const struct tag *tag, size_t *before, size_t *behind)
{
    const char *text = reader->template->text;
    size_t start = tag->start;
    size_t end = tag->end;
    *before = tag->start;
    *behind = tag->end;
    if (tag->sigil == 0 || reader->template->form == TEMPLATE_LINE)
        return;
    while (start > 0 && (text[start - 1] == ' ' || text[start - 1] == '\t'))
        start--;
    while (text[end] == ' ' || text[end] == '\t')
        end++;
    if ((start > 0 && text[start - 1] != '\n') || (text[end] != '\n' && text[end] != '\0'))
        return;
    *before = start;
    *behind = end + (text[end] == '\n');
}

static bool add_tag(struct reader *reader, const struct tag *tag)
{
    switch (tag->sigil) {
    case '#':
    case '^':
        return open_section(reader, tag);
    case '/':
        return close_section(reader, tag);
    case '!':
        return true;
    default:
        return add_value(reader, tag);
    }
}

static void count_lines(struct reader *reader, size_t from, size_t to)
{
    for (; from < to; from++)
        reader->line += reader->template->text[from] == '\n';
}

static bool read_all(struct reader *reader)
{
    const char *text = reader->template->text;
    while (reader->at < reader->length) {
        const char *braces = strstr(text + reader->at, "{{");
        size_t start = braces == NULL ? reader->length : (size_t)(braces - text);
        struct tag tag = {0};
        size_t before;
        size_t behind;
        count_lines(reader, reader->at, start);
        if (braces == NULL) {
            add_text(reader, reader->at, start);
            break;
        }
        if (!find_tag(reader, start, &tag))
            return false;
        trim_line(reader, &tag, &before, &behind);
        add_text(reader, reader->at, before);
        if (!add_tag(reader, &tag))
            return false;
        count_lines(reader, tag.start, behind);
        reader->at = behind;
    }
    if (reader->depth > 0) {
        reader->line = reader->open_lines[reader->depth - 1];
        return refuse(reader, "{{#%s}} is never closed",
                      reader->names[reader->template->steps[reader->open[reader->depth - 1]].name].name);
    }
    return true;
}

struct template *template_read(const char *bytes, size_t length, enum template_form form,
                               const struct template_name *names, size_t count, char *error, size_t error_size)
{
    struct template *template = calloc(1, sizeof *template);
    INVARIANT(template != NULL);
    template->form = form;
    struct reader reader = {
        .template = template,
        .line = 1,
        .names = names,
        .name_count = count,
        .error = error,
        .error_size = error_size,
    };
    bool is_read = length <= TEMPLATE_SIZE_MAX ? copy_text(&reader, bytes, length)
                                               : refuse(&reader, "the file is longer than %d bytes", TEMPLATE_SIZE_MAX);
    if (is_read) {
        template->steps = calloc(reader.length / 2 + 2, sizeof template->steps[0]);
        INVARIANT(template->steps != NULL);
        is_read = read_all(&reader);
    }
    if (is_read)
        return template;
    template_free(template);
    return NULL;
}

void template_free(struct template *template)
{
    if (template == NULL)
        return;
    free(template->text);
    free(template->steps);
    free(template);
}

/* ---- rendering ---- */

static const char *html_of(char character)
{
    switch (character) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

/* Characters that have no place in a line of text, by their bytes: the length of the one that `at` begins with, or 0.
 * `*is_space`: a space stands for it. */
static size_t unwanted(const unsigned char *at, bool *is_space)
{
    *is_space = *at == '\n' || *at == '\t' || (*at == '\r' && at[1] != '\n');
    if (*at < ' ' || *at == 0x7f)
        return 1;
    if (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0) { /* U+0080 to U+009F; U+0085 ends a line */
        *is_space = at[1] == 0x85;
        return 2;
    }
    if (*at == 0xef && at[1] == 0xbb && at[2] == 0xbf) /* U+FEFF */
        return 3;
    if (*at != 0xe2)
        return 0;
    *is_space = at[1] == 0x80 && (at[2] == 0xa8 || at[2] == 0xa9); /* U+2028, U+2029 end lines */
    /* U+202A to U+202E and U+2066 to U+2069 turn what stands behind the value, too */
    if (*is_space || (at[1] == 0x80 && at[2] >= 0xaa && at[2] <= 0xae) ||
        (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9))
        return 3;
    return 0;
}

static void append_value(const char *value, enum template_form form, struct buffer *to)
{
    const unsigned char *at = (const unsigned char *)value;
    while (*at != '\0') {
        bool is_space;
        size_t skipped = unwanted(at, &is_space);
        const char *escaped = form == TEMPLATE_HTML ? html_of((char)*at) : NULL;
        if (skipped > 0) {
            buffer_append(to, " ", is_space);
            at += skipped;
        } else if (escaped != NULL) {
            buffer_append_text(to, escaped);
            at++;
        } else {
            buffer_append(to, at++, 1);
        }
    }
}

void template_append_clean(const char *text, struct buffer *to)
{
    append_value(text, TEMPLATE_LINE, to);
}

void template_render(const struct template *template, const char *const *values, struct buffer *to)
{
    for (size_t i = 0; i < template->count;) {
        const struct step *step = &template->steps[i];
        const char *value = step->kind == STEP_TEXT ? NULL : values[step->name];
        bool is_empty = value == NULL || value[0] == '\0';
        i++;
        if (step->kind == STEP_TEXT)
            buffer_append(to, template->text + step->start, step->length);
        else if (step->kind == STEP_VALUE && !is_empty)
            append_value(value, template->form, to);
        else if (step->kind == (is_empty ? STEP_IF : STEP_UNLESS))
            i = step->next;
    }
}
