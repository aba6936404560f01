/* migrate_command: brings the schema and the rules up to date as the owner. turnoutctl only. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/turnoutctl.h"
#include "pg/migrate.h"

struct progress {
    bool json;
    json_t *lines; /* array; printed at the end with --json */
};

static void on_progress(void *context, const char *line)
{
    struct progress *progress = context;
    if (progress->json) {
        INVARIANT(json_array_append_new(progress->lines, json_string(line)) == 0);
    } else {
        puts(line);
        fflush(stdout);
    }
}

static void print_json(json_t *lines, bool good)
{
    json_t *object = json_pack("{s:b, s:o}", "migrated", good, "done", lines);
    INVARIANT(object != NULL);
    char *text = json_dumps(object, JSON_COMPACT);
    INVARIANT(text != NULL);
    puts(text);
    free(text);
    json_decref(object);
}

int migrate_command(const struct turnoutctl *ctl)
{
    if (ctl->argument_count != 0)
        log_bad_start("migrate: unexpected argument \"%s\"", ctl->arguments[0]);
    struct configuration *configuration = turnoutctl_configuration(ctl);
    if (configuration->database_owner == NULL)
        log_bad_start("migrate: database_owner is not set: it names the role that may change the schema");
    char error[4096] = "";
    struct progress progress = {.json = ctl->json, .lines = json_array()};
    INVARIANT(progress.lines != NULL);
    struct pg_migrate_options options = {.dsn = configuration->database_owner,
                                         .password_file = configuration->database_owner_password_file,
                                         .sql_directory = configuration->sql_directory,
                                         .progress = on_progress,
                                         .context = &progress,
                                         .error = error,
                                         .error_size = sizeof error};
    bool good = pg_migrate(&options) == 0;
    if (ctl->json)
        print_json(progress.lines, good);
    else
        json_decref(progress.lines);
    if (!good)
        fprintf(stderr, "turnoutctl: %s\n", error);
    configuration_free(configuration);
    return good ? CTL_DONE : CTL_REFUSED;
}
