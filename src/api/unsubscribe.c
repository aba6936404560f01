/* unsubscribe: the link in mails that nobody has to have (RFC 8058). Worker process. A mail program sends the POST when
 * its user says so; a person who follows the link gets a page that says what its button does. The GET changes nothing:
 * programs that look at links before people do follow it, too. Neither asks who sends it: the link is the proof. */
#include <string.h>

#include "api/answer.h"
#include "api/limits.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"
#include "identity/link_token.h"

/* The address holds what must not go elsewhere, and the page needs nothing from anywhere. */
#define PAGE_LINES                          \
    "Cache-Control: private, no-store\r\n"  \
    "Referrer-Policy: no-referrer\r\n"      \
    "Content-Security-Policy: default-src " \
    "'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'\r\n"

/* Request lifetime. */
struct link {
    struct http_request *request;
    const char *token;
    const char *group;
    bool again; /* subscribe */
};

/* Nobody knows which language the reader has: both that mails are written in. */
static const struct {
    const char *group;
    const char *names[2];
} groups[] = {{"reminders", {"reminders of events", "イベントのリマインダー"}},
              {"surveys", {"invitations to surveys", "アンケートのお願い"}}};

static const struct {
    const char *text[2];
    const char *button[2];
    bool again; /* what the button does */
} pages[] = {
    {{"Shall we send you no more %s?", "今後、%sのメールを受け取りませんか？"},
     {"Unsubscribe", "配信を停止する"},
     false},
    {{"We will send you no more %s.", "今後、%sのメールはお送りしません。"}, {"Subscribe again", "再び受け取る"}, true},
    {{"We will send you %s again.", "%sのメールを再びお送りします。"}, {"Unsubscribe", "配信を停止する"}, false},
};
enum page_kind { PAGE_QUESTION, PAGE_UNSUBSCRIBED, PAGE_SUBSCRIBED };

static void put_sentence(struct buffer *body, const char *language, const char *text, const char *name)
{
    const char *place = strstr(text, "%s");
    buffer_printf(body, "<p lang=\"%s\">%.*s%s%s</p>\n", language, (int)(place - text), text, name, place + 2);
}

static void answer_page(const struct link *link, enum page_kind kind)
{
    struct http_request *request = link->request;
    struct buffer body = {0};
    size_t group = 0;
    while (group + 1 < sizeof groups / sizeof groups[0] && strcmp(groups[group].group, link->group) != 0)
        group++;
    INVARIANT(strcmp(groups[group].group, link->group) == 0);
    buffer_append_text(&body, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                              "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Mail</title>\n"
                              "<style>body{font:1.1em sans-serif;max-width:32em;margin:3em auto;padding:0 1em}"
                              "button{font:inherit}</style>\n</head>\n<body>\n");
    put_sentence(&body, "en", pages[kind].text[0], groups[group].names[0]);
    put_sentence(&body, "ja", pages[kind].text[1], groups[group].names[1]);
    /* the token was verified: it holds nothing that HTML would read */
    buffer_printf(&body,
                  "<form method=\"post\" action=\"/api/mail/unsubscribe?token=%s%s\"><button>%s / <span lang=\"ja\">%s"
                  "</span></button></form>\n</body>\n</html>\n",
                  link->token, pages[kind].again ? "&amp;again=yes" : "", pages[kind].button[0], pages[kind].button[1]);
    http_respond(request, &(struct http_response){
                              .status = 200,
                              .content_type = "text/html; charset=utf-8",
                              .headers = PAGE_LINES,
                              .body = arena_memdup(request->arena, buffer_bytes(&body), buffer_length(&body)),
                              .body_length = buffer_length(&body)});
    buffer_free(&body);
}

/* NULL: answered. The person is counted, or the address of who sends what is no link of ours. */
static struct link *read_link(struct http_request *request, const char *const *known, struct link_token *token)
{
    if (!parameters_check(request, known))
        return NULL;
    const char *text = parameters_get(request, "token");
    const char *again = parameters_get(request, "again");
    if (text == NULL || !link_token_verify(text, token)) {
        if (limits_admit_address(request))
            problem_respond(request, PROBLEM_NOT_FOUND,
                            &(struct problem_details){.detail = "This link is not one of ours, or no longer."});
        return NULL;
    }
    if (!limits_admit_user(request, token->user_id))
        return NULL;
    struct link *link = arena_alloc(request->arena, sizeof *link);
    *link = (struct link){
        .request = request, .token = text, .group = token->group, .again = again != NULL && strcmp(again, "yes") == 0};
    return link;
}

void unsubscribe_show(struct http_request *request)
{
    static const char *const known[] = {"token", NULL};
    struct link_token token;
    struct link *link = read_link(request, known, &token);
    if (link != NULL)
        answer_page(link, PAGE_QUESTION);
}

static void on_subscribed(void *context, const struct pg_answer *answer)
{
    struct link *link = context;
    OBJECT_CHECK(link->request, HTTP_REQUEST_MAGIC);
    if (!answer_is_success(answer)) {
        answer_row(link->request, answer, &(struct answer_style){.lost = PROBLEM_OUTCOME_UNKNOWN});
        return;
    }
    PQclear(answer->result);
    answer_page(link, link->again ? PAGE_SUBSCRIBED : PAGE_UNSUBSCRIBED);
}

/* Its body (List-Unsubscribe=One-Click) says nothing that the link does not. */
void unsubscribe_do(struct http_request *request)
{
    static const char *const known[] = {"token", "again", NULL};
    struct link_token token;
    struct link *link = read_link(request, known, &token);
    if (link == NULL)
        return;
    struct pg_query query = {.statement = &statement_mail_subscribe,
                             .parameters = {request->request_id, arena_strdup(request->arena, token.user_id),
                                            token.group, link->again ? "true" : "false"},
                             .retry = PG_RETRY_READ, /* the same twice is the same once */
                             .done = on_subscribed,
                             .context = link};
    pg_pool_submit(api_get()->write, &query);
}
