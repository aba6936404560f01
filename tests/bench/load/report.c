/* report: see the header. The load generator. */
#include "report.h"

#include <jansson.h>

#include "base/clock.h"

static void add(struct histogram *sum, const struct histogram *part)
{
    sum->count += part->count;
    sum->sum += part->sum;
    if (part->most > sum->most)
        sum->most = part->most;
    for (int i = 0; i < HISTOGRAM_POWERS * HISTOGRAM_PARTS; i++)
        sum->buckets[i] += part->buckets[i];
}

static void sum_up(const struct mix *mix, struct histogram *latency, struct histogram *service)
{
    for (int i = 0; i < mix->count; i++) {
        add(latency, &mix->requests[i].latency);
        add(service, &mix->requests[i].service);
    }
}

void report_note(struct report *report, const struct client *client, enum client_failure failure, int status,
                 const char *detail)
{
    if (report->failed < REPORT_FAILURES_MAX) {
        struct report_failure *note = &report->failures[report->failed];
        *note = (struct report_failure){.at = clock_monotonic(),
                                        .due = client->due,
                                        .request = client->drawn.request->name,
                                        .failure = failure,
                                        .status = status,
                                        .port = client->port};
        snprintf(note->detail, sizeof note->detail, "%s", detail);
    }
    report->failed++;
    report->reasons[failure]++;
}

static double milliseconds(double microseconds)
{
    return microseconds / 1000;
}

static double seconds_of(const struct report *report)
{
    return (double)(report->ended - report->began) / 1e6;
}

static void print_quantiles(const char *name, const struct histogram *histogram, FILE *out)
{
    static const double shares[] = {0.5, 0.9, 0.99, 0.999};
    fprintf(out, "  %-16s", name);
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
        fprintf(out, " %10.2f", milliseconds((double)histogram_quantile(histogram, shares[i])));
    fprintf(out, " %10.2f\n", milliseconds((double)histogram->most));
}

static void print_kinds(const char *request, const char *what, const struct kinds *kinds, FILE *out)
{
    for (int i = 0; i < kinds->count; i++)
        fprintf(out, "%s: %lld times %s%s\n", request, (long long)kinds->rows[i].count, kinds->rows[i].name, what);
}

void report_text(const struct report *report, const struct mix *mix, FILE *out)
{
    static struct histogram latency, service;
    latency = service = (struct histogram){0};
    sum_up(mix, &latency, &service);
    double seconds = seconds_of(report);
    fprintf(out, "%s, %d connections, %.1f s: %lld answered (%.0f/s), %lld failed, %lld connections made\n",
            report->rate > 0 ? "open loop" : "closed loop", report->connections, seconds, (long long)report->answered,
            (double)report->in_time / seconds, (long long)report->failed, (long long)report->connects);
    if (report->never_sent > 0)
        fprintf(out, "%lld requests were due and never sent: too few connections for this rate\n",
                (long long)report->never_sent);
    fprintf(out, "  %-16s %10s %10s %10s %10s %10s\n", "milliseconds", "p50", "p90", "p99", "p99.9", "most");
    print_quantiles(report->rate > 0 ? "since due" : "all", &latency, out);
    if (report->rate > 0)
        print_quantiles("since sent", &service, out);
    for (int i = 0; i < mix->count; i++) {
        if (mix->requests[i].answered > 0)
            print_quantiles(mix->requests[i].name, &mix->requests[i].latency, out);
    }
    for (int i = 0; i < mix->count; i++) {
        print_kinds(mix->requests[i].name, "", &mix->requests[i].kinds, out);
        print_kinds(mix->requests[i].name, ", then asked again", &mix->requests[i].not_now, out);
    }
    if (report->unanswered > 0)
        fprintf(out, "%lld were to be asked again when the end came\n", (long long)report->unanswered);
    for (int i = 0; i < CLIENT_FAILURE_COUNT; i++) {
        if (report->reasons[i] > 0)
            fprintf(out, "failed: %lld %s\n", (long long)report->reasons[i],
                    client_failure_name((enum client_failure)i));
    }
    if (report->unasked > 0)
        fprintf(out, "%lld times bytes came that nobody had asked for\n", (long long)report->unasked);
}

