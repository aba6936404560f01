/* What an answer of an SMTP server means: for the letter, for this host, or for all of them. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "mailer/verdict.h"

static const struct {
    enum smtp_stage stage;
    int code;
    const char *words;
    enum smtp_outcome outcome;
} ends[] = {
    /* nobody there, nobody we trust, nobody who lets us in: says nothing of the letter */
    {SMTP_STAGE_CONNECT, 0, "Connection refused", SMTP_UNREACHABLE},
    {SMTP_STAGE_CONNECT, 554, "554 no SMTP service here", SMTP_UNREACHABLE},
    {SMTP_STAGE_HELLO, 0, "the server did not answer in time", SMTP_UNREACHABLE},
    {SMTP_STAGE_TLS, 220, "SSL certificate problem", SMTP_UNREACHABLE},
    {SMTP_STAGE_TLS, 454, "454 4.7.0 TLS not available", SMTP_UNREACHABLE},
    {SMTP_STAGE_AUTH, 535, "535 5.7.8 wrong password", SMTP_UNREACHABLE},
    {SMTP_STAGE_MAIL, 530, "530 5.7.0 authentication required", SMTP_UNREACHABLE},
    {SMTP_STAGE_MAIL, 553, "553 5.7.1 sender refused", SMTP_UNREACHABLE},
    {SMTP_STAGE_MAIL, 0, "connection lost", SMTP_UNREACHABLE},
    {SMTP_STAGE_CONNECT, 421, "421 too many connections", SMTP_UNREACHABLE},
    {SMTP_STAGE_AUTH, 421, "421 4.7.0 too many errors", SMTP_UNREACHABLE},
    /* the message may be what broke it */
    {SMTP_STAGE_RECIPIENT, 0, "connection lost", SMTP_LOST},
    {SMTP_STAGE_DATA, 0, "connection lost", SMTP_LOST},
    {SMTP_STAGE_DATA, 354, "354 go on", SMTP_LOST},
    {SMTP_STAGE_BODY, 0, "connection lost", SMTP_LOST},
    /* refused for now */
    {SMTP_STAGE_MAIL, 451, "451 4.3.0 local error", SMTP_TEMPORARY},
    {SMTP_STAGE_RECIPIENT, 450, "450 4.2.0 greylisted", SMTP_TEMPORARY},
    {SMTP_STAGE_RECIPIENT, 450, "450 4.7.1 Greylisted, see http://postgrey.example", SMTP_TEMPORARY},
    {SMTP_STAGE_RECIPIENT, 452, "452 4.2.2 mailbox full", SMTP_TEMPORARY},
    {SMTP_STAGE_BODY, 451, "451 4.3.0 disk", SMTP_TEMPORARY},
    {SMTP_STAGE_RECIPIENT, 450, "450 4.2.0 <pirates@corporate.example>: greylisted", SMTP_TEMPORARY},
    {SMTP_STAGE_RECIPIENT, 450, "450 4.2.0 <rate@example.com>: greylisted", SMTP_TEMPORARY},
    {SMTP_STAGE_BODY, 451, "451 4.3.0 cannot generate a name, operator told", SMTP_TEMPORARY},
    /* refused for ever */
    {SMTP_STAGE_RECIPIENT, 550, "550 5.1.1 nobody here", SMTP_PERMANENT},
    {SMTP_STAGE_DATA, 554, "554 no", SMTP_PERMANENT},
    {SMTP_STAGE_BODY, 552, "552 5.3.4 too large", SMTP_PERMANENT},
    {SMTP_STAGE_RECIPIENT, 550, "550 5.7.1 rate limit is not the reason", SMTP_PERMANENT},
    /* less of it, please */
    {SMTP_STAGE_MAIL, 421, "421 too many messages", SMTP_SLOW},
    {SMTP_STAGE_RECIPIENT, 421, "421 4.3.2 closing", SMTP_SLOW},
    {SMTP_STAGE_RECIPIENT, 450, "450 4.7.1 try again", SMTP_SLOW},
    {SMTP_STAGE_MAIL, 451, "451 Too Many messages", SMTP_SLOW},
    {SMTP_STAGE_BODY, 452, "452 sending rate exceeded", SMTP_SLOW},
    {SMTP_STAGE_RECIPIENT, 450, "450 <a@example.com>: rate-limit", SMTP_SLOW},
    {SMTP_STAGE_RECIPIENT, 451, "451 throttled.", SMTP_SLOW},
    {SMTP_STAGE_RECIPIENT, 450, "450-4.7.28 unusual", SMTP_SLOW},
    {SMTP_STAGE_BODY, 454, "454 4.7.1 not one of the rate's codes", SMTP_TEMPORARY},
};

START_TEST(each_end_has_its_outcome)
{
    struct smtp_end end = {.stage = ends[_i].stage, .code = ends[_i].code, .words = ends[_i].words};
    ck_assert_msg(verdict_of(&end) == ends[_i].outcome, "%d %s", (int)end.stage, end.words);
    /* whatever was said before: what libcurl saw accepted is sent */
    end.accepted = true;
    ck_assert_int_eq(verdict_of(&end), SMTP_SENT);
}
END_TEST

START_TEST(only_a_kept_connection_can_have_gone_stale_and_only_before_the_message)
{
    struct smtp_end end = {.stage = SMTP_STAGE_MAIL, .words = ""};
    ck_assert(verdict_was_stale(&end, true));
    ck_assert(!verdict_was_stale(&end, false));
    end.code = 421;
    ck_assert(verdict_was_stale(&end, true));
    end.code = 451;
    ck_assert(!verdict_was_stale(&end, true));
    end = (struct smtp_end){.stage = SMTP_STAGE_RECIPIENT, .words = ""};
    ck_assert(!verdict_was_stale(&end, true));
    end = (struct smtp_end){.stage = SMTP_STAGE_MAIL, .accepted = true, .words = ""};
    ck_assert(!verdict_was_stale(&end, true));
}
END_TEST

START_TEST(a_line_tells_its_command)
{
    ck_assert_int_eq(verdict_stage("EHLO here\r\n", 11, SMTP_STAGE_CONNECT), SMTP_STAGE_HELLO);
    ck_assert_int_eq(verdict_stage("mail from:<a@example.com>", 25, SMTP_STAGE_HELLO), SMTP_STAGE_MAIL);
    ck_assert_int_eq(verdict_stage("RCPT TO:<a@example.com>", 23, SMTP_STAGE_MAIL), SMTP_STAGE_RECIPIENT);
    ck_assert_int_eq(verdict_stage("DATA\r\n", 6, SMTP_STAGE_RECIPIENT), SMTP_STAGE_DATA);
    ck_assert_int_eq(verdict_stage("AUTH PLAIN", 10, SMTP_STAGE_HELLO), SMTP_STAGE_AUTH);
    ck_assert_int_eq(verdict_stage("bm90aGluZw==\r\n", 14, SMTP_STAGE_AUTH), SMTP_STAGE_AUTH);
    ck_assert_int_eq(verdict_stage("DAT", 3, SMTP_STAGE_RECIPIENT), SMTP_STAGE_RECIPIENT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("verdict");
    TCase *all = tcase_create("all");
    tcase_add_loop_test(all, each_end_has_its_outcome, 0, (int)(sizeof ends / sizeof ends[0]));
    tcase_add_test(all, only_a_kept_connection_can_have_gone_stale_and_only_before_the_message);
    tcase_add_test(all, a_line_tells_its_command);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
