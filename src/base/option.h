/* option: the one table of options. The configuration reads by it, prints by it, and tests hold conf/turnout.conf and
 * the manual against it. Master and turnoutctl. */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

enum option_type {
    OPTION_TEXT,
    OPTION_COUNT,    /* a whole number */
    OPTION_SIZE,     /* bytes; k and m are 1,024 and 1,048,576 */
    OPTION_DURATION, /* us, ms, s, m, h, d; kept in microseconds */
    OPTION_SWITCH,   /* yes or no */
    OPTION_MODE,     /* permission bits, octal */
    OPTION_LEVEL,    /* of the log */
    OPTION_FORMAT,   /* of the log */
    OPTION_NETWORKS, /* of peers (network.h); a struct network_list, NULL for nobody */
    OPTION_HEADER,   /* the name of a header that a proxy sets; NULL: none */
};

/* More than a value of the file can be long, as it would be written, with its end. */
#define OPTION_TEXT_MAX 4096

struct option {
    const char *name;
    enum option_type type;
    size_t offset;      /* in struct configuration */
    const char *preset; /* as it would be written; NULL: not set */
    int64_t least;      /* numbers and durations, inclusive */
    int64_t most;
    bool reloadable; /* takes effect in a running daemon; else at its next start */
    const char *help;
};

struct configuration;

/* The table, ended by a name of NULL. */
const struct option *option_table(void);
const struct option *option_find(const char *name);

/* Stores `text` at the option's place. false: `expected` says what would have been right ("a duration from 1ms to 1h").
 * Texts are copied and owned by the configuration. */
bool option_store(const struct option *option, struct configuration *configuration, const char *text, char *expected,
                  size_t expected_size) MUST_CHECK;

/* Is the option's value the same in both? */
bool option_equal(const struct option *option, const struct configuration *one, const struct configuration *other);
/* Frees what the configuration owns of the value. */
void option_clear(const struct option *option, struct configuration *configuration);

/* Writes the value as it would be written in the file. */
void option_show(const struct option *option, const struct configuration *configuration, char *text, size_t size);

/* Reads a duration as the file would have it ("8h"), in microseconds. */
bool option_parse_duration(const char *text, int64_t *microseconds) MUST_CHECK;

#endif
