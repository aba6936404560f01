/* configuration: reads the file by the table of options. inih reads the form, option.c the values; this file counts
 * lines, so that an error names its place, and checks the values against each other. Master and turnoutctl. */
#include "base/configuration.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/option.h"

/* 1 for exports, 4 for the scheduler, the refresher and the mailer. */
#define CONNECTIONS_BESIDE_WORKERS 5
#define CACHE_LEAST (4 << 20)
#define SECONDS_OF_LIMIT_MAX 3600
/* One for reads, one for writes, one that may wait for an event's seats. */
#define CONNECTIONS_PER_WORKER 3

struct whole {
    struct configuration values; /* first: the public part is the whole's address */
    char **origins;              /* one per option; NULL is the default */
    char *path;                  /* NULL: no file */
};

struct reading {
    struct whole *whole;
    const char *path;
    FILE *file;
    int line;
    char *error; /* the first one stays */
    size_t error_size;
};

static struct configuration *current;

static size_t option_count(void)
{
    size_t count = 0;
    while (option_table()[count].name != NULL)
        count++;
    return count;
}

static void complain(struct reading *reading, const char *name, const char *what)
{
    if (reading->error[0] == '\0')
        snprintf(reading->error, reading->error_size, "%s:%d: %s%s%s", reading->path, reading->line, name,
                 name[0] == '\0' ? "" : ": ", what);
}

/* inih cuts a line at its own limit and would read the rest as a line of its own; and it would not see what stands
 * behind a zero byte. */
static char *read_line(char *text, int size, void *stream)
{
    struct reading *reading = stream;
    memset(text, ' ', (size_t)size);
    if (fgets(text, size, reading->file) == NULL)
        return NULL;
    size_t length = strlen(text);
    const char *end = memrchr(text, '\0', (size_t)size); /* fgets's own */
    reading->line++;
    if (text + length != end) {
        complain(reading, "", "the line holds a zero byte");
    } else if (length > 0 && text[length - 1] != '\n' && !feof(reading->file)) {
        char what[80];
        snprintf(what, sizeof what, "the line is longer than %d bytes", size - 2);
        complain(reading, "", what);
    }
    return text;
}

/* inih's handler: 1 is success. */
static int take_value(void *context, const char *section, const char *name, const char *value)
{
    struct reading *reading = context;
    if (section[0] != '\0') {
        complain(reading, section, "sections are not used; write the options without them");
        return 0;
    }
    const struct option *option = option_find(name);
    if (option == NULL) {
        complain(reading, name, "unknown option");
        return 0;
    }
    if (value[0] == ';') { /* with a space before it, as it will be shown, it is a comment */
        complain(reading, name, "a value cannot begin with a semicolon");
        return 0;
    }
    char **origin = &reading->whole->origins[option - option_table()];
    if (*origin != NULL) {
        char what[512];
        snprintf(what, sizeof what, "is set twice (first at %s)", *origin);
        complain(reading, name, what);
        return 0;
    }
    char expected[256];
    if (!option_store(option, &reading->whole->values, value, expected, sizeof expected)) {
        char what[384];
        snprintf(what, sizeof what, "expected %s, not \"%.60s\"", expected, value);
        complain(reading, name, what);
        return 0;
    }
    INVARIANT(asprintf(origin, "%s:%d", reading->path, reading->line) > 0);
    return 1;
}

static void store_presets(struct whole *whole)
{
    for (const struct option *option = option_table(); option->name != NULL; option++) {
        char expected[128];
        if (option->preset != NULL)
            INVARIANT(option_store(option, &whole->values, option->preset, expected, sizeof expected));
    }
}

static bool read_file(struct whole *whole, const char *path, char *error, size_t error_size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
        return false;
    }
    struct reading reading = {.whole = whole, .path = path, .file = file, .error = error, .error_size = error_size};
    error[0] = '\0';
    int line = ini_parse_stream(read_line, &reading, take_value, &reading);
    if (ferror(file) && error[0] == '\0')
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
    fclose(file);
    if (line > 0 && error[0] == '\0')
        snprintf(error, error_size, "%s:%d: expected name = value", path, line);
    return error[0] == '\0';
}

