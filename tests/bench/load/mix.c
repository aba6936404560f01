/* mix: reads the file of requests and writes requests by it. The load generator. */
#include "mix.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/uuid.h"

#define LINE_MAX_LENGTH 65536

struct reading {
    struct mix *mix;
    char *error;
    size_t error_size;
};

static bool refuse(struct reading *reading, const char *section, const char *name, const char *expected)
{
    snprintf(reading->error, reading->error_size, "[%s] %s: expected %s", section, name, expected);
    return false;
}

static struct mix_request *request_named(struct mix *mix, const char *name)
{
    for (int i = 0; i < mix->count; i++) {
        if (strcmp(mix->requests[i].name, name) == 0)
            return &mix->requests[i];
    }
    if (mix->count == MIX_REQUESTS_MAX)
        return NULL;
    struct mix_request *request = &mix->requests[mix->count++];
    request->name = strdup(name);
    request->weight = 1;
    request->method = "GET";
    return request;
}

static bool read_statuses(const char *text, int statuses[MIX_EXPECTED_MAX], int *count)
{
    char *copy = strdup(text), *rest = copy;
    bool good = true;
    for (char *word; good && (word = strtok_r(rest, " ", &rest)) != NULL;) {
        int64_t status;
        good = *count < MIX_EXPECTED_MAX && text_parse_int64(word, 100, MIX_STATUS_MOST - 1, &status);
        if (good)
            statuses[(*count)++] = (int)status;
    }
    free(copy);
    return good && *count > 0;
}

static bool read_token(struct mix_request *request, const char *text)
{
    static const char *const names[] = {
        [MIX_TOKEN_NONE] = "none", [MIX_TOKEN_ANY] = "any", [MIX_TOKEN_KEPT] = "kept", [MIX_TOKEN_EACH] = "each"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            request->token = (enum mix_token)i;
            return true;
        }
    }
    return false;
}

static int take(void *context, const char *section, const char *name, const char *value)
{
    struct reading *reading = context;
    struct mix_request *request = request_named(reading->mix, section);
    if (request == NULL)
        return refuse(reading, section, name, "at most 64 requests");
    if (strcmp(name, "weight") == 0) {
        char *end;
        request->weight = strtod(value, &end);
        return (*end == '\0' && request->weight >= 0) || refuse(reading, section, name, "a number");
    }
    if (strcmp(name, "method") == 0)
        request->method = strdup(value);
    else if (strcmp(name, "path") == 0)
        request->path = strdup(value);
    else if (strcmp(name, "body") == 0)
        request->body = strdup(value);
    else if (strcmp(name, "header") == 0) {
        char *lines = NULL;
        INVARIANT(asprintf(&lines, "%s%s\r\n", request->headers == NULL ? "" : request->headers, value) >= 0);
        request->headers = lines;
    } else if (strcmp(name, "token") == 0)
        return read_token(request, value) || refuse(reading, section, name, "none, any, kept or each");
    else if (strcmp(name, "keep") == 0)
        request->keeps = strcmp(value, "yes") == 0;
    else if (strcmp(name, "expect") == 0)
        return read_statuses(value, request->expected, &request->expected_count) ||
               refuse(reading, section, name, "statuses, separated by spaces");
    else if (strcmp(name, "retry") == 0)
        return read_statuses(value, request->retried, &request->retried_count) ||
               refuse(reading, section, name, "statuses, separated by spaces");
    else if (strcmp(name, "kinds") == 0)
        request->tells = strcmp(value, "yes") == 0;
    else
        return refuse(reading, section, name,
                      "weight, method, path, body, header, token, keep, expect, retry or kinds");
    return true;
}

bool mix_read(struct mix *mix, const char *path, char *error, size_t error_size)
{
    struct reading reading = {.mix = mix, .error = error, .error_size = error_size};
    error[0] = '\0';
    int line = ini_parse(path, take, &reading);
    if (line < 0)
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
    else if (line > 0 && error[0] == '\0')
        snprintf(error, error_size, "%s:%d: expected [request] or name = value", path, line);
    if (error[0] != '\0')
        return false;
    for (int i = 0; i < mix->count; i++) {
        const struct mix_request *request = &mix->requests[i];
        if (request->path == NULL) {
            snprintf(error, error_size, "%s: [%s] has no path", path, request->name);
            return false;
        }
        if (request->token != MIX_TOKEN_NONE && mix->tokens.count == 0) {
            snprintf(error, error_size, "%s: [%s] needs --tokens", path, request->name);
            return false;
        }
        if (strstr(request->path, "{event}") != NULL && mix->events.count == 0) {
            snprintf(error, error_size, "%s: [%s] needs --events", path, request->name);
            return false;
        }
        mix->weight += request->weight;
    }
    if (mix->weight <= 0)
        snprintf(error, error_size, "%s: no request has a weight", path);
    return mix->weight > 0;
}

bool mix_read_lines(struct mix_lines *lines, const char *path, char *error, size_t error_size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
        return false;
    }
    static char line[LINE_MAX_LENGTH];
    size_t capacity = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0')
            continue;
        if (lines->count == capacity) {
            capacity = capacity == 0 ? 64 : 2 * capacity;
            lines->lines = realloc(lines->lines, capacity * sizeof *lines->lines);
            INVARIANT(lines->lines != NULL);
        }
        lines->lines[lines->count++] = strdup(line);
    }
    fclose(file);
    if (lines->count == 0)
        snprintf(error, error_size, "%s: is empty", path);
    return lines->count > 0;
}

static size_t below(size_t most)
{
    return (size_t)(drand48() * (double)most);
}

static bool can_be_asked(const struct mix *mix, const struct mix_request *request)
{
    return request->weight > 0 && (request->token != MIX_TOKEN_KEPT || mix->kept_count > 0) &&
           (request->token != MIX_TOKEN_EACH || mix->next_token < mix->tokens.count);
}

