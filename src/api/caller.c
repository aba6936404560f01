/* caller: who asks. Worker process; it may read the token, what a trusted proxy says, the worker's memo of both, and
 * ask PostgreSQL (people). A token that was verified a moment ago costs a hash; a new one a signature and a place in a
 * call that many share, which makes the user where there is none. */
#include "api/caller.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/answer.h"
#include "api/api.h"
#include "api/identity.h"
#include "api/limits.h"
#include "api/people.h"
#include "api/proxied.h"
#include "http/problem.h"
#include "shm/statistics.h"

#define CALL_MAGIC 0x43414c4cU

/* Request lifetime; what is needed to go on once PostgreSQL has said who it is. */
struct call {
    OBJECT_HEADER;
    struct http_request *request;
    caller_continue *next;
    struct caller caller;
    const char *key; /* by which the memo knows them: the token, or the proxy's word */
    size_t key_length;
    uint64_t generation; /* of the memo, when it was verified */
    struct token_claims claims;
    struct memo_person person;
    struct people_question question;
};

static void refuse_token(struct http_request *request, const char *detail)
{
    if (!limits_admit_address(request))
        return;
    struct problem_details details = {
        .detail = detail, .headers = "WWW-Authenticate: Bearer realm=\"turnout\", error=\"invalid_token\"\r\n"};
    problem_respond(request, PROBLEM_UNAUTHORIZED, &details);
}

static void ask_for_token(struct http_request *request)
{
    if (!limits_admit_address(request))
        return;
    struct problem_details details = {.headers = "WWW-Authenticate: Bearer realm=\"turnout\"\r\n"};
    problem_respond(request, PROBLEM_UNAUTHORIZED, &details);
}

static void go_on(struct call *call)
{
    const char *claim = call->person.claim_role;
    call->caller.user_id = call->person.user_id;
    call->caller.role = api_get()->configuration->trust_role_claim && claim[0] != '\0' ? claim : NULL;
    call->request->user_id = call->caller.user_id;
    if (limits_admit_user(call->request, call->caller.user_id))
        call->next(call->request, &call->caller);
}

static void copy_text(char *to, size_t size, const char *from)
{
    size_t length = from == NULL ? 0 : strlen(from);
    INVARIANT(length < size);
    if (length > 0)
        memcpy(to, from, length);
    to[length] = '\0';
}

/* Seconds for Retry-After where somebody else holds the person's row. */
#define BUSY_RETRY 1

static void refuse_person(struct http_request *request, const struct people_answer *answer)
{
    if (answer->failure != NULL) {
        answer_failure(request, answer->failure, PROBLEM_DATABASE_UNAVAILABLE);
    } else if (strcmp(answer->outcome, "busy") == 0) {
        problem_respond(request, PROBLEM_OVERLOADED, &(struct problem_details){.retry_after = BUSY_RETRY});
    } else {
        problem_respond(request, PROBLEM_FORBIDDEN,
                        &(struct problem_details){.members = answer->body, .members_length = strlen(answer->body)});
    }
}

static void on_person(struct people_question *question, const struct people_answer *answer)
{
    struct call *call = question->context;
    OBJECT_CHECK(call, CALL_MAGIC);
    if (answer->failure != NULL || strcmp(answer->outcome, "ok") != 0) {
        refuse_person(call->request, answer);
        return;
    }
    copy_text(call->person.role, sizeof call->person.role, answer->role);
    copy_text(call->person.user_id, sizeof call->person.user_id, answer->user_id);
    copy_text(call->person.claim_role, sizeof call->person.claim_role, call->claims.role);
    /* The keys may have been others since. */
    if (call->generation == memo_generation(identity_memo()))
        memo_store(identity_memo(), call->key, call->key_length, time(NULL), call->claims.expires_at, &call->person);
    go_on(call);
}

static void ask_who_it_is(struct call *call)
{
    call->generation = memo_generation(identity_memo());
    call->question =
        (struct people_question){.claims = &call->claims,
                                 .role = api_get()->configuration->trust_role_claim ? call->claims.role : NULL,
                                 .answered = on_person,
                                 .context = call};
    people_ask(&call->question);
}

/* "Bearer" and one token behind it; NULL: another scheme or form. */
static const char *bearer_token(const char *header)
{
    if (strncasecmp(header, "Bearer ", 7) != 0)
        return NULL;
    const char *token = header + 7 + strspn(header + 7, " ");
    return *token == '\0' || strpbrk(token, " ,") != NULL ? NULL : token;
}

static struct call *begin_call(struct http_request *request, caller_continue *next)
{
    struct call *call = arena_zalloc(request->arena, sizeof *call);
    call->magic = CALL_MAGIC;
    call->request = request;
    call->next = next;
    return call;
}

static bool is_remembered(struct call *call)
{
    return memo_find(identity_memo(), call->key, call->key_length, time(NULL), &call->person);
}