static const char *origin_of(const struct whole *whole, const char *name)
{
    const char *origin = whole->origins[option_find(name) - option_table()];
    return origin == NULL ? "default" : origin;
}

static bool is_set(const struct configuration *values, const char *name)
{
    char text[8];
    option_show(option_find(name), values, text, sizeof text);
    return text[0] != '\0';
}

/* A proxy that signs people in names at least who it is and how to write to them, and is somebody whom we know. */
static bool check_proxy(const struct whole *whole, char *error, size_t error_size)
{
    static const struct {
        const char *option;
        const char *needs;
    } pairs[] = {{"proxy_subject_header", "proxy_email_header"}, {"proxy_subject_header", "proxy_issuer"},
                 {"proxy_subject_header", "trusted_proxies"},    {"proxy_email_header", "proxy_subject_header"},
                 {"proxy_name_header", "proxy_subject_header"},  {"proxy_department_header", "proxy_subject_header"},
                 {"proxy_kind_header", "proxy_subject_header"},  {"proxy_role_header", "proxy_subject_header"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (is_set(&whole->values, pairs[i].option) && !is_set(&whole->values, pairs[i].needs)) {
            snprintf(error, error_size, "%s: %s: expected %s beside it", origin_of(whole, pairs[i].option),
                     pairs[i].option, pairs[i].needs);
            return false;
        }
    }
    return true;
}

/* The memory of limits knows no longer time than an hour (src/shm/buckets.h). */
static bool check_limits(const struct whole *whole, char *error, size_t error_size)
{
    struct configuration_limit limits[CONFIGURATION_LIMIT_COUNT];
    configuration_limits(&whole->values, limits);
    for (size_t i = 0; i < CONFIGURATION_LIMIT_COUNT; i++) {
        int64_t most = limits[i].rate * SECONDS_OF_LIMIT_MAX;
        if (limits[i].rate == 0 || limits[i].burst <= most)
            continue;
        /* the burst may be the default's, and the line with the mistake the other one */
        const char *origin = origin_of(whole, limits[i].burst_name);
        if (strcmp(origin, "default") == 0)
            origin = origin_of(whole, limits[i].name);
        snprintf(error, error_size,
                 "%s: %s: expected at most %" PRId64 ", an hour of %s, which is %" PRId64 ", not %" PRId64, origin,
                 limits[i].burst_name, most, limits[i].name, limits[i].rate, limits[i].burst);
        return false;
    }
    return true;
}

static bool refuse(const struct whole *whole, const char *name, const char *expected, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s: %s: expected %s", origin_of(whole, name), name, expected);
    return false;
}

/* What links are made of: a scheme, a host, perhaps a path. */
static bool is_base_url(const char *url)
{
    const char *rest = strncmp(url, "https://", 8) == 0 ? url + 8 : strncmp(url, "http://", 7) == 0 ? url + 7 : "";
    size_t length = strlen(rest);
    return length > 0 && rest[0] != '/' && rest[length - 1] != '/' && strpbrk(rest, " ?#\"<>\\") == NULL;
}

static bool check_mail(const struct whole *whole, char *error, size_t error_size)
{
    const struct configuration *values = &whole->values;
    if (values->smtp_tls == NULL || (strcmp(values->smtp_tls, "starttls") != 0 &&
                                     strcmp(values->smtp_tls, "try") != 0 && strcmp(values->smtp_tls, "off") != 0))
        return refuse(whole, "smtp_tls", "starttls, try or off", error, error_size);
    if (values->smtp_url != NULL && values->mail_from == NULL)
        return refuse(whole, "smtp_url", "mail_from beside it", error, error_size);
    if (values->smtp_user != NULL && values->smtp_password_file == NULL)
        return refuse(whole, "smtp_user", "smtp_password_file beside it", error, error_size);
    if (values->smtp_user == NULL && values->smtp_password_file != NULL)
        return refuse(whole, "smtp_password_file", "smtp_user beside it", error, error_size);
    if (values->mail_retry_min > values->mail_retry_max)
        return refuse(whole, "mail_retry_min", "at most mail_retry_max", error, error_size);
    if (values->public_url != NULL && !is_base_url(values->public_url))
        return refuse(whole, "public_url", "https://host or http://host, without a slash at its end", error,
                      error_size);
    return true;
}

/* Values that are right alone and wrong together. */
bool configuration_check(const struct configuration *values, char *error, size_t error_size)
{
    const struct whole *whole = (const struct whole *)values;
    int64_t minimum = configuration_db_minimum(values->workers);
    if (values->db_connections != 0 && values->db_connections < minimum) {
        snprintf(error, error_size,
                 "%s: db_connections: expected at least %" PRId64 " for %" PRId64
                 " workers (3 per worker + 5), not %" PRId64,
                 origin_of(whole, "db_connections"), minimum, values->workers, values->db_connections);
        return false;
    }
    if (values->workers > values->workers_max) {
        snprintf(error, error_size, "%s: workers: expected at most workers_max, which is %" PRId64 ", not %" PRId64,
                 origin_of(whole, "workers"), values->workers_max, values->workers);
        return false;
    }
    if (values->cache_size != 0 && values->cache_size < CACHE_LEAST) {
        snprintf(error, error_size, "%s: cache_size: expected 0 or at least %dm, not %" PRId64,
                 origin_of(whole, "cache_size"), CACHE_LEAST >> 20, values->cache_size);
        return false;
    }
    if (values->changes_poll > values->coherent_time / 2) {
        snprintf(error, error_size,
                 "%s: changes_poll: expected at most half of coherent_time, which is %" PRId64
                 " microseconds, not %" PRId64,
                 origin_of(whole, "changes_poll"), values->coherent_time, values->changes_poll);
        return false;
    }
    if (values->request_line_size > values->header_size) {
        snprintf(error, error_size,
                 "%s: request_line_size: expected at most header_size, which is %" PRId64 ", not %" PRId64,
                 origin_of(whole, "request_line_size"), values->header_size, values->request_line_size);
        return false;
    }
    static const char *const needed[] = {"listen",          "internal_listen",    "control_socket",
                                         "database",        "sql_directory",      "jwt_keys_file",
                                         "cursor_key_file", "template_directory", NULL};
    for (const char *const *name = needed; *name != NULL; name++) {
        if (!is_set(values, *name)) {
            snprintf(error, error_size, "%s: %s: expected a value", origin_of(whole, *name), *name);
            return false;
        }
    }
    if (values->redis_socket != NULL && values->redis != NULL) {
        snprintf(error, error_size, "%s: redis: expected no redis_socket beside it", origin_of(whole, "redis"));
        return false;
    }
    return check_proxy(whole, error, error_size) && check_limits(whole, error, error_size) &&
           check_mail(whole, error, error_size);
}

static char *copy_text(const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);
    INVARIANT(text == NULL || copy != NULL);
    return copy;
}

