/* log: one line per record to standard error or a file, logfmt or JSON. Any process; each line is one write(2), so
 * lines of several processes never mix. Values are escaped: no control character and no line end of a value reaches the
 * log. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* One key=value of a record. The key is a literal; a text of NULL is left out of the line. */
struct log_field {
    const char *key;
    enum { LOG_FIELD_TEXT, LOG_FIELD_INTEGER } type;
    const char *text;
    int64_t integer;
};

#define log_text(name, value)                                  \
    (struct log_field)                                         \
    {                                                          \
        .key = (name), .type = LOG_FIELD_TEXT, .text = (value) \
    }
#define log_int(name, value)                                                  \
    (struct log_field)                                                        \
    {                                                                         \
        .key = (name), .type = LOG_FIELD_INTEGER, .integer = (int64_t)(value) \
    }

/* Sets how records look from now on. Defaults: info, logfmt. */
void log_configure(enum log_level level, enum log_format format);
/* Changes the least level that is written. */
void log_set_level(enum log_level level);
/* The least level that is written. */
enum log_level log_current_level(void);
/* How records look. */
enum log_format log_current_format(void);

/* Records go to the end of this file from now on, which is made (0640) where it is not there; NULL: to standard error.
 * false: errno says why, and the log stays where it is. */
bool log_open(const char *path) MUST_CHECK;
/* The same file by its name once more: who rotates logs has moved it away. Without a file there is nothing to do. */
bool log_reopen(void) MUST_CHECK;
/* Where records go: a child keeps it open. */
int log_descriptor(void);

/* Names the process in each record ("master", "worker", ...); `slot` below 0 is left out. `role` must be a literal. */
void log_set_process(const char *role, int slot);

/* "debug", "info", "warning" or "error". */
bool log_level_parse(const char *name, enum log_level *level) MUST_CHECK;
/* The same, back; static. */
const char *log_level_name(enum log_level level);

/* Writes one record; `fields` ends with a key of NULL. errno is kept. */
void log_record(enum log_level level, const char *message, const struct log_field *fields);

#define log_at(level, message, ...)                                                                              \
    do {                                                                                                         \
        if ((level) >= log_current_level())                                                                      \
            log_record((level), (message), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}}); \
    } while (0)
/* log_info("worker ready", log_int("slot", slot), log_text("address", address)); */
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)

/* Records of this process that could not be written, or not whole. */
int64_t log_lines_dropped(void);

/* A bad start: one line "turnoutd: ..." on standard error and exit status 2 (do not restart). */
_Noreturn void log_bad_start(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
