/* dsn: a libpq connection string taken apart. Every process that opens PostgreSQL, and turnoutctl. Reads the password
 * file and PG* environment variables, touches nothing else. */
#include "pg/dsn.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/secret.h"
#include "pg/pool.h"

/* What a connection string must not hold, and why. */
static const struct {
    const char *keyword;
    const char *why;
} refused[] = {
    {"password", "a password does not belong here: put it into a file and name the file"},
    {"sslpassword", "a password does not belong here: use a client key without one, readable by us only"},
    {"service", "service= is not supported: its file may name a host that would be looked up in the event loop"},
};

/* One host of the list after the lookup. */
struct place {
    const char *host;
    const char *hostaddr;
    const char *port;
};

#define HOSTS_MAX 16
#define PLACES_MAX (HOSTS_MAX + RESOLVER_ADDRESSES_MAX)

static bool parse(struct pg_dsn *dsn, const char *text, char *error, size_t error_size);
static void take_host_from_environment(struct pg_dsn *dsn);
static int split(char *list, const char *items[], int max);
static bool is_name(const char *host);
static bool is_literal_address(const char *host);
static char *join(const struct place *places, int count, unsigned int first, size_t member);

bool pg_dsn_check(const char *text, char *error, size_t error_size)
{
    struct pg_dsn dsn;
    if (!parse(&dsn, text, error, error_size))
        return false;
    pg_dsn_free(&dsn);
    return true;
}

bool pg_dsn_read(struct pg_dsn *dsn, const char *text, char *error, size_t error_size)
{
    if (!parse(dsn, text, error, error_size))
        return false;
    if (pg_dsn_get(dsn, "host") == NULL && pg_dsn_get(dsn, "hostaddr") == NULL)
        take_host_from_environment(dsn);
    return true;
}

void pg_dsn_free(struct pg_dsn *dsn)
{
    for (int i = 0; i < dsn->count; i++) {
        explicit_bzero(dsn->values[i], strlen(dsn->values[i]));
        free(dsn->values[i]);
        free(dsn->keywords[i]);
    }
    dsn->count = 0;
}

const char *pg_dsn_get(const struct pg_dsn *dsn, const char *keyword)
{
    for (int i = 0; i < dsn->count; i++)
        if (strcmp(dsn->keywords[i], keyword) == 0)
            return dsn->values[i];
    return NULL;
}

void pg_dsn_set(struct pg_dsn *dsn, const char *keyword, const char *value)
{
    char *copy = strdup(value);
    INVARIANT(copy != NULL);
    for (int i = 0; i < dsn->count; i++)
        if (strcmp(dsn->keywords[i], keyword) == 0) {
            free(dsn->values[i]);
            dsn->values[i] = copy;
            return;
        }
    INVARIANT(dsn->count < PG_DSN_SIZE - 1);
    dsn->keywords[dsn->count] = strdup(keyword);
    INVARIANT(dsn->keywords[dsn->count] != NULL);
    dsn->values[dsn->count++] = copy;
    dsn->keywords[dsn->count] = NULL;
    dsn->values[dsn->count] = NULL;
}

void pg_dsn_preset(struct pg_dsn *dsn, const char *keyword, const char *value)
{
    if (pg_dsn_get(dsn, keyword) == NULL)
        pg_dsn_set(dsn, keyword, value);
}

void pg_dsn_set_session(struct pg_dsn *dsn, const char *application_name, int64_t statement_timeout)
{
    int64_t milliseconds = statement_timeout > 0 && statement_timeout < 1000 ? 1 : statement_timeout / 1000;
    const char *before = pg_dsn_get(dsn, "options");
    char text[1024];
    snprintf(text, sizeof text,
             "%s%s-c timezone=UTC -c statement_timeout=%" PRId64 " -c idle_in_transaction_session_timeout=%" PRId64,
             before == NULL ? "" : before, before == NULL ? "" : " ", milliseconds, milliseconds);
    pg_dsn_set(dsn, "options", text);
    pg_dsn_set(dsn, "application_name", application_name);
    pg_dsn_set(dsn, "client_encoding", "UTF8");
    /* a host that is gone sends no RST: half a minute when nothing is in flight, else when the pool cuts it */
    pg_dsn_preset(dsn, "keepalives_idle", "15");
    pg_dsn_preset(dsn, "keepalives_interval", "5");
    pg_dsn_preset(dsn, "keepalives_count", "3");
    if (milliseconds > 0) {
        snprintf(text, sizeof text, "%" PRId64, milliseconds * 2);
        pg_dsn_preset(dsn, "tcp_user_timeout", text);
    }
    /* libpq asks the Kerberos library before it connects, which may look up names and wait for them */
    pg_dsn_preset(dsn, "gssencmode", "disable");
}

bool pg_dsn_set_password(struct pg_dsn *dsn, const char *password_file, char *error, size_t error_size)
{
    if (password_file == NULL)
        return true;
    size_t length;
    char *password = secret_read(password_file, &length, error, error_size);
    if (password == NULL)
        return false;
    pg_dsn_set(dsn, "password", password);
    secret_free(password, length);
    return true;
}

