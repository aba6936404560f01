/* turnoutctl: administers turnoutd. Finds the command in the one table, then asks the master over the control socket,
 * or does the work itself with the configuration's database and keys. */
#include "ctl/turnoutctl.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "ctl/command.h"

#define DEFAULT_CONFIGURATION TURNOUT_SYSCONFDIR "/turnout/turnout.conf"

static void print_usage(FILE *to)
{
    fprintf(
        to,
        "Usage: turnoutctl [-c FILE] [-s SOCKET] [-j] COMMAND\n"
        "Administers turnoutd.\n\n"
        "  -c, --config FILE    configuration file (default: $TURNOUT_CONF, else %s)\n"
        "  -s, --socket PATH    control socket (default: $TURNOUT_CONTROL, else control_socket of the configuration)\n"
        "  -j, --json           print JSON\n"
        "      --help           print this help, or that of a command, and exit\n"
        "      --print-commands print the table of commands (words, arguments, where, whom, help), and exit\n"
        "      --version        print the version and exit\n\n"
        "Commands:\n",
        DEFAULT_CONFIGURATION);
    static const char *const marks[] = {[COMMAND_ALL] = "", [COMMAND_ONE] = " [@ needed]", [COMMAND_ANY] = " [@]"};
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %s%s%s%s\n        %s\n", command_table[i].words,
                command_table[i].arguments[0] == '\0' ? "" : " ", command_table[i].arguments,
                marks[command_table[i].whom], command_table[i].help);
    fprintf(
        to,
        "\n[@]: with @worker N (as show processes counts them), @refresher, @mailer or @scheduler before it, "
        "about that "
        "process only.\n"
        "Exit status: 0 done, 1 refused or failed, or audit found something, 2 bad usage or configuration, "
        "3 turnoutd does not answer, or PostgreSQL an audit or a command of mail, 4 reloaded, but not everywhere.\n");
}

/* For completion and for the check of the manual: one command a line, fields separated by tabs. */
static void print_commands(void)
{
    static const char *const where[] = {[COMMAND_MASTER] = "daemon", [COMMAND_HERE] = "here"};
    static const char *const whom[] = {[COMMAND_ALL] = "all", [COMMAND_ONE] = "one", [COMMAND_ANY] = "any"};
    for (int i = 0; i < COMMAND_COUNT; i++)
        printf("%s\t%s\t%s\t%s\t%s\n", command_table[i].words, command_table[i].arguments,
               where[command_table[i].where], whom[command_table[i].whom], command_table[i].help);
}

/* What may or must stand before the words of a command. */
static const char *before(const struct command_line *command)
{
    return command->whom == COMMAND_ALL ? "" : command->whom == COMMAND_ONE ? "@PROCESS " : "[@PROCESS] ";
}

static void print_command_help(const struct command_line *command)
{
    printf("Usage: turnoutctl [-c FILE] [-s SOCKET] [-j] %s%s%s%s\n%s\n", before(command), command->words,
           command->arguments[0] == '\0' ? "" : " ", command->arguments, command->help);
}

struct configuration *turnoutctl_configuration(const struct turnoutctl *ctl)
{
    char error[512];
    struct configuration *configuration = configuration_read(ctl->configuration_path, error, sizeof error);
    if (configuration == NULL)
        log_bad_start("%s", error);
    configuration_set(configuration);
    return configuration;
}

/* Which options a command takes beside the common ones; the others are refused. */
static void check_options(enum command command, const struct turnoutctl *ctl)
{
    bool token = command == COMMAND_TOKEN;
    if (!token && (ctl->email != NULL || ctl->emails != NULL || ctl->role != NULL || ctl->ttl != NULL))
        log_bad_start("--email, --emails, --role and --ttl belong to the command token");
    if (command != COMMAND_STOP && command != COMMAND_RESTART && ctl->now)
        log_bad_start("--now belongs to the commands stop and restart");
    if (command != COMMAND_AUDIT && ctl->event != NULL)
        log_bad_start("--event belongs to the command audit");
    if (command != COMMAND_USERS_IMPORT && (ctl->dry_run || ctl->verbose))
        log_bad_start("--dry-run and --verbose belong to the command users import");
}

