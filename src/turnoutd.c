/* turnoutd: options of the command line, the configuration, then the master. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/statements.h"
#include "base/configuration.h"
#include "base/log.h"
#include "base/title.h"
#include "config.h"
#include "master/master.h"
#include "pg/pool.h"

#define DEFAULT_CONFIGURATION TURNOUT_SYSCONFDIR "/turnout/turnout.conf"

enum action { ACTION_RUN, ACTION_CHECK, ACTION_PRINT, ACTION_STATEMENTS };

static void print_help(void)
{
    printf(
        "Usage: turnoutd [-c FILE] [--check-config | --print-config]\n"
        "Company event server. Runs in the foreground and logs to standard error.\n\n"
        "  -c, --config FILE    configuration file (default: %s)\n"
        "      --check-config   check the configuration and exit\n"
        "      --print-config   print every option with its value, default and origin and when it applies, and exit\n"
        "      --print-statements  print the statements that the server prepares, one a line, and exit\n"
        "      --version        print the version and exit\n"
        "      --help           print this help and exit\n\n"
        "Exit status: 0 ended as asked, 1 failed (start it again), 2 bad configuration or usage (do not).\n",
        DEFAULT_CONFIGURATION);
}

static void print_option(void *context, const char *name, const char *value, const char *preset, const char *origin)
{
    (void)context;
    printf("%s = %s  # default: %s; from: %s; applies at: %s\n", name, value, preset[0] == '\0' ? "(not set)" : preset,
           origin, configuration_reloadable(name) ? "reload" : "restart");
}

/* What is printed holds no secret: a connection string with a password in it is refused, here as at the start. */
static void refuse_passwords(const struct configuration *configuration, const char *path)
{
    const char *const strings[][2] = {{"database", configuration->database},
                                      {"database_owner", configuration->database_owner}};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        char error[384];
        if (strings[i][1] != NULL && !pg_dsn_check(strings[i][1], error, sizeof error))
            log_bad_start("%s: %s: %s", path, strings[i][0], error);
    }
}

static void print_statements(void)
{
    for (const struct pg_statement *const *statement = api_statements; *statement != NULL; statement++)
        printf("%s\t%d\t%s\n", (*statement)->name, (*statement)->parameter_count, (*statement)->sql);
}

/* The check loads OpenSSL and libpq, which must not start before the fork: it runs in a child. Returns its exit status.
 */
static int check_apart(const struct configuration *configuration, const char *path)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char error[512];
        if (!master_check(configuration, error, sizeof error))
            log_bad_start("%s: %s", path, error);
        exit(0);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return 1;
    return WEXITSTATUS(status);
}

static enum action parse_arguments(int argc, char **argv, const char **path)
{
    enum { CHECK = 256, PRINT, STATEMENTS, VERSION, HELP };
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"check-config", no_argument, NULL, CHECK},
                                                 {"print-config", no_argument, NULL, PRINT},
                                                 {"print-statements", no_argument, NULL, STATEMENTS},
                                                 {"version", no_argument, NULL, VERSION},
                                                 {"help", no_argument, NULL, HELP},
                                                 {NULL, 0, NULL, 0}};
    enum action action = ACTION_RUN;
    int letter;
    while ((letter = getopt_long(argc, argv, "c:", long_options, NULL)) != -1) {
        switch (letter) {
        case 'c':
            *path = optarg;
            break;
        case CHECK:
            action = ACTION_CHECK;
            break;
        case PRINT:
            action = ACTION_PRINT;
            break;
        case STATEMENTS:
            action = ACTION_STATEMENTS;
            break;
        case VERSION:
            printf("turnoutd %s\n", PACKAGE_VERSION);
            exit(0);
        case HELP:
            print_help();
            exit(0);
        default:
            exit(2); /* getopt has said why */
        }
    }
    if (optind < argc)
        log_bad_start("unexpected argument \"%s\"; see turnoutd --help", argv[optind]);
    return action;
}

int main(int argc, char **argv)
{
    title_reserve(argc, argv);
    const char *path = DEFAULT_CONFIGURATION;
    enum action action = parse_arguments(argc, argv, &path);
    if (action == ACTION_STATEMENTS) {
        print_statements();
        return 0;
    }

    char error[512];
    struct configuration *configuration = configuration_read(path, error, sizeof error);
    if (configuration == NULL)
        log_bad_start("%s", error);
    if (action == ACTION_PRINT) {
        refuse_passwords(configuration, path);
        configuration_each(configuration, print_option, NULL);
        configuration_free(configuration);
        return 0;
    }
    int status = check_apart(configuration, path);
    if (status == 0 && action == ACTION_CHECK)
        printf("%s: the configuration is good\n", path);
    if (status != 0 || action == ACTION_CHECK) {
        configuration_free(configuration);
        return status;
    }
    configuration_set(configuration);
    log_configure(configuration->log_level, configuration->log_format);
    return master_run(configuration);
}
