/* client: one command over the control socket. Prints the master's rows as a table, or as JSON. turnoutctl only. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/protocol.h"
#include "ctl/turnoutctl.h"

static int connect_to(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof name.sun_path) {
        fprintf(stderr, "turnoutctl: %s: the path is longer than a Unix socket's can be\n", path);
        return -1;
    }
    memcpy(name.sun_path, path, strlen(path));
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor >= 0 && connect(descriptor, (const struct sockaddr *)&name, sizeof name) == 0)
        return descriptor;
    fprintf(stderr, "turnoutctl: %s: %s%s\n", path, strerror(errno),
            errno == ENOENT || errno == ECONNREFUSED ? " (is turnoutd running?)" : "");
    if (descriptor >= 0)
        close(descriptor);
    return -1;
}

static bool send_all(int descriptor, struct buffer *out)
{
    while (buffer_length(out) > 0) {
        ssize_t sent = send(descriptor, buffer_bytes(out), buffer_length(out), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        buffer_consume(out, (size_t)sent);
    }
    return true;
}

static enum protocol_result receive(int descriptor, struct buffer *in, struct protocol_answer *answer)
{
    for (;;) {
        enum protocol_result result = protocol_get_answer(in, answer);
        if (result != PROTOCOL_MORE)
            return result;
        ssize_t got = recv(descriptor, buffer_reserve(in, 65536), 65536, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return PROTOCOL_MORE;
        in->end += (size_t)got;
    }
}

static void cell_text(const msgpack_object *cell, struct buffer *text)
{
    if (cell->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        buffer_printf(text, "%" PRIu64, cell->via.u64);
    else if (cell->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        buffer_printf(text, "%" PRId64, cell->via.i64);
    else if (cell->type == MSGPACK_OBJECT_STR)
        buffer_append(text, cell->via.str.ptr, cell->via.str.size);
    else
        buffer_append_text(text, "-");
}

static size_t cell_width(const msgpack_object *cell)
{
    struct buffer text = {0};
    cell_text(cell, &text);
    size_t width = buffer_length(&text);
    buffer_free(&text);
    return width;
}

static void print_padded(const char *text, size_t length, size_t width, bool last, bool upper)
{
    for (size_t i = 0; i < length; i++)
        putchar(upper ? toupper((unsigned char)text[i]) : text[i]);
    for (size_t i = length; !last && i < width + 2; i++)
        putchar(' ');
    if (last)
        putchar('\n');
}

static void print_table(const struct protocol_answer *answer)
{
    uint32_t columns = answer->columns->size;
    size_t widths[64] = {0};
    INVARIANT(columns <= 64);
    for (uint32_t i = 0; i < columns; i++)
        widths[i] = answer->columns->ptr[i].via.str.size;
    for (uint32_t i = 0; i < answer->cells->size; i++) {
        size_t width = cell_width(&answer->cells->ptr[i]);
        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    for (uint32_t i = 0; i < columns; i++)
        print_padded(answer->columns->ptr[i].via.str.ptr, answer->columns->ptr[i].via.str.size, widths[i],
                     i + 1 == columns, true);
    for (uint32_t i = 0; i < answer->cells->size; i++) {
        struct buffer text = {0};
        cell_text(&answer->cells->ptr[i], &text);
        print_padded(buffer_text(&text), buffer_length(&text), widths[i % columns], i % columns + 1 == columns, false);
        buffer_free(&text);
    }
}

static void append_json_cell(struct buffer *out, const msgpack_object *cell)
{
    if (cell->type == MSGPACK_OBJECT_STR)
        text_append_json(out, cell->via.str.ptr, cell->via.str.size);
    else if (cell->type == MSGPACK_OBJECT_NIL)
        buffer_append_text(out, "null");
    else
        cell_text(cell, out);
}

static void print_facts(const struct protocol_answer *answer)
{
    for (uint32_t i = 0; i < answer->facts->size; i += 2) {
        const msgpack_object_str *name = &answer->facts->ptr[i].via.str;
        struct buffer text = {0};
        cell_text(&answer->facts->ptr[i + 1], &text);
        printf("%.*s: ", (int)name->size, name->ptr);
        fwrite(buffer_text(&text), 1, buffer_length(&text), stdout);
        putchar('\n');
        buffer_free(&text);
    }
}

static void append_json_rows(struct buffer *out, const struct protocol_answer *answer)
{
    uint32_t columns = answer->columns->size;
    buffer_append_text(out, "[");
    for (uint32_t i = 0; i < answer->cells->size; i++) {
        const msgpack_object_str *name = &answer->columns->ptr[i % columns].via.str;
        buffer_append_text(out, i % columns != 0 ? "," : i == 0 ? "{" : ",{");
        text_append_json(out, name->ptr, name->size);
        buffer_append_text(out, ":");
        append_json_cell(out, &answer->cells->ptr[i]);
        if (i % columns + 1 == columns)
            buffer_append_text(out, "}");
    }
    buffer_append_text(out, "]");
}

/* The rows alone where there is nothing beside them; facts make an object of the whole, in which rows are one member.
 */
