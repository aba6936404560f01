/* call: the words of each call, the scripts, and the meaning of replies. Refresher. */
#include "redis/call.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "redis/envelope.h"

#define WORDS_MAX 8
#define TEXT_(number) #number
#define TEXT(number) TEXT_(number)

static enum store_end end_of_get(const struct call *call, const redisReply *reply, struct store_entry *entry);

/* Both look at one key and are run as a whole.
 *
 * put compares the versions at the beginning of two envelopes as text: numbers of a script are doubles, in which 2^53
 * and 2^53 + 1 are one. Digits sort alike in every locale of the server. What does not begin as an envelope of this
 * format begins, of another type too, is replaced; an equal version is put again and so lives longer. */
const char *const call_script_texts[CALL_SCRIPT_COUNT] = {
    [CALL_SCRIPT_PUT] = "local first, last = " TEXT(ENVELOPE_VERSION_AT) " + 1, " TEXT(ENVELOPE_VERSION_AT) " + " TEXT(
        ENVELOPE_VERSION_LENGTH) "\n"
                                 "local there = redis.pcall('getrange', KEYS[1], 0, last - 1)\n"
                                 "if type(there) == 'string' and #there == last\n"
                                 "  and string.sub(there, 1, first - 1) == string.sub(ARGV[1], 1, first - 1)\n"
                                 "  and not string.find(there, '%D', first)\n"
                                 "  and string.sub(there, first) > string.sub(ARGV[1], first, last) then\n"
                                 "  return 0\n"
                                 "end\n"
                                 "redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])\n"
                                 "return 1\n",
    [CALL_SCRIPT_RELEASE] = "if redis.call('get', KEYS[1]) == ARGV[1] then\n"
                            "  return redis.call('del', KEYS[1])\n"
                            "end\n"
                            "return 0\n",
};

struct words {
    const char *texts[WORDS_MAX];
    size_t lengths[WORDS_MAX];
    int count;
};

static void say(struct words *words, const char *text, size_t length)
{
    INVARIANT(words->count < WORDS_MAX);
    words->texts[words->count] = text;
    words->lengths[words->count++] = length;
}

static void say_text(struct words *words, const char *text)
{
    say(words, text, strlen(text));
}

static void say_buffer(struct words *words, const struct buffer *buffer)
{
    say(words, buffer_bytes(buffer), buffer_length(buffer));
}

static void say_script(struct words *words, enum call_script script, bool in_full,
                       const struct call_script_names *scripts)
{
    bool by_name = !in_full && scripts->sha[script][0] != '\0';
    say_text(words, by_name ? "EVALSHA" : "EVAL");
    say_text(words, by_name ? scripts->sha[script] : call_script_texts[script]);
    say_text(words, "1");
}

bool call_send(struct call *call, struct redis_connection *connection, const struct call_script_names *scripts,
               redis_replied *replied)
{
    struct words words = {.count = 0};
    char milliseconds[24];
    char most[24];
    snprintf(milliseconds, sizeof milliseconds, "%" PRId64, call->milliseconds);
    snprintf(most, sizeof most, "%zu", STORE_VALUE_MAX);
    switch (call->kind) {
    case STORE_GET: /* a byte more than an entry has: whatever somebody has put there, no more of it comes */
        say_text(&words, "GETRANGE");
        say_buffer(&words, &call->key);
        say_text(&words, "0");
        say_text(&words, most);
        break;
    case STORE_PUT:
        say_script(&words, CALL_SCRIPT_PUT, call->in_full, scripts);
        say_buffer(&words, &call->key);
        say_buffer(&words, &call->value);
        say_text(&words, milliseconds);
        break;
    case STORE_LEASE:
        say_text(&words, "SET");
        say_buffer(&words, &call->key);
        say_buffer(&words, &call->value);
        say_text(&words, "NX");
        say_text(&words, "PX");
        say_text(&words, milliseconds);
        break;
    case STORE_RELEASE:
        say_script(&words, CALL_SCRIPT_RELEASE, call->in_full, scripts);
        say_buffer(&words, &call->key);
        say_buffer(&words, &call->value);
        break;
    case STORE_DELETE:
        say_text(&words, "UNLINK");
        say_buffer(&words, &call->key);
        break;
    case STORE_CALL_COUNT:
        INVARIANT(false); /* no kind of call */
    }
    return redis_connection_send(connection, words.count, words.texts, words.lengths, replied, call);
}

static bool begins(const redisReply *reply, const char *word)
{
    size_t length = strlen(word);
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, word, length) == 0 &&
           (reply->str[length] == ' ' || reply->str[length] == '\0');
}

bool call_is_unknown_script(const redisReply *reply)
{
    return begins(reply, "NOSCRIPT");
}

bool call_is_out_of_service(const redisReply *reply)
{
    /* those that a probe is answered with, too, so that the circuit stays open as long as it is so */
    static const char *const words[] = {"LOADING", "NOAUTH", "BUSY", "MASTERDOWN", "NOPERM"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (begins(reply, words[i]))
            return true;
    }
    return false;
}

enum store_end call_end(const struct call *call, const redisReply *reply, struct store_entry *entry)
{
    if (call->kind == STORE_GET)
        return end_of_get(call, reply, entry);
    switch (reply->type) {
    case REDIS_REPLY_STATUS: /* the lease is ours */
        return call->kind == STORE_LEASE ? STORE_END_OK : STORE_END_FAILED;
    case REDIS_REPLY_NIL:
        return call->kind == STORE_LEASE ? STORE_END_REFUSED : STORE_END_FAILED;
    case REDIS_REPLY_INTEGER:
        if (call->kind == STORE_PUT)
            return reply->integer == 1 ? STORE_END_OK : STORE_END_REFUSED;
        return call->kind == STORE_LEASE ? STORE_END_FAILED : STORE_END_OK;
    default:
        return STORE_END_FAILED;
    }
}

static enum store_end end_of_get(const struct call *call, const redisReply *reply, struct store_entry *entry)
{
    if (begins(reply, "WRONGTYPE"))
        return STORE_END_MALFORMED;
    if (reply->type != REDIS_REPLY_STRING)
        return STORE_END_FAILED;
    if (reply->len == 0)
        return STORE_END_MISSING;
    const char *key = buffer_bytes(&call->key) + call->prefix;
    size_t key_length = buffer_length(&call->key) - call->prefix;
    switch (envelope_read(reply->str, (size_t)reply->len, key, key_length, clock_realtime(), entry)) {
    case ENVELOPE_OK:
        return STORE_END_OK;
    case ENVELOPE_EXPIRED:
        return STORE_END_MISSING;
    case ENVELOPE_MALFORMED:
        break;
    }
    return STORE_END_MALFORMED;
}