static bool parse_options(int argc, char **argv, struct turnoutctl *ctl)
{
    enum { HELP = 256, VERSION, COMMANDS, NOW, EMAIL, EMAILS, ROLE, TTL, DRY_RUN, EVENT };
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"socket", required_argument, NULL, 's'},
                                                 {"json", no_argument, NULL, 'j'},
                                                 {"help", no_argument, NULL, HELP},
                                                 {"version", no_argument, NULL, VERSION},
                                                 {"print-commands", no_argument, NULL, COMMANDS},
                                                 {"now", no_argument, NULL, NOW},
                                                 {"email", required_argument, NULL, EMAIL},
                                                 {"emails", required_argument, NULL, EMAILS},
                                                 {"role", required_argument, NULL, ROLE},
                                                 {"ttl", required_argument, NULL, TTL},
                                                 {"dry-run", no_argument, NULL, DRY_RUN},
                                                 {"event", required_argument, NULL, EVENT},
                                                 {"verbose", no_argument, NULL, 'v'},
                                                 {NULL, 0, NULL, 0}};
    bool help = false;
    int letter;
    while ((letter = getopt_long(argc, argv, "c:s:jv", long_options, NULL)) != -1) {
        switch (letter) {
        case 'c':
            ctl->configuration_path = optarg;
            break;
        case 's':
            ctl->socket = optarg;
            break;
        case 'j':
            ctl->json = true;
            break;
        case HELP:
            help = true;
            break;
        case VERSION:
            printf("turnoutctl %s\n", PACKAGE_VERSION);
            exit(CTL_DONE);
        case COMMANDS:
            print_commands();
            exit(CTL_DONE);
        case NOW:
            ctl->now = true;
            break;
        case EMAIL:
            ctl->email = optarg;
            break;
        case EMAILS:
            ctl->emails = optarg;
            break;
        case ROLE:
            ctl->role = optarg;
            break;
        case TTL:
            ctl->ttl = optarg;
            break;
        case DRY_RUN:
            ctl->dry_run = true;
            break;
        case EVENT:
            ctl->event = optarg;
            break;
        case 'v':
            ctl->verbose = true;
            break;
        default:
            exit(CTL_USAGE); /* getopt has said why */
        }
    }
    return help;
}

static int run_here(enum command command, const struct turnoutctl *ctl)
{
    switch (command) {
    case COMMAND_TOKEN:
        return token_command(ctl);
    case COMMAND_MIGRATE:
        return migrate_command(ctl);
    case COMMAND_EVENTS_IMPORT:
        return import_command(ctl);
    case COMMAND_USERS_IMPORT:
        return users_import_command(ctl);
    case COMMAND_AUDIT:
        return audit_command(ctl);
    case COMMAND_SHOW_JOBS:
    case COMMAND_MAIL_DEAD:
    case COMMAND_MAIL_RETRY:
    case COMMAND_MAIL_DROP:
    case COMMAND_MAIL_PAUSE:
    case COMMAND_MAIL_RESUME:
        return mail_command(command, ctl);
    default:
        break;
    }
    object_die("each command of the table has code", __FILE__, __LINE__);
}

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value == NULL || value[0] == '\0' ? otherwise : value;
}

int main(int argc, char **argv)
{
    struct turnoutctl ctl = {.configuration_path = from_environment("TURNOUT_CONF", DEFAULT_CONFIGURATION),
                             .socket = from_environment("TURNOUT_CONTROL", NULL)};
    log_set_level(LOG_LEVEL_WARNING);
    bool help = parse_options(argc, argv, &ctl);
    char **words = argv + optind;
    size_t count = (size_t)(argc - optind);
    size_t used;
    enum command command = command_find(words, count, &used);
    if (help && command == COMMAND_COUNT) {
        print_usage(stdout);
        return CTL_DONE;
    }
    if (command == COMMAND_COUNT) {
        if (count > 0)
            fprintf(stderr, "turnoutctl: unknown command \"%s\"\n\n", words[command_address(words, count) % count]);
        print_usage(stderr);
        return CTL_USAGE;
    }
    if (help) {
        print_command_help(&command_table[command]);
        return CTL_DONE;
    }
    check_options(command, &ctl);
    ctl.arguments = words + used;
    ctl.argument_count = count - used;
    if (command_table[command].where == COMMAND_HERE && command_address(words, count) > 0)
        log_bad_start("%s is done by turnoutctl itself: leave out the process before it", command_table[command].words);
    if (command_table[command].where == COMMAND_HERE)
        return run_here(command, &ctl);
    char *now = (char[]){"--now"};
    if (ctl.now && count < 15) {
        char *with_now[16];
        memcpy(with_now, words, count * sizeof *words);
        with_now[count] = now;
        return client_run(&ctl, with_now, count + 1);
    }
    return client_run(&ctl, words, count);
}