static void verify_token(void *context)
{
    struct call *call = context;
    OBJECT_CHECK(call, CALL_MAGIC);
    enum token_result result = identity_verify(call->key, call->key_length, call->request->arena, &call->claims);
    statistics_count(STATISTICS_TOKENS, result == TOKEN_OK ? LABEL_TOKEN_VERIFIED : LABEL_TOKEN_REFUSED);
    if (result == TOKEN_OK)
        ask_who_it_is(call);
    else
        refuse_token(call->request, token_result_text(result));
}

static void identify_by_token(struct call *call, const char *header)
{
    struct http_request *request = call->request;
    call->key = bearer_token(header);
    if (call->key == NULL) {
        refuse_token(request, "Send the header as \"Authorization: Bearer TOKEN\".");
        return;
    }
    call->key_length = strlen(call->key);
    if (is_remembered(call)) {
        statistics_count(STATISTICS_TOKENS, LABEL_TOKEN_REMEMBERED);
        go_on(call);
        return;
    }
    http_in_turn(request, verify_token, call); /* a signature takes as long as many answers from the cache */
}

/* What a proxy says is signed by nobody and looked at anew each time; the memo spares the look into the users table. */
static void identify_by_proxy(struct call *call)
{
    struct http_request *request = call->request;
    if (proxied_is_forged(request)) {
        statistics_count(STATISTICS_PROXY_IDENTITIES, LABEL_PROXIED_REFUSED);
        if (limits_admit_address(request))
            problem_respond(request, PROBLEM_FORBIDDEN,
                            &(struct problem_details){.detail = "Another site made the browser send this request."});
        return;
    }
    call->key = proxied_spelling(request, &call->claims, &call->key_length);
    call->claims.expires_at = time(NULL) + MEMO_SECONDS;
    if (is_remembered(call)) {
        statistics_count(STATISTICS_PROXY_IDENTITIES, LABEL_PROXIED_REMEMBERED);
        go_on(call);
        return;
    }
    statistics_count(STATISTICS_PROXY_IDENTITIES, LABEL_PROXIED_TAKEN);
    ask_who_it_is(call);
}

static void refuse_proxied(struct http_request *request, enum proxied why)
{
    statistics_count(STATISTICS_PROXY_IDENTITIES, LABEL_PROXIED_REFUSED);
    if (why != PROXIED_TWICE)
        refuse_token(request, "What the proxy in front says of the person is incomplete or not usable.");
    else if (limits_admit_address(request))
        problem_respond(request, PROBLEM_BAD_REQUEST,
                        &(struct problem_details){.detail = "Send each header of identity once."});
}

/* A token decides where there is one, also one that is refused: who wrote it meant it, and a proxy's headers come along
 * whoever asks. */
void caller_identify(struct http_request *request, enum caller_need need, caller_continue *next)
{
    struct token_claims claims;
    const char *header = http_request_header(request, "authorization");
    enum proxied proxied = proxied_read(request, &claims);
    if (header != NULL) {
        identify_by_token(begin_call(request, next), header);
    } else if (proxied == PROXIED_SOMEBODY) {
        struct call *call = begin_call(request, next);
        call->claims = claims;
        identify_by_proxy(call);
    } else if (proxied != PROXIED_NOBODY) {
        refuse_proxied(request, proxied);
    } else if (need == CALLER_ANYBODY && api_get()->configuration->public_read) {
        static const struct caller anybody = {.user_id = NULL, .role = NULL};
        if (limits_admit_address(request))
            next(request, &anybody);
    } else {
        ask_for_token(request);
    }
}

bool caller_is_remembered(const struct http_request *request)
{
    struct memo_person person;
    const char *header = http_request_header(request, "authorization");
    const char *token = header == NULL ? NULL : bearer_token(header);
    return token != NULL && memo_find(identity_memo(), token, strlen(token), time(NULL), &person);
}

/* Boot lifetime: [is there a token][does it come from a proxy]. */
static struct caller_lines prepared[2][2];

void caller_prepare(void)
{
    static const char *const controls[] = {"public, max-age=1, stale-while-revalidate=10, stale-if-error=60",
                                           "private, no-cache"};
    for (int private = 0; private < 2; private ++) {
        for (int proxied = 0; proxied < 2; proxied++) {
            struct caller_lines *lines = &prepared[private][proxied];
            const char *subject = proxied ? api_get()->configuration->proxy_subject_header : NULL;
            int length = snprintf(lines->text, sizeof lines->text,
                                  "Cache-Control: %s\r\nVary: Accept-Encoding, Authorization%s%s\r\n",
                                  controls[private], subject == NULL ? "" : ", ", subject == NULL ? "" : subject);
            INVARIANT(length > 0 && (size_t)length < sizeof lines->text);
            lines->length = (size_t)length;
        }
    }
}

const struct caller_lines *caller_lines(const struct http_request *request)
{
    return &prepared[request->user_id != NULL][request->from_proxy];
}
