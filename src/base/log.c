/* log: one line per record to standard error or a file, logfmt or JSON. Any process. Builds the line on the stack, so
 * that logging works when memory does not; a record that does not fit is cut at LINE_MAX_BYTES, keeping its line end.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

/* A pipe takes 4,096 bytes at once (PIPE_BUF), so lines of several processes do not mix up to there. In a file they do
 * not because each write goes to its end, and the kernel lets one in after the other. */
#define LINE_MAX_BYTES 4096

static struct {
    enum log_level level;
    enum log_format format;
    const char *role;
    int slot;
    int descriptor;
    int64_t dropped;
    char *path; /* NULL: standard error */
} state = {.level = LOG_LEVEL_INFO, .format = LOG_FORMAT_LOGFMT, .slot = -1, .descriptor = STDERR_FILENO};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

struct line {
    char bytes[LINE_MAX_BYTES];
    size_t length;
};

void log_configure(enum log_level level, enum log_format format)
{
    state.level = level;
    state.format = format;
}

void log_set_level(enum log_level level)
{
    state.level = level;
}

enum log_level log_current_level(void)
{
    return state.level;
}

enum log_format log_current_format(void)
{
    return state.format;
}

/* Without O_NONBLOCK a FIFO that nobody reads would hold up the process for ever. -1: errno says why. */
static int open_file(const char *path)
{
    struct stat status;
    int descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
    if (descriptor < 0)
        return -1;
    if (fstat(descriptor, &status) == 0 && (S_ISREG(status.st_mode) || S_ISCHR(status.st_mode)))
        return descriptor;
    close(descriptor);
    errno = EINVAL;
    return -1;
}

bool log_open(const char *path)
{
    char *copy = path == NULL ? NULL : strdup(path);
    int descriptor = path == NULL ? STDERR_FILENO : copy == NULL ? -1 : open_file(path);
    if (descriptor < 0) {
        int saved = errno;
        free(copy);
        errno = saved;
        return false;
    }
    if (state.descriptor != STDERR_FILENO)
        close(state.descriptor);
    free(state.path);
    state.path = copy;
    state.descriptor = descriptor;
    return true;
}

bool log_reopen(void)
{
    if (state.path == NULL)
        return true;
    int descriptor = open_file(state.path);
    if (descriptor < 0)
        return false;
    close(state.descriptor);
    state.descriptor = descriptor;
    return true;
}

int log_descriptor(void)
{
    return state.descriptor;
}

void log_set_process(const char *role, int slot)
{
    state.role = role;
    state.slot = slot;
}

bool log_level_parse(const char *name, enum log_level *level)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

/* Room is kept for what closes a line. */
static void put(struct line *line, const char *bytes, size_t length)
{
    if (line->length + length > LINE_MAX_BYTES - 8)
        return;
    memcpy(line->bytes + line->length, bytes, length);
    line->length += length;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* Inside double quotes; the same escapes serve logfmt and JSON. Bytes over 0x7f pass as they are, but for the C1
 * controls (0xc2 0x80..0x9f), which terminals obey. */
static void put_escaped(struct line *line, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        char escaped[8];
        if (*at == '"' || *at == '\\') {
            escaped[0] = '\\';
            escaped[1] = (char)*at;
            put(line, escaped, 2);
        } else if (*at < 0x20 || *at == 0x7f) {
            put(line, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", *at));
        } else if (*at == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f) {
            put(line, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", at[1]));
            at++;
        } else {
            put(line, (const char *)at, 1);
        }
        if (line->length > LINE_MAX_BYTES - 32) {
            put_text(line, "...");
            return;
        }
    }
}

static bool is_plain(const char *text)
{
    if (*text == '\0')
        return false;
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at <= ' ' || *at == '"' || *at == '=' || *at == '\\' || *at >= 0x7f)
            return false;
    }
    return true;
}

static void put_key(struct line *line, const char *key, bool first)
{
    if (state.format == LOG_FORMAT_JSON) {
        put_text(line, first ? "{\"" : ",\"");
        put_text(line, key);
        put_text(line, "\":");
    } else {
        if (!first)
            put_text(line, " ");
        put_text(line, key);
        put_text(line, "=");
    }
}

static void put_value(struct line *line, const char *value)
{
    if (state.format == LOG_FORMAT_LOGFMT && is_plain(value) && line->length + strlen(value) + 64 < LINE_MAX_BYTES) {
        put_text(line, value);
        return;
    }
    put_text(line, "\"");
    put_escaped(line, value);
    put_text(line, "\"");
}

static void put_integer(struct line *line, int64_t value)
{
    char digits[24];
    put(line, digits, (size_t)snprintf(digits, sizeof digits, "%lld", (long long)value));
}

void log_record(enum log_level level, const char *message, const struct log_field *fields)
{
    int saved = errno;
    struct line line;
    line.length = 0;

    char moment[28];
    clock_rfc3339(clock_realtime(), moment);
    put_key(&line, "time", true);
    put_value(&line, moment);
    put_key(&line, "level", false);
    put_value(&line, level_names[level]);
    if (state.role != NULL) {
        put_key(&line, "process", false);
        put_value(&line, state.role);
        if (state.slot >= 0) {
            put_key(&line, "slot", false);
            put_integer(&line, state.slot);
        }
    }
    put_key(&line, "pid", false);
    put_integer(&line, getpid());
    put_key(&line, "message", false);
    put_value(&line, message);
    for (const struct log_field *field = fields; field->key != NULL; field++) {
        if (line.length > LINE_MAX_BYTES - 64)
            break;
        if (field->type == LOG_FIELD_TEXT && field->text == NULL)
            continue;
        put_key(&line, field->key, false);
        if (field->type == LOG_FIELD_TEXT)
            put_value(&line, field->text);
        else
            put_integer(&line, field->integer);
    }
    if (state.format == LOG_FORMAT_JSON)
        line.bytes[line.length++] = '}';
    line.bytes[line.length++] = '\n';

    /* A log that cannot be written is no reason to stop serving. */
    ssize_t written = write(state.descriptor, line.bytes, line.length);
    state.dropped += written != (ssize_t)line.length;
    errno = saved;
}

int64_t log_lines_dropped(void)
{
    return state.dropped;
}

void log_bad_start(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}
