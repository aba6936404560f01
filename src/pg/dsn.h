/* dsn: a libpq connection string taken apart, so that the password, the addresses of looked-up hosts and our own
 * settings can be put in. Every process that opens PostgreSQL, and turnoutctl. */
#ifndef PG_DSN_H
#define PG_DSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"
#include "base/resolver.h"

#define PG_DSN_SIZE 64

/* Keywords and values as PQconnectStartParams wants them: both arrays end with NULL. The texts are owned. */
struct pg_dsn {
    char *keywords[PG_DSN_SIZE];
    char *values[PG_DSN_SIZE];
    int count;
};

/* Takes `text` apart; where it names no host, PGHOST, PGHOSTADDR and PGPORT count as for libpq. false: `error` says why
 * and nothing is to be freed. */
bool pg_dsn_read(struct pg_dsn *dsn, const char *text, char *error, size_t error_size) MUST_CHECK;
/* Wipes and frees the texts. */
void pg_dsn_free(struct pg_dsn *dsn);

/* For the functions of libpq. */
static inline const char *const *pg_dsn_keywords(const struct pg_dsn *dsn)
{
    return (const char *const *)dsn->keywords;
}
static inline const char *const *pg_dsn_values(const struct pg_dsn *dsn)
{
    return (const char *const *)dsn->values;
}

/* NULL: not set. */
const char *pg_dsn_get(const struct pg_dsn *dsn, const char *keyword);
void pg_dsn_set(struct pg_dsn *dsn, const char *keyword, const char *value);
/* Sets it unless the connection string did. */
void pg_dsn_preset(struct pg_dsn *dsn, const char *keyword, const char *value);
/* What every connection of ours sets on the server: time-outs (microseconds; 0: none), UTF-8, UTC, its name, and how
 * soon a dead host is noticed. The connection string may say otherwise about the last. */
void pg_dsn_set_session(struct pg_dsn *dsn, const char *application_name, int64_t statement_timeout);
/* Reads the password from a file; NULL is no file. */
bool pg_dsn_set_password(struct pg_dsn *dsn, const char *password_file, char *error, size_t error_size) MUST_CHECK;

/* The hosts that somebody must look up: no socket folders, no literal addresses, none where hostaddr is given.
 * The texts are valid as long as `list`, which the caller frees. */
int pg_dsn_names(const struct pg_dsn *dsn, char **list, const char *names[RESOLVER_NAMES_MAX]);
/* Replaces the list of hosts by one that has an address for each name; names without one leave it. `rotation` turns the
 * list, so that a new try can begin with another address. false: no host is left, and nothing was replaced. */
bool pg_dsn_set_addresses(struct pg_dsn *dsn, const struct resolver_answer *answer, unsigned int rotation) MUST_CHECK;

#endif
