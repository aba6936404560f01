/* template: a small part of mustache, checked against the names that there are when it is read, and rendered without
 * any way to fail. Any process; no state, no file.
 *
 *   {{name}}                the value, made harmless for the form
 *   {{#name}}...{{/name}}   only where the value is not empty
 *   {{^name}}...{{/name}}   only where it is
 *   {{!words}}              a remark
 *
 * A section's tag or a remark alone on its line leaves no line. There is no way to write a value as it is
 * ({{{name}}}, {{&name}}), and no partials or other delimiters: they are refused. */
#ifndef MAIL_TEMPLATE_H
#define MAIL_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/object.h"

#define TEMPLATE_SIZE_MAX 65536
#define TEMPLATE_DEPTH_MAX 8

/* What a value becomes. In all forms it loses control characters and marks that turn the direction of the text behind
 * them, and the end of a line in it is a space. */
enum template_form {
    TEMPLATE_LINE, /* the template must be one line */
    TEMPLATE_TEXT,
    TEMPLATE_HTML, /* and its & < > " ' are escaped: for text and for quoted attributes */
};

struct template_name {
    const char *name;
    bool is_flag; /* for sections alone: its value is not meant to be read */
};

struct template;

/* `names` is kept and indexes the values of template_render. The bytes are not kept. Lines may end with LF or CR LF.
 * NULL: `error` says "line N: " and what is wrong there. */
struct template *template_read(const char *bytes, size_t length, enum template_form form,
                               const struct template_name *names, size_t count, char *error,
                               size_t error_size) MUST_CHECK;
void template_free(struct template *template);

/* Appends to `to`; `values` has one text for each name, NULL or "" where there is none. Lines end with LF. */
void template_render(const struct template *template, const char *const *values, struct buffer *to);

/* Appends `text` as a value of TEMPLATE_LINE is written: for what stands in a header. */
void template_append_clean(const char *text, struct buffer *to);

#endif