int pg_dsn_names(const struct pg_dsn *dsn, char **list, const char *names[RESOLVER_NAMES_MAX])
{
    *list = NULL;
    const char *hosts_text = pg_dsn_get(dsn, "host");
    if (hosts_text == NULL || pg_dsn_get(dsn, "hostaddr") != NULL)
        return 0;
    *list = strdup(hosts_text);
    INVARIANT(*list != NULL);
    const char *hosts[HOSTS_MAX];
    int count = split(*list, hosts, HOSTS_MAX);
    int named = 0;
    for (int i = 0; i < count && named < RESOLVER_NAMES_MAX; i++)
        if (is_name(hosts[i]))
            names[named++] = hosts[i];
    return named;
}

bool pg_dsn_set_addresses(struct pg_dsn *dsn, const struct resolver_answer *answer, unsigned int rotation)
{
    const char *hosts_text = pg_dsn_get(dsn, "host");
    if (hosts_text == NULL || pg_dsn_get(dsn, "hostaddr") != NULL)
        return true;
    const char *ports_text = pg_dsn_get(dsn, "port");
    char *host_list = strdup(hosts_text);
    char *port_list = strdup(ports_text == NULL ? "" : ports_text);
    INVARIANT(host_list != NULL && port_list != NULL);
    const char *hosts[HOSTS_MAX], *ports[HOSTS_MAX];
    int host_count = split(host_list, hosts, HOSTS_MAX);
    int port_count = split(port_list, ports, HOSTS_MAX);

    struct place places[PLACES_MAX];
    int count = 0, name = 0;
    for (int i = 0; i < host_count; i++) {
        const char *port = port_count == 1 ? ports[0] : i < port_count ? ports[i] : "";
        if (!is_name(hosts[i])) {
            places[count++] = (struct place){hosts[i], is_literal_address(hosts[i]) ? hosts[i] : "", port};
            continue;
        }
        for (int j = 0; j < answer->count && count < PLACES_MAX; j++)
            if (answer->addresses[j].name == name)
                places[count++] = (struct place){hosts[i], answer->addresses[j].text, port};
        name++;
    }
    if (count > 0) {
        unsigned int first = rotation % (unsigned int)count;
        char *host = join(places, count, first, offsetof(struct place, host));
        char *hostaddr = join(places, count, first, offsetof(struct place, hostaddr));
        char *port = join(places, count, first, offsetof(struct place, port));
        pg_dsn_set(dsn, "host", host);
        pg_dsn_set(dsn, "hostaddr", hostaddr);
        /* a list of one port stands for all hosts; a list of empty ones would be read as the default for each */
        if (port_count > 1)
            pg_dsn_set(dsn, "port", port);
        free(host);
        free(hostaddr);
        free(port);
    }
    free(host_list);
    free(port_list);
    return count > 0;
}

static bool parse(struct pg_dsn *dsn, const char *text, char *error, size_t error_size)
{
    dsn->count = 0;
    dsn->keywords[0] = NULL;
    dsn->values[0] = NULL;
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(text, &message);
    if (options == NULL) {
        /* libpq's text quotes the word that it stumbled over, which may be half a password */
        snprintf(error, error_size,
                 "is not a connection string as libpq takes them: keyword=value ... or a "
                 "postgresql:// address");
        PQfreemem(message);
        return false;
    }
    const char *why = NULL;
    for (const PQconninfoOption *option = options; option->keyword != NULL && why == NULL; option++) {
        if (option->val == NULL)
            continue;
        for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
            if (strcmp(option->keyword, refused[i].keyword) == 0)
                why = refused[i].why;
        if (why == NULL)
            pg_dsn_set(dsn, option->keyword, option->val);
    }
    if (why != NULL) {
        snprintf(error, error_size, "%s", why);
        pg_dsn_free(dsn);
    }
    PQconninfoFree(options);
    return why == NULL;
}

/* Where the connection string names no host, libpq takes it from the environment; so must whoever looks it up. */
static void take_host_from_environment(struct pg_dsn *dsn)
{
    PQconninfoOption *options = PQconndefaults();
    INVARIANT(options != NULL);
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++)
        if (option->val != NULL && option->val[0] != '\0' &&
            (strcmp(option->keyword, "host") == 0 || strcmp(option->keyword, "hostaddr") == 0 ||
             strcmp(option->keyword, "port") == 0))
            pg_dsn_preset(dsn, option->keyword, option->val);
    PQconninfoFree(options);
}

/* Cuts at commas, in place. An empty list is one empty item, as libpq reads it. */
static int split(char *list, const char *items[], int max)
{
    int count = 0;
    char *rest = list;
    while (rest != NULL && count < max)
        items[count++] = strsep(&rest, ",");
    return count;
}

/* Neither a socket folder nor an abstract socket nor a literal address. */
static bool is_name(const char *host)
{
    return host[0] != '\0' && host[0] != '/' && host[0] != '@' && !is_literal_address(host);
}

static bool is_literal_address(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    char bare[64];
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(host, "%"), host); /* without the zone of an IPv6 address */
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, bare, address) == 1;
}

/* The member (one of struct place's texts) of each place, with commas, beginning with place number `first`. */
static char *join(const struct place *places, int count, unsigned int first, size_t member)
{
    size_t size = 1;
    for (int i = 0; i < count; i++)
        size += strlen(*(const char *const *)((const char *)&places[i] + member)) + 1;
    char *list = malloc(size);
    INVARIANT(list != NULL);
    size_t length = 0;
    for (int i = 0; i < count; i++) {
        const struct place *place = &places[((unsigned int)i + first) % (unsigned int)count];
        const char *text = *(const char *const *)((const char *)place + member);
        length += (size_t)snprintf(list + length, size - length, "%s%s", i == 0 ? "" : ",", text);
    }
    return list;
}