static struct whole *make_whole(const char *path)
{
    struct whole *whole = calloc(1, sizeof *whole);
    INVARIANT(whole != NULL);
    whole->origins = calloc(option_count(), sizeof *whole->origins);
    INVARIANT(whole->origins != NULL);
    whole->path = copy_text(path);
    return whole;
}

struct configuration *configuration_read(const char *path, char *error, size_t error_size)
{
    struct whole *whole = make_whole(path);
    store_presets(whole);
    if ((path != NULL && !read_file(whole, path, error, error_size)) ||
        !configuration_check(&whole->values, error, error_size)) {
        configuration_free(&whole->values);
        return NULL;
    }
    return &whole->values;
}

void configuration_free(struct configuration *configuration)
{
    if (configuration == NULL)
        return;
    struct whole *whole = (struct whole *)configuration;
    for (const struct option *option = option_table(); option->name != NULL; option++) {
        free(whole->origins[option - option_table()]);
        option_clear(option, configuration);
    }
    free(whole->origins);
    free(whole->path);
    free(whole);
}

struct peek {
    const char *name;
    char *value;
};

static int peek_at(void *context, const char *section, const char *name, const char *value)
{
    struct peek *peek = context;
    if (section[0] == '\0' && strcmp(name, peek->name) == 0) {
        free(peek->value);
        peek->value = copy_text(value);
    }
    return 1;
}

