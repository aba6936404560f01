/* The lines of a message: addresses, headers and bodies at their limits. What a mail program makes of whole messages is
 * in tests/system/test_mail_messages.py. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mail/letter.h"
#include "mail/mime.h"

static const struct {
    const char *text;
    const char *name; /* NULL: refused */
    const char *address;
} mailboxes[] = {
    {"events@example.com", "", "events@example.com"},
    {"<events@example.com>", "", "events@example.com"},
    {"Event team <events@example.com>", "Event team", "events@example.com"},
    {"\"Events, Inc. \\\"E\\\"\"  <events@example.com>", "Events, Inc. \"E\"", "events@example.com"},
    {"イベント事務局 <events@example.com>", "イベント事務局", "events@example.com"},
    {"root@[192.0.2.1]", "", "root@[192.0.2.1]"},
    {"Events", NULL, NULL},
    {"", NULL, NULL},
    {"@example.com", NULL, NULL},
    {"events@", NULL, NULL},
    {"events@exa mple.com", NULL, NULL},
    {"events@example..com", NULL, NULL},
    {"a@example.com, b@example.com", NULL, NULL},
    {"a@b@example.com", NULL, NULL},
    {"Events <events@example.com", NULL, NULL},
    {"Events events@example.com>", NULL, NULL},
    {"Events\r\nBcc: x <events@example.com>", NULL, NULL},
    {"Events <events@example.com> x", NULL, NULL},
    {"Events <>", NULL, NULL},
    {"\xff <events@example.com>", NULL, NULL},
};

START_TEST(test_a_mailbox_is_read_or_refused)
{
    char address[MIME_ADDRESS_SIZE];
    char error[256] = "";
    struct buffer name = {0};
    bool is_read = mime_read_mailbox(mailboxes[_i].text, address, &name, error, sizeof error);
    ck_assert_msg(is_read == (mailboxes[_i].name != NULL), "%s: %s", mailboxes[_i].text, error);
    ck_assert(is_read == letter_check_address(mailboxes[_i].text, error, sizeof error));
    ck_assert(is_read == (error[0] == '\0'));
    if (is_read) {
        ck_assert_str_eq(address, mailboxes[_i].address);
        ck_assert_str_eq(buffer_text(&name), mailboxes[_i].name);
    }
    buffer_free(&name);
}
END_TEST

static const struct {
    const char *text;
    const char *address; /* NULL: none */
} people[] = {
    {"ada@example.com", "ada@example.com"},
    {"o'hara+x=y@example.com", "o'hara+x=y@example.com"},
    {"a..b@example.com", "\"a..b\"@example.com"},
    {"a,b\"\\@example.com", "\"a,b\\\"\\\\\"@example.com"},
    {"山田@例え.jp", "山田@例え.jp"},
    {"a@example.com>,b@example.com", "\"a@example.com>,b\"@example.com"},
    {"a@example.com\r\nRCPT TO:<b@example.com>", NULL},
    {"a@exa>mple.com", NULL},
    {"a@", NULL},
    {"a", NULL},
};

START_TEST(test_the_address_of_a_person_is_written_or_refused)
{
    char address[MIME_ADDRESS_SIZE];
    ck_assert(mime_write_address(people[_i].text, address) == (people[_i].address != NULL));
    if (people[_i].address != NULL)
        ck_assert_str_eq(address, people[_i].address);
}
END_TEST

START_TEST(test_a_person_with_the_longest_address_gets_mail)
{
    char text[400];
    char address[MIME_ADDRESS_SIZE];
    memset(text, ',', sizeof text);
    snprintf(text + 254, sizeof text - 254, "@example.com");
    ck_assert(mime_write_address(text, address));
    memset(text, ',', sizeof text);
    snprintf(text + 340, sizeof text - 340, "@example.com");
    ck_assert(!mime_write_address(text, address));
}
END_TEST

static const struct {
    const char *text;
    const char *line;
} subjects[] = {
    {"All hands", "Subject: All hands\r\n"},
    {"", "Subject: \r\n"},
    {"All =?utf-8?B?eA==?=", "Subject: =?utf-8?B?QWxsID0/dXRmLTg/Qj9lQT09Pz0=?=\r\n"},
    {" x", "Subject: =?utf-8?B?IHg=?=\r\n"},
    {"日本", "Subject: =?utf-8?B?5pel5pys?=\r\n"},
};

START_TEST(test_a_subject_is_plain_or_encoded)
{
    struct buffer to = {0};
    mime_text_header(&to, "Subject", subjects[_i].text);
    ck_assert_str_eq(buffer_text(&to), subjects[_i].line);
    buffer_free(&to);
}
END_TEST

static const struct {
    const char *name;
    const char *line;
} displays[] = {
    {NULL, "To: a@example.com\r\n"},
    {"", "To: a@example.com\r\n"},
    {"Ada Lovelace", "To: Ada Lovelace <a@example.com>\r\n"},
    {"Lovelace, Ada (\"A\\\")", "To: \"Lovelace, Ada (\\\"A\\\\\\\")\" <a@example.com>\r\n"},
    {"山田 花子", "To: =?utf-8?B?5bGx55SwIOiKseWtkA==?= <a@example.com>\r\n"},
    {"x <b@example.com>", "To: \"x <b@example.com>\" <a@example.com>\r\n"},
    {"=?utf-8?Q?x?=", "To: =?utf-8?B?PT91dGYtOD9RP3g/PQ==?= <a@example.com>\r\n"},
};

