/* health: /healthz (this process answers) and /readyz (it can do its work), on the internal listener only. Worker
 * process. */
#include <string.h>

#include "api/answer.h"
#include "api/resources.h"
#include "api/statements.h"
#include "base/text.h"

static void respond(struct http_request *request, int status, const char *body)
{
    http_respond(request, &(struct http_response){.status = status,
                                                  .content_type = "application/json",
                                                  .headers = "Cache-Control: no-store\r\n",
                                                  .body = body,
                                                  .body_length = strlen(body)});
}

void health_alive(struct http_request *request)
{
    respond(request, 200, "{\"status\":\"ok\"}");
}

/* `database` and `schema` are NULL where all is well, else what is wrong. */
static void respond_ready(struct http_request *request, const char *database, const char *schema)
{
    const struct child_host *host = api_get()->host;
    bool workers = host->workers_ready >= host->workers_wanted && host->workers_wanted > 0;
    const char *cache = host->warmed       ? "ok"
                        : database != NULL ? "not warm: the database is not reachable"
                        : schema != NULL   ? "not warm: the schema is not what it needs"
                                           : "warming up";
    bool ready = database == NULL && schema == NULL && workers && host->warmed;
    struct buffer body = {0};
    buffer_printf(&body, "{\"status\":\"%s\",\"checks\":{\"database\":", ready ? "ready" : "not-ready");
    const char *text = database == NULL ? "ok" : database;
    text_append_json(&body, text, strlen(text));
    buffer_append_text(&body, ",\"schema\":");
    text = schema == NULL ? "ok" : schema;
    text_append_json(&body, text, strlen(text));
    buffer_append_text(&body, ",\"cache\":");
    text_append_json(&body, cache, strlen(cache));
    buffer_printf(&body, ",\"workers\":\"%s%lld of %lld\"}}", workers ? "ok: " : "", (long long)host->workers_ready,
                  (long long)host->workers_wanted);
    respond(request, ready ? 200 : 503, arena_strdup(request->arena, buffer_text(&body)));
    buffer_free(&body);
}

static const char *unreachable(struct http_request *request, const struct pg_pool *pool, const char *name)
{
    struct pg_statistics statistics;
    pg_pool_statistics(pool, &statistics);
    if (statistics.reachable)
        return NULL;
    return arena_printf(request->arena, "unreachable for %s: %s", name,
                        statistics.last_error == NULL ? "not connected yet" : statistics.last_error);
}

static void on_version(void *context, const struct pg_answer *answer)
{
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    const char *unknown = "unknown while the database is not reachable";
    if (answer->status == PG_STATUS_FAILED) {
        respond_ready(request, NULL,
                      arena_printf(request->arena, "not migrated: run turnoutctl migrate (%s)", answer->sqlstate));
        return;
    }
    if (answer->status != PG_STATUS_ROWS) {
        respond_ready(request, "does not answer", unknown);
        return;
    }
    int64_t version = 0;
    bool current = PQntuples(answer->result) == 1 &&
                   text_parse_int64(PQgetvalue(answer->result, 0, 0), 0, INT32_MAX, &version) &&
                   version >= api_get()->schema_expected;
    PQclear(answer->result);
    respond_ready(request, NULL,
                  current ? NULL
                          : arena_printf(request->arena, "migration %lld, needs %d: run turnoutctl migrate",
                                         (long long)version, api_get()->schema_expected));
}

/* A database that is known to be away is reported at once: who asks wants to know now, not after the time-out of a
 * pool. */
void health_ready(struct http_request *request)
{
    const char *away = unreachable(request, api_get()->read, "reading");
    if (away == NULL)
        away = unreachable(request, api_get()->write, "writing");
    if (away != NULL) {
        respond_ready(request, away, "unknown while the database is not reachable");
        return;
    }
    struct pg_query query = {
        .statement = &statement_schema_version, .retry = PG_RETRY_PROBE, .done = on_version, .context = request};
    pg_pool_submit(api_get()->read, &query);
}