/* A request that names a registration needs one that is kept, one for each token a token that is left: where that is
 * missing, another is drawn. NULL: none can be asked. */
static struct mix_request *choose(struct mix *mix)
{
    double weight = 0;
    for (int i = 0; i < mix->count; i++)
        weight += can_be_asked(mix, &mix->requests[i]) ? mix->requests[i].weight : 0;
    double place = drand48() * weight;
    struct mix_request *chosen = NULL;
    for (int i = 0; i < mix->count && (chosen == NULL || place >= 0); i++) {
        if (can_be_asked(mix, &mix->requests[i])) {
            chosen = &mix->requests[i];
            place -= chosen->weight;
        }
    }
    return chosen;
}

static void expand(struct mix *mix, const char *text, const char *registration, struct buffer *out)
{
    for (const char *place; (place = strchr(text, '{')) != NULL;) {
        buffer_append(out, text, (size_t)(place - text));
        if (strncmp(place, "{event}", 7) == 0) {
            buffer_append_text(out, mix->events.lines[below(mix->events.count)]);
            text = place + 7;
        } else if (strncmp(place, "{registration}", 14) == 0) {
            buffer_append_text(out, registration);
            text = place + 14;
        } else if (strncmp(place, "{uuid}", 6) == 0) {
            char id[UUID_TEXT_SIZE];
            uuid_v7(id);
            buffer_append_text(out, id);
            text = place + 6;
        } else if (strncmp(place, "{number}", 8) == 0) {
            buffer_printf(out, "%llu", (unsigned long long)++mix->number);
            text = place + 8;
        } else {
            buffer_append(out, "{", 1);
            text = place + 1;
        }
    }
    buffer_append_text(out, text);
}

/* Nothing is filled in: neither ids nor numbers nor a token. */
static bool is_constant(const struct mix_request *request)
{
    const char *const texts[] = {request->path, request->headers, request->body};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i] != NULL && strchr(texts[i], '{') != NULL)
            return false;
    }
    return request->token == MIX_TOKEN_NONE;
}

static void write_request(struct mix *mix, bool close, const struct mix_request *request, const struct mix_kept *kept,
                          size_t token, struct buffer *out);

bool mix_draw(struct mix *mix, bool close, struct mix_drawn *drawn, struct buffer *out)
{
    struct mix_request *request = choose(mix);
    struct mix_kept kept = {.id = ""};
    if (request == NULL)
        return false;
    *drawn = (struct mix_drawn){.request = request};
    if (request->token == MIX_TOKEN_ANY) {
        drawn->token = below(mix->tokens.count);
    } else if (request->token == MIX_TOKEN_EACH) {
        drawn->token = mix->next_token++;
    } else if (request->token == MIX_TOKEN_KEPT) {
        size_t chosen = below(mix->kept_count);
        kept = mix->kept[chosen];
        mix->kept[chosen] = mix->kept[--mix->kept_count];
        drawn->token = kept.token;
    }
    if (buffer_length(&request->text) > 0 && !close) {
        buffer_append(out, buffer_bytes(&request->text), buffer_length(&request->text));
        return true;
    }
    write_request(mix, close, request, &kept, drawn->token, out);
    if (!close && is_constant(request))
        buffer_append(&request->text, buffer_bytes(out), buffer_length(out));
    return true;
}

static void write_request(struct mix *mix, bool close, const struct mix_request *request, const struct mix_kept *kept,
                          size_t token, struct buffer *out)
{
    buffer_printf(out, "%s ", request->method);
    expand(mix, request->path, kept->id, out);
    buffer_printf(out, " HTTP/1.1\r\nHost: %s\r\nUser-Agent: turnout-load\r\n", mix->host);
    if (request->token != MIX_TOKEN_NONE) {
        buffer_append_text(out, "Authorization: Bearer ");
        buffer_append_text(out, mix->tokens.lines[token]);
        buffer_append_text(out, "\r\n");
    }
    if (close)
        buffer_append_text(out, "Connection: close\r\n");
    if (request->headers != NULL)
        expand(mix, request->headers, kept->id, out);
    if (request->body == NULL) {
        buffer_append_text(out, "\r\n");
        return;
    }
    struct buffer body = {0};
    expand(mix, request->body, kept->id, &body);
    buffer_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", buffer_length(&body));
    buffer_append(out, buffer_bytes(&body), buffer_length(&body));
    buffer_free(&body);
}

static bool among(const int *statuses, int count, int status)
{
    for (int i = 0; i < count; i++) {
        if (statuses[i] == status)
            return true;
    }
    return false;
}

bool mix_expects(const struct mix_request *request, int status)
{
    if (request->expected_count == 0)
        return status >= 200 && status < 300;
    return among(request->expected, request->expected_count, status);
}

bool mix_retries(const struct mix_request *request, int status)
{
    return among(request->retried, request->retried_count, status);
}

void mix_keep(struct mix *mix, const struct mix_drawn *drawn, const char *body, size_t length)
{
    static const char before[] = "\"id\":\"";
    const char *found = memmem(body, length, before, sizeof before - 1);
    struct mix_kept kept = {.token = drawn->token};
    if (found == NULL)
        return;
    found += sizeof before - 1;
    if (body + length - found < 36 || !uuid_parse(found, 36, kept.id))
        return;
    if (mix->kept_count == mix->kept_capacity) {
        mix->kept_capacity = mix->kept_capacity == 0 ? 256 : 2 * mix->kept_capacity;
        mix->kept = realloc(mix->kept, mix->kept_capacity * sizeof *mix->kept);
        INVARIANT(mix->kept != NULL);
    }
    mix->kept[mix->kept_count++] = kept;
}