START_TEST(test_a_name_stays_before_the_address)
{
    struct buffer to = {0};
    mime_mailbox_header(&to, "To", displays[_i].name, "a@example.com");
    ck_assert_str_eq(buffer_text(&to), displays[_i].line);
    buffer_free(&to);
}
END_TEST

/* No line longer than `most`, all end with CR LF, and none begins with a boundary or as a mailbox does. */
static void check_lines(struct buffer *text, size_t most)
{
    const char *at = buffer_text(text);
    while (*at != '\0') {
        const char *end = strstr(at, "\r\n");
        ck_assert_ptr_nonnull(end);
        ck_assert_uint_le((size_t)(end - at), most);
        ck_assert_ptr_null(memchr(at, '\n', (size_t)(end - at)));
        ck_assert_ptr_null(memchr(at, '\r', (size_t)(end - at)));
        ck_assert(strncmp(at, "--", 2) != 0 && strncmp(at, "=_", 2) != 0 && strncmp(at, "From ", 5) != 0);
        at = end + 2;
    }
}

START_TEST(test_headers_are_folded_whatever_their_length)
{
    for (size_t length = 0; length < 600; length++) {
        struct buffer text = {0};
        struct buffer to = {0};
        for (size_t i = 0; i < length; i++)
            buffer_append_text(&text, i % 7 == 3 ? "é" : i % 5 == 1 ? "本" : "x");
        mime_text_header(&to, "Subject", buffer_text(&text));
        mime_mailbox_header(&to, "Reply-To", buffer_text(&text), "events@example.com");
        check_lines(&to, 78);
        buffer_free(&text);
        buffer_free(&to);
    }
}
END_TEST

START_TEST(test_bodies_are_folded_whatever_stands_in_them)
{
    static const char *const lines[] = {
        "From x", "--=_turnout", "=_turnout-mixed", ".", "..", "x ", "\t", "", "日本語", "é",
        "=",      "abc",         "👩‍💻"};
    const size_t count = sizeof lines / sizeof lines[0];
    for (size_t i = 0; i < 2000; i++) {
        struct buffer text = {0};
        struct buffer to = {0};
        for (size_t k = 0; k < i % 150; k++) {
            buffer_append_text(&text, lines[(i * 31 + k * k * 7 + k) % count]);
            buffer_append_text(&text, (i + k) % 11 == 0 ? "\n" : (i + k) % 13 == 0 ? "\r\n" : "");
        }
        mime_body(&to, buffer_text(&text), buffer_length(&text));
        check_lines(&to, 76);
        buffer_free(&text);
        buffer_free(&to);
    }
}
END_TEST

START_TEST(test_a_body_is_what_it_was)
{
    struct buffer to = {0};
    mime_body(&to, "From me\n.\n--x = y \nan end without a line of its own", 51);
    ck_assert_str_eq(buffer_text(&to),
                     "Content-Transfer-Encoding: quoted-printable\r\n\r\n=46rom me\r\n=2E\r\n=2D-x =3D "
                     "y=20\r\nan end without a line of its own\r\n");
    buffer_clear(&to, 0);
    mime_body(&to, "日本\n", 7);
    ck_assert_str_eq(buffer_text(&to), "Content-Transfer-Encoding: base64\r\n\r\n5pel5pysDQo=\r\n");
    buffer_free(&to);
}
END_TEST

START_TEST(test_a_test_mail_says_who_sent_it)
{
    const struct letter_style style = {.from = "Events <events@example.com>", .now = INT64_C(1795399440000000)};
    struct letter letter;
    letter_write_test(&style, "Ada <ada@example.com>", "host1\r\nBcc: x", &letter);
    const char *text = buffer_text(&letter.message);
    ck_assert_str_eq(letter.recipient, "ada@example.com");
    ck_assert_str_eq(letter.sender, "events@example.com");
    ck_assert_str_eq(letter.message_id, "test.1795399440000000@example.com");
    ck_assert_ptr_nonnull(strstr(text, "Date: Mon, 23 Nov 2026 02:04:00 +0000\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "host1 Bcc: x"));
    ck_assert_ptr_null(strstr(text, "\nBcc"));
    letter_free(&letter);
}
END_TEST

/* The templates that came with turnout. */
START_TEST(test_the_templates_of_turnout_are_good)
{
    char error[512] = "";
    struct letters *letters = letters_read(TURNOUT_SOURCE_DIR "/conf/templates", NULL, error, sizeof error);
    ck_assert_msg(letters != NULL, "%s", error);
    letters_free(letters);
    ck_assert_ptr_null(letters_read("/nonexistent", NULL, error, sizeof error));
    ck_assert_str_eq(error, "/nonexistent/en/confirmation.subject: No such file or directory");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("letter");
    TCase *tests = tcase_create("letter");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_a_mailbox_is_read_or_refused, 0, sizeof mailboxes / sizeof mailboxes[0]);
    tcase_add_loop_test(tests, test_the_address_of_a_person_is_written_or_refused, 0, sizeof people / sizeof people[0]);
    tcase_add_test(tests, test_a_person_with_the_longest_address_gets_mail);
    tcase_add_loop_test(tests, test_a_subject_is_plain_or_encoded, 0, sizeof subjects / sizeof subjects[0]);
    tcase_add_loop_test(tests, test_a_name_stays_before_the_address, 0, sizeof displays / sizeof displays[0]);
    tcase_add_test(tests, test_headers_are_folded_whatever_their_length);
    tcase_add_test(tests, test_bodies_are_folded_whatever_stands_in_them);
    tcase_add_test(tests, test_a_body_is_what_it_was);
    tcase_add_test(tests, test_a_test_mail_says_who_sent_it);
    tcase_add_test(tests, test_the_templates_of_turnout_are_good);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
