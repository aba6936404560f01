/* turnoutctl: what the commands of the program share. turnoutctl only. */
#ifndef CTL_TURNOUTCTL_H
#define CTL_TURNOUTCTL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/configuration.h"
#include "base/object.h"
#include "ctl/command.h"

/* Exit statuses, as the manual says. */
enum turnoutctl_status { CTL_DONE = 0, CTL_REFUSED = 1, CTL_USAGE = 2, CTL_UNREACHABLE = 3, CTL_PARTIAL = 4 };

/* The command line, taken apart. Texts are the process's arguments. */
struct turnoutctl {
    const char *configuration_path;
    const char *socket; /* NULL: from the configuration */
    bool json;
    bool now;
    const char *email;
    const char *emails;
    const char *role;
    const char *ttl;
    bool dry_run;
    bool verbose;
    const char *event;
    char **arguments; /* behind the command's words */
    size_t argument_count;
};

/* Reads the configuration; ends the program with CTL_USAGE where it cannot. */
struct configuration *turnoutctl_configuration(const struct turnoutctl *ctl);

/* Sends the words to the master and prints its answer (client.c). */
int client_run(const struct turnoutctl *ctl, char *const *words, size_t count) MUST_CHECK;

/* Commands that turnoutctl does itself; each returns the exit status. */
int audit_command(const struct turnoutctl *ctl) MUST_CHECK;
/* Those of mail, and show jobs. */
int mail_command(enum command command, const struct turnoutctl *ctl) MUST_CHECK;
int token_command(const struct turnoutctl *ctl) MUST_CHECK;
int migrate_command(const struct turnoutctl *ctl) MUST_CHECK;
int import_command(const struct turnoutctl *ctl) MUST_CHECK;
int users_import_command(const struct turnoutctl *ctl) MUST_CHECK;

#endif