static json_t *json_of_histogram(const struct histogram *histogram)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "p50", milliseconds((double)histogram_quantile(histogram, 0.5)),
                     "p90", milliseconds((double)histogram_quantile(histogram, 0.9)), "p99",
                     milliseconds((double)histogram_quantile(histogram, 0.99)), "p999",
                     milliseconds((double)histogram_quantile(histogram, 0.999)), "max",
                     milliseconds((double)histogram->most), "mean", milliseconds(histogram_mean(histogram)));
}

static json_t *json_of_kinds(const struct kinds *kinds)
{
    json_t *rows = json_object();
    for (int i = 0; i < kinds->count; i++)
        json_object_set_new(rows, kinds->rows[i].name, json_integer(kinds->rows[i].count));
    return rows;
}

static json_t *json_of_request(const struct mix_request *request)
{
    json_t *statuses = json_object();
    for (int status = 100; status < MIX_STATUS_MOST; status++) {
        char name[16];
        snprintf(name, sizeof name, "%d", status);
        if (request->statuses[status] > 0)
            json_object_set_new(statuses, name, json_integer(request->statuses[status]));
    }
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "answered", (json_int_t)request->answered, "failed",
                     (json_int_t)request->failed, "retries", (json_int_t)request->retries, "statuses", statuses,
                     "kinds", json_of_kinds(&request->kinds), "not_now", json_of_kinds(&request->not_now), "latency_ms",
                     json_of_histogram(&request->latency), "service_ms", json_of_histogram(&request->service));
}

static json_t *json_of_failures(const struct report *report)
{
    json_t *failures = json_array();
    for (int64_t i = 0; i < report->failed && i < REPORT_FAILURES_MAX; i++) {
        const struct report_failure *failure = &report->failures[i];
        json_t *detail = json_string(failure->detail); /* NULL: not UTF-8, cut in a character */
        json_array_append_new(failures,
                              json_pack("{s:f, s:f, s:s, s:s, s:i, s:i, s:o}", "at", (double)failure->at / 1e6, "due",
                                        (double)failure->due / 1e6, "request", failure->request, "reason",
                                        client_failure_name(failure->failure), "status", failure->status, "port",
                                        failure->port, "detail", detail == NULL ? json_string("") : detail));
    }
    return failures;
}

void report_json(const struct report *report, const struct mix *mix, FILE *out)
{
    static struct histogram latency, service;
    latency = service = (struct histogram){0};
    sum_up(mix, &latency, &service);
    json_t *requests = json_object(), *reasons = json_object();
    for (int i = 0; i < mix->count; i++)
        json_object_set_new(requests, mix->requests[i].name, json_of_request(&mix->requests[i]));
    for (int i = 0; i < CLIENT_FAILURE_COUNT; i++)
        json_object_set_new(reasons, client_failure_name((enum client_failure)i), json_integer(report->reasons[i]));
    json_t *whole = json_pack("{s:s, s:f, s:f, s:f, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "loop",
                              report->rate > 0 ? "open" : "closed", "rate", report->rate, "began",
                              (double)report->began / 1e6, "seconds", seconds_of(report), "connections",
                              report->connections, "connects", (json_int_t)report->connects, "unasked",
                              (json_int_t)report->unasked, "answered", (json_int_t)report->answered, "failed",
                              (json_int_t)report->failed, "never_sent", (json_int_t)report->never_sent, "in_time",
                              (json_int_t)report->in_time, "unanswered", (json_int_t)report->unanswered);
    json_object_set_new(whole, "latency_ms", json_of_histogram(&latency));
    json_object_set_new(whole, "service_ms", json_of_histogram(&service));
    json_object_set_new(whole, "requests", requests);
    json_object_set_new(whole, "reasons", reasons);
    json_object_set_new(whole, "failures", json_of_failures(report));
    json_dumpf(whole, out, JSON_INDENT(1));
    fputc('\n', out);
    json_decref(whole);
}
