/* options: see the header. The load generator. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/clock.h"

static const char usage[] =
    "usage: load --address HOST:PORT|unix:PATH --mix FILE [OPTION]...\n"
    "\n"
    "  --connections N   clients (default 50)\n"
    "  --rate R          open loop: R requests a second over all connections; without it a closed loop at full speed\n"
    "  --poisson         the gaps of the open loop vary as those of independent people do\n"
    "  --duration D      until so much time has passed (default 10s, with --requests 10m); SIGTERM and SIGINT end it "
    "earlier\n"
    "  --requests N      until so many have been asked and have their final answers\n"
    "  --within D        open loop: the --requests come in so much time\n"
    "  --tokens FILE     tokens, one a line\n"
    "  --events FILE     ids of events, one a line\n"
    "  --fresh PERCENT   of the requests want their connection closed after them (default 0)\n"
    "  --timeout D       without a whole answer for so long, a request has failed (default 30s)\n"
    "  --host NAME       in the Host header (default localhost)\n"
    "  --seed N          of the chances (default: another one each time)\n"
    "  --progress        a line \"answered failed\" on standard error ten times a second\n"
    "  --json            the report as JSON\n"
    "  --answers FILE    a line for each final answer: its token's number from 0, milliseconds since due, what it "
    "said\n"
    "\n"
    "Exit status 0: every request was answered as its mix expects; 1: some failed, or had no final answer; 64: wrong "
    "use.\n";

_Noreturn void options_wrong(const char *what, const char *detail)
{
    fprintf(stderr, "load: %s%s%s\n", what, detail == NULL ? "" : ": ", detail == NULL ? "" : detail);
    exit(EXIT_USAGE);
}

static void resolve(struct options *options, const char *text)
{
    if (strncmp(text, "unix:", 5) == 0) {
        struct sockaddr_un *address = (struct sockaddr_un *)&options->address;
        address->sun_family = AF_UNIX;
        if (strlen(text + 5) >= sizeof address->sun_path)
            options_wrong("--address", "the path is too long");
        strcpy(address->sun_path, text + 5);
        options->address_length = sizeof *address;
        return;
    }
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        options_wrong("--address", "expected HOST:PORT or unix:PATH");
    char *host = strndup(text, (size_t)(colon - text));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int result = getaddrinfo(host, colon + 1, &hints, &found);
    if (result != 0)
        options_wrong("--address", gai_strerror(result));
    memcpy(&options->address, found->ai_addr, found->ai_addrlen);
    options->address_length = found->ai_addrlen;
    freeaddrinfo(found);
    free(host);
}

static double number(const char *name, const char *text, double least)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least))
        options_wrong(name, "expected a number");
    return value;
}

static int64_t duration(const char *name, const char *text)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"ms", 1e3}, {"s", 1e6}, {"m", 60e6}, {"h", 3600e6}};
    char *end;
    double value = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (end != text && value > 0 && strcmp(end, units[i].unit) == 0)
            return (int64_t)(value * units[i].factor);
    }
    options_wrong(name, "expected a duration such as 10s");
}

static void read_lines(struct mix_lines *lines, const char *path)
{
    char error[512];
    if (!mix_read_lines(lines, path, error, sizeof error))
        options_wrong(error, NULL);
}

static void take_option(int option, const char *text, struct options *options)
{
    switch (option) {
    case 'a':
        resolve(options, text);
        break;
    case 'm':
        options->file = text;
        break;
    case 'c':
        options->connections = (int)number("--connections", text, 1);
        break;
    case 'r':
        options->rate = number("--rate", text, 0.001);
        break;
    case 'P':
        options->poisson = true;
        break;
    case 'd':
        options->duration = duration("--duration", text);
        break;
    case 'n':
        options->requests = (int64_t)number("--requests", text, 1);
        break;
    case 'w':
        options->within = duration("--within", text);
        break;
    case 'A':
        options->answers = fopen(text, "we");
        if (options->answers == NULL)
            options_wrong("--answers", strerror(errno));
        break;
    case 't':
        read_lines(&options->mix->tokens, text);
        break;
    case 'e':
        read_lines(&options->mix->events, text);
        break;
    case 'f':
        options->fresh = number("--fresh", text, 0) / 100;
        break;
    case 'T':
        options->timeout = duration("--timeout", text);
        break;
    case 'H':
        options->mix->host = text;
        break;
    case 's':
        srand48((long)number("--seed", text, 0));
        break;
    case 'p':
        options->progress = true;
        break;
    case 'j':
        options->json = true;
        break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default:
        fputs(usage, stderr);
        exit(EXIT_USAGE);
    }
}

void options_read(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"address", required_argument, NULL, 'a'},
        {"mix", required_argument, NULL, 'm'},
        {"connections", required_argument, NULL, 'c'},
        {"rate", required_argument, NULL, 'r'},
        {"poisson", no_argument, NULL, 'P'},
        {"duration", required_argument, NULL, 'd'},
        {"requests", required_argument, NULL, 'n'},
        {"within", required_argument, NULL, 'w'},
        {"answers", required_argument, NULL, 'A'},
        {"tokens", required_argument, NULL, 't'},
        {"events", required_argument, NULL, 'e'},
        {"fresh", required_argument, NULL, 'f'},
        {"timeout", required_argument, NULL, 'T'},
        {"host", required_argument, NULL, 'H'},
        {"seed", required_argument, NULL, 's'},
        {"progress", no_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    srand48(clock_monotonic());
    options->connections = 50;
    options->timeout = INT64_C(30000000);
    options->mix->host = "localhost";
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;)
        take_option(option, optarg, options);
    if (optind < argc)
        options_wrong("not an option", argv[optind]);
    if (options->address_length == 0)
        options_wrong("--address is missing", NULL);
    if (options->within > 0 && options->requests == 0)
        options_wrong("--within", "needs --requests");
    if (options->within > 0)
        options->rate = (double)options->requests / ((double)options->within / 1e6);
    if (options->duration == 0)
        options->duration = options->requests > 0 ? INT64_C(600000000) : INT64_C(10000000);
    if (options->file == NULL)
        options_wrong("--mix is missing", NULL);
    char error[512];
    if (!mix_read(options->mix, options->file, error, sizeof error))
        options_wrong(error, NULL);
}