static void print_json(const struct protocol_answer *answer)
{
    struct buffer out = {0};
    bool rows = answer->columns->size > 0;
    if (answer->facts->size > 0) {
        buffer_append_text(&out, "{");
        for (uint32_t i = 0; i < answer->facts->size; i += 2) {
            const msgpack_object_str *name = &answer->facts->ptr[i].via.str;
            buffer_append_text(&out, i > 0 ? "," : "");
            text_append_json(&out, name->ptr, name->size);
            buffer_append_text(&out, ":");
            append_json_cell(&out, &answer->facts->ptr[i + 1]);
        }
        buffer_append_text(&out, rows ? ",\"rows\":" : "");
        if (rows)
            append_json_rows(&out, answer);
        buffer_append_text(&out, "}");
    } else if (!rows) {
        buffer_printf(&out, "{\"status\":%" PRId64 ",\"text\":", answer->status);
        text_append_json(&out, answer->text->ptr, answer->text->size);
        buffer_append_text(&out, "}");
    } else {
        append_json_rows(&out, answer);
    }
    puts(buffer_text(&out));
    buffer_free(&out);
}

static void print_answer(const struct turnoutctl *ctl, const struct protocol_answer *answer)
{
    if (ctl->json)
        print_json(answer);
    else if (answer->columns->size > 0 && (answer->cells->size > 0 || answer->text->size == 0))
        print_table(answer);
    if (!ctl->json)
        print_facts(answer);
    fflush(stdout);
    if (!ctl->json && answer->text->size > 0)
        fprintf(answer->status == 0 ? stdout : stderr, "%s%.*s\n",
                answer->status == 0 ? "" : "turnoutctl: ", (int)answer->text->size, answer->text->ptr);
    fflush(stdout);
}

/* After "stop" the master keeps the connection open until it has ended. */
static void wait_for_end(int descriptor)
{
    char byte;
    ssize_t got;
    do {
        got = recv(descriptor, &byte, 1, 0);
    } while (got > 0 || (got < 0 && errno == EINTR));
}

static int talk(const struct turnoutctl *ctl, int descriptor, char *const *words, size_t count)
{
    struct buffer out = {0};
    struct buffer in = {0};
    struct protocol_answer answer;
    protocol_put_request(&out, words, count);
    bool sent = send_all(descriptor, &out);
    buffer_free(&out);
    enum protocol_result result = sent ? receive(descriptor, &in, &answer) : PROTOCOL_MORE;
    int status = CTL_UNREACHABLE;
    if (result == PROTOCOL_OK) {
        print_answer(ctl, &answer);
        status = (int)answer.status;
        protocol_answer_free(&answer);
        wait_for_end(descriptor);
    } else {
        fprintf(stderr, "turnoutctl: turnoutd %s\n",
                result == PROTOCOL_BROKEN ? "answered in a form that this version does not know"
                                          : "closed the connection without an answer (may this user speak to it?)");
    }
    buffer_free(&in);
    return status;
}

int client_run(const struct turnoutctl *ctl, char *const *words, size_t count)
{
    char *found = ctl->socket == NULL ? configuration_peek(ctl->configuration_path, "control_socket") : NULL;
    if (ctl->socket == NULL && found == NULL)
        configuration_free(turnoutctl_configuration(ctl)); /* says what is wrong and ends */
    int descriptor = connect_to(ctl->socket != NULL ? ctl->socket : found);
    int status = descriptor < 0 ? CTL_UNREACHABLE : talk(ctl, descriptor, words, count);
    if (descriptor >= 0)
        close(descriptor);
    free(found);
    return status;
}
