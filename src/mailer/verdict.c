/* verdict: what an answer of an SMTP server means. Mailer. */
#include "mailer/verdict.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* A server that wants fewer messages says so in words that no standard has fixed. 4.7.x are refusals by policy, which
 * for now means by rate (RFC 3463, 3.8); 4.3.2 is "system not accepting messages". Words, not pieces of words, and not
 * those of an address that the server repeats: a greylisted pirates@example.com is to slow nobody down. */
static bool speaks_of_rate(const char *words)
{
    if (strcasestr(words, "greylist") != NULL || strcasestr(words, "graylist") != NULL)
        return false; /* this recipient is to wait, whatever the code */
    static const char *const signs[] = {"4.7.",     "4.3.2",    "rate",      "rates",      "ratelimit", "too many",
                                        "too fast", "throttle", "throttled", "throttling", "slow down", NULL};
    char plain[512];
    size_t length = 0;
    while (*words != '\0' && length + 1 < sizeof plain) {
        size_t word = strcspn(words, " \t");
        bool address = memchr(words, '@', word) != NULL;
        for (size_t i = 0; i < word && !address && length + 1 < sizeof plain; i++)
            plain[length++] = words[i];
        words += word;
        if (*words != '\0' && length + 1 < sizeof plain) {
            plain[length++] = ' ';
            words++;
        }
    }
    plain[length] = '\0';
    for (const char *const *sign = signs; *sign != NULL; sign++) {
        size_t size = strlen(*sign);
        bool open = (*sign)[size - 1] == '.'; /* more digits follow */
        for (const char *at = plain; (at = strcasestr(at, *sign)) != NULL; at++) {
            if ((at == plain || !isalnum((unsigned char)at[-1])) && (open || !isalnum((unsigned char)at[size])))
                return true;
        }
    }
    return false;
}

enum smtp_outcome verdict_of(const struct smtp_end *end)
{
    if (end->accepted)
        return SMTP_SENT;
    /* whoever cannot be reached, or lets us not in, has said nothing of this message; nor has who refuses our address
     */
    if (end->stage < SMTP_STAGE_MAIL || (end->stage == SMTP_STAGE_MAIL && (end->code == 0 || end->code >= 500)))
        return SMTP_UNREACHABLE;
    if (end->code == 421)
        return SMTP_SLOW;
    if (end->code >= 500)
        return SMTP_PERMANENT;
    if (end->code >= 450 && end->code <= 452 && speaks_of_rate(end->words))
        return SMTP_SLOW;
    if (end->code >= 400)
        return SMTP_TEMPORARY;
    return SMTP_LOST;
}

bool verdict_was_stale(const struct smtp_end *end, bool reused)
{
    return reused && !end->accepted && end->stage <= SMTP_STAGE_MAIL && (end->code == 0 || end->code == 421);
}

enum smtp_stage verdict_stage(const char *line, size_t length, enum smtp_stage before)
{
    static const struct {
        const char *command;
        enum smtp_stage stage;
    } commands[] = {{"EHLO", SMTP_STAGE_HELLO}, {"HELO", SMTP_STAGE_HELLO},     {"STARTTLS", SMTP_STAGE_TLS},
                    {"AUTH", SMTP_STAGE_AUTH},  {"MAIL FROM", SMTP_STAGE_MAIL}, {"RCPT TO", SMTP_STAGE_RECIPIENT},
                    {"DATA", SMTP_STAGE_DATA}};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        size_t size = strlen(commands[i].command);
        if (length >= size && strncasecmp(line, commands[i].command, size) == 0)
            return commands[i].stage;
    }
    return before;
}