char *configuration_peek(const char *path, const char *name)
{
    struct peek peek = {.name = name, .value = copy_text(option_find(name)->preset)};
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        free(peek.value);
        return NULL;
    }
    (void)ini_parse_file(file, peek_at, &peek);
    fclose(file);
    return peek.value;
}

const char *configuration_path(const struct configuration *configuration)
{
    return ((const struct whole *)configuration)->path;
}

struct configuration *configuration_copy(const struct configuration *configuration)
{
    struct whole *copy = make_whole(configuration_path(configuration));
    for (const struct option *option = option_table(); option->name != NULL; option++)
        configuration_take(&copy->values, configuration, option);
    return &copy->values;
}

/* An empty text is how an option of type text is not set. */
static bool store(struct configuration *configuration, const struct option *option, const char *text,
                  const char *origin)
{
    struct whole *whole = (struct whole *)configuration;
    char **place = &whole->origins[option - option_table()];
    char expected[128];
    if (!option_store(option, configuration, text, expected, sizeof expected))
        return false;
    char *copy = copy_text(origin);
    free(*place);
    *place = copy;
    return true;
}

void configuration_take(struct configuration *configuration, const struct configuration *from,
                        const struct option *option)
{
    char value[OPTION_TEXT_MAX];
    option_show(option, from, value, sizeof value);
    const char *origin = ((const struct whole *)from)->origins[option - option_table()];
    INVARIANT(store(configuration, option, value, origin));
}

bool configuration_change(const struct option *option, const char *text, const char *origin)
{
    INVARIANT(current != NULL);
    return store(current, option, text, origin);
}

void configuration_adopt(const struct option *option, const struct configuration *from)
{
    INVARIANT(current != NULL);
    configuration_take(current, from, option);
}

void configuration_set(struct configuration *configuration)
{
    current = configuration;
}

const struct configuration *configuration_get(void)
{
    INVARIANT(current != NULL);
    return current;
}

void configuration_each(const struct configuration *configuration, configuration_row *row, void *context)
{
    const struct whole *whole = (const struct whole *)configuration;
    for (const struct option *option = option_table(); option->name != NULL; option++) {
        char value[OPTION_TEXT_MAX];
        option_show(option, configuration, value, sizeof value);
        row(context, option->name, value, option->preset == NULL ? "" : option->preset, origin_of(whole, option->name));
    }
}

int64_t configuration_db_minimum(int64_t workers)
{
    return CONNECTIONS_PER_WORKER * workers + CONNECTIONS_BESIDE_WORKERS;
}

bool configuration_reloadable(const char *name)
{
    return option_find(name)->reloadable;
}

void configuration_limits(const struct configuration *configuration,
                          struct configuration_limit limits[CONFIGURATION_LIMIT_COUNT])
{
#define LIMIT(member) \
    (struct configuration_limit){#member, #member "_burst", configuration->member, configuration->member##_burst}
    limits[CONFIGURATION_USER_WRITES] = LIMIT(user_writes);
    limits[CONFIGURATION_USER_READS] = LIMIT(user_reads);
    limits[CONFIGURATION_ADDRESS_REQUESTS] = LIMIT(address_requests);
#undef LIMIT
}

int64_t configuration_db_connections(const struct configuration *configuration, int64_t workers)
{
    return configuration->db_connections != 0 ? configuration->db_connections : configuration_db_minimum(workers);
}

int64_t configuration_db_share(const struct configuration *configuration, int64_t workers)
{
    return (configuration_db_connections(configuration, workers) - CONNECTIONS_BESIDE_WORKERS) / workers;
}
