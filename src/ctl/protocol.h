/* protocol: what turnoutctl and the master say to each other on the control socket. Master and turnoutctl.
 *
 * A frame is a length of four bytes, most significant first, then that many bytes of msgpack. The client sends one
 * request: an array of texts, the words of the command. The master sends one reply: [status, text, columns, cells,
 * facts]: the exit status for turnoutctl, a line for people ("" for none), an array of column names, the cells of all
 * rows one after the other (texts, integers or nil), and what is no row: names and values one after the other. After
 * "stop" the connection stays open until the master has ended. */
#ifndef CTL_PROTOCOL_H
#define CTL_PROTOCOL_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/object.h"

#define PROTOCOL_REQUEST_MAX 65536
#define PROTOCOL_REPLY_MAX (16 << 20)
#define PROTOCOL_WORDS_MAX 16
#define PROTOCOL_WORD_MAX 1024

enum protocol_result {
    PROTOCOL_OK,
    PROTOCOL_MORE,   /* the frame is not complete yet */
    PROTOCOL_BROKEN, /* too long, or not what a frame of this kind holds */
};

/* A request as words; texts are NUL-terminated and owned by the struct. */
struct protocol_request {
    size_t count;
    char *words[PROTOCOL_WORDS_MAX + 1];
};

/* Appends the frame of a request of `count` words. */
void protocol_put_request(struct buffer *out, char *const *words, size_t count);
/* Reads one request at the front of `in` and consumes it. On PROTOCOL_OK free it with protocol_request_free. */
enum protocol_result protocol_get_request(struct buffer *in, struct protocol_request *request) MUST_CHECK;
void protocol_request_free(struct protocol_request *request);

/* A reply that is being made: begin, cells row by row, then put. */
struct protocol_reply {
    int status;
    char text[512];
    const char *const *columns; /* ended by NULL; boot memory */
    msgpack_sbuffer cells;
    msgpack_packer packer;
    uint32_t cell_count;
    msgpack_sbuffer facts;
    msgpack_packer fact_packer;
    uint32_t fact_count; /* names and values */
};

/* `columns` NULL: a reply without rows. */
void protocol_reply_begin(struct protocol_reply *reply, const char *const *columns);
/* The next cell. */
void protocol_reply_int(struct protocol_reply *reply, int64_t value);
/* The next cell; NULL is nil. */
void protocol_reply_text(struct protocol_reply *reply, const char *value);
/* What is no row: a name and its value; NULL is nil. */
void protocol_reply_fact_int(struct protocol_reply *reply, const char *name, int64_t value);
void protocol_reply_fact_text(struct protocol_reply *reply, const char *name, const char *value, size_t length);
/* The exit status and the line for people. */
void protocol_reply_say(struct protocol_reply *reply, int status, const char *format, ...) PRINTF_LIKE(3, 4);
/* Appends the frame to `out` and frees what the reply holds. */
void protocol_reply_put(struct protocol_reply *reply, struct buffer *out);

/* A reply as it arrived. */
struct protocol_answer {
    int64_t status;
    const msgpack_object_str *text;
    const msgpack_object_array *columns;
    const msgpack_object_array *cells;
    const msgpack_object_array *facts;
    msgpack_unpacked unpacked;
};

/* Reads one reply at the front of `in`; `in` must stay until protocol_answer_free. */
enum protocol_result protocol_get_answer(const struct buffer *in, struct protocol_answer *answer) MUST_CHECK;
void protocol_answer_free(struct protocol_answer *answer);

#endif
