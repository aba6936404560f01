/* Templates say what they can say, each mistake is found when they are read and named with its line, and no value
 * becomes anything but a value. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mail/template.h"

enum { NAME, TITLE, VENUE, IS_FULL, NAMES };
static const struct template_name names[NAMES] = {
    {"name", false}, {"title", false}, {"venue", false}, {"is_full", true}};
static const char *const values[NAMES] = {"Ada", "All hands", "", NULL};

static char error[128];

static struct template *read_form(const char *text, enum template_form form)
{
    error[0] = '\0';
    return template_read(text, strlen(text), form, names, NAMES, error, sizeof error);
}

static void check_render(const char *text, enum template_form form, const char *const *with, const char *expected)
{
    struct template *template = read_form(text, form);
    struct buffer to = {0};
    ck_assert_msg(template != NULL, "%s: %s", text, error);
    template_render(template, with, &to);
    ck_assert_str_eq(buffer_text(&to), expected);
    buffer_free(&to);
    template_free(template);
}

static const struct {
    const char *text;
    const char *expected;
} readable[] = {
    {"", ""},
    {"no tag { } }} { {", "no tag { } }} { {"},
    {"Hello {{name}}, {{ title\t}}!", "Hello Ada, All hands!"},
    {"{{name}}{{name}}", "AdaAda"},
    {"[{{venue}}]", "[]"},
    {"{{#name}}yes{{/name}}{{^name}}no{{/name}}", "yes"},
    {"{{#venue}}yes{{/venue}}{{^venue}}no{{/venue}}", "no"},
    {"{{#is_full}}full{{/is_full}}{{^is_full}}free{{/is_full}}", "free"},
    {"{{#name}}a{{#venue}}b{{/venue}}c{{/name}}", "ac"},
    {"{{#venue}}a{{#name}}b{{/name}}c{{/venue}}d", "d"},
    {"{{! a remark\nof two lines }}x", "x"},
    {"a\n{{#name}}\nb\n{{/name}}\nc\n", "a\nb\nc\n"},
    {"a\n  {{#venue}}\t\nb\n  {{/venue}}  \nc\n", "a\nc\n"},
    {"a\n{{! alone }}\nb", "a\nb"},
    {"a\n{{#name}}b{{/name}}\nc", "a\nb\nc"},
    {"a\n{{name}}\nc", "a\nAda\nc"},
    {"{{#name}}\nb\n{{/name}}", "b\n"},
    {"a\r\n{{#name}}\r\nb\r\n{{/name}}\r\n", "a\nb\n"},
    {"\xef\xbb\xbfx", "x"},
};

START_TEST(test_a_template_is_rendered)
{
    check_render(readable[_i].text, TEMPLATE_TEXT, values, readable[_i].expected);
}
END_TEST

static const struct {
    enum template_form form;
    const char *text;
    const char *error;
} refused[] = {
    {TEMPLATE_TEXT, "{{nmae}}", "line 1: there is no \"nmae\""},
    {TEMPLATE_TEXT, "a\nb {{}}", "line 2: there is no \"\""},
    {TEMPLATE_TEXT, "{{#nmae}}{{/nmae}}", "line 1: there is no \"nmae\""},
    {TEMPLATE_TEXT, "a\n\n{{#name}}\nb\n", "line 3: {{#name}} is never closed"},
    {TEMPLATE_TEXT, "{{#name}}\n{{#title}}\n{{/name}}", "line 3: {{/name}} closes {{#title}} of line 2"},
    {TEMPLATE_TEXT, "x\n{{/name}}", "line 2: {{/name}} closes nothing"},
    {TEMPLATE_HTML, "{{{title}}}", "line 1: {{{ is not known here: every value is escaped"},
    {TEMPLATE_HTML, "{{&title}}", "line 1: {{& is not known here: only names, sections and remarks are"},
    {TEMPLATE_HTML, "{{>title}}", "line 1: {{> is not known here: only names, sections and remarks are"},
    {TEMPLATE_HTML, "{{=<% %>=}}", "line 1: {{= is not known here: only names, sections and remarks are"},
    {TEMPLATE_TEXT, "{{is_full}}", "line 1: \"is_full\" is for sections alone: {{#is_full}}"},
    {TEMPLATE_TEXT, "a {{name", "line 1: a tag that does not end: expected }}"},
    {TEMPLATE_TEXT, "{{#name}}{{#name}}{{#name}}{{#name}}{{#name}}{{#name}}{{#name}}{{#name}}{{#name}}",
     "line 1: sections stand in one another more than 8 deep"},
    {TEMPLATE_LINE, "one\ntwo\n", "line 1: expected one line, found more"},
    {TEMPLATE_TEXT, "a\nb\x01", "line 2: a control character (0x01)"},
    {TEMPLATE_TEXT, "a\rb", "line 1: a control character (0x0d)"},
    {TEMPLATE_TEXT, "a\xff", "line 1: the file is not UTF-8"},
};

START_TEST(test_a_mistake_is_found_when_it_is_read)
{
    ck_assert_ptr_null(read_form(refused[_i].text, refused[_i].form));
    ck_assert_str_eq(error, refused[_i].error);
}
END_TEST

START_TEST(test_a_template_may_be_as_long_as_it_says)
{
    char *text = malloc(TEMPLATE_SIZE_MAX + 2);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', TEMPLATE_SIZE_MAX + 1);
    struct template *template =
        template_read(text, TEMPLATE_SIZE_MAX, TEMPLATE_TEXT, names, NAMES, error, sizeof error);
    ck_assert_ptr_nonnull(template);
    template_free(template);
    ck_assert_ptr_null(template_read(text, TEMPLATE_SIZE_MAX + 1, TEMPLATE_TEXT, names, NAMES, error, sizeof error));
    ck_assert_str_eq(error, "line 1: the file is longer than 65536 bytes");
    free(text);
}
END_TEST

START_TEST(test_eight_sections_may_stand_in_one_another)
{
    struct buffer text = {0};
    for (int i = 0; i < TEMPLATE_DEPTH_MAX; i++)
        buffer_append_text(&text, "{{#name}}");
    buffer_append_text(&text, "x");
    for (int i = 0; i < TEMPLATE_DEPTH_MAX; i++)
        buffer_append_text(&text, "{{/name}}");
    check_render(buffer_text(&text), TEMPLATE_TEXT, values, "x");
    buffer_free(&text);
}
END_TEST

START_TEST(test_the_line_of_a_subject_may_end)
{
    check_render("You are registered: {{title}}\n", TEMPLATE_LINE, values, "You are registered: All hands");
}
END_TEST

static const struct {
    const char *value;
    const char *text;
    const char *html;
} hostile[] = {
    {"<b>\"x\" & 'y'</b>", "<b>\"x\" & 'y'</b>", "&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/b&gt;"},
    {"a\r\nBcc: b\rc\nd", "a Bcc: b c d", "a Bcc: b c d"},
    {"a\x01\x1b[31m\x7f\tb", "a[31m b", "a[31m b"},
    {"a\xc2\x85"
     "b\xc2\x90"
     "c\u2028d\u2029e",
     "a bc d e", "a bc d e"},
    {"\u202egnp.exe\u2066x\u2069\ufeff", "gnp.exex", "gnp.exex"},
    {"{{title}} {{#name}} {{{name}}}", "{{title}} {{#name}} {{{name}}}", "{{title}} {{#name}} {{{name}}}"},
    {"日本語 שלום\u200f 👩‍💻", "日本語 שלום\u200f 👩‍💻",
     "日本語 שלום\u200f 👩‍💻"},
};

START_TEST(test_a_value_stays_a_value)
{
    const char *const with[NAMES] = {"", hostile[_i].value, NULL, NULL};
    struct buffer cleaned = {0};
    check_render("{{title}}", TEMPLATE_TEXT, with, hostile[_i].text);
    check_render("{{title}}", TEMPLATE_LINE, with, hostile[_i].text);
    check_render("{{title}}", TEMPLATE_HTML, with, hostile[_i].html);
    template_append_clean(hostile[_i].value, &cleaned);
    ck_assert_str_eq(buffer_text(&cleaned), hostile[_i].text);
    buffer_free(&cleaned);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("template");
    TCase *tests = tcase_create("template");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_a_template_is_rendered, 0, sizeof readable / sizeof readable[0]);
    tcase_add_loop_test(tests, test_a_mistake_is_found_when_it_is_read, 0, sizeof refused / sizeof refused[0]);
    tcase_add_test(tests, test_a_template_may_be_as_long_as_it_says);
    tcase_add_test(tests, test_eight_sections_may_stand_in_one_another);
    tcase_add_test(tests, test_the_line_of_a_subject_may_end);
    tcase_add_loop_test(tests, test_a_value_stays_a_value, 0, sizeof hostile / sizeof hostile[0]);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
