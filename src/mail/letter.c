/* letter: puts a message together. What may stand in which place is decided where it is written: names and titles reach
 * headers through mime, bodies through templates, the calendar through calendar_write, and no other way. */
#include "mail/letter.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "mail/calendar.h"
#include "mail/letters.h"
#include "mail/local_time.h"
#include "mail/mime.h"

/* No line of a body begins with them (mime_body). An empty line stands before each: the end of the line before it is a
 * part of the boundary, and the last line of a calendar needs its own (RFC 5545). */
#define OUTER_BOUNDARY "=_turnout-mixed"
#define INNER_BOUNDARY "=_turnout-texts"
#define URL_SIZE 1024

/* Of the calendar that a kind of mail brings; CALENDAR_NO_METHOD: it brings none. */
static const enum calendar_method methods[LETTERS_KINDS] = {
    [LETTERS_CONFIRMATION] = CALENDAR_REQUEST, [LETTERS_WAITLISTED] = CALENDAR_NO_METHOD,
    [LETTERS_PROMOTED] = CALENDAR_REQUEST,     [LETTERS_CANCELLED] = CALENDAR_CANCEL,
    [LETTERS_CHANGED] = CALENDAR_REQUEST,      [LETTERS_EVENT_CANCELLED] = CALENDAR_CANCEL,
    [LETTERS_REMINDER] = CALENDAR_NO_METHOD,   [LETTERS_SURVEY_INVITATION] = CALENDAR_NO_METHOD,
};

/* What is known of a letter while it is written. Texts are those of `owed`, of the style, or stand here. */
struct writing {
    const struct letter_style *style;
    struct letter *letter;
    enum letters_kind kind;
    const struct letters_language *language;
    enum calendar_method method;
    const char *dedupe_key;
    const char *unsubscribe_url; /* NULL: nobody can unsubscribe from these mails */
    const char *locale;
    const char *person;
    struct calendar_event event;
    struct buffer from_name;
    char reply_to[MIME_ADDRESS_SIZE];
    struct buffer reply_to_name;
    struct local_time start;
    struct local_time end;
    struct buffer when;
    struct buffer date;
    struct buffer time;
    char position[24];
    char event_url[URL_SIZE];
    char calendar_url[URL_SIZE];
    char registration_url[URL_SIZE];
    char survey_url[URL_SIZE];
    const char *values[LETTERS_NAMES];
    char *error;
    size_t error_size;
};

static bool lacks(const struct writing *writing, const char *what)
{
    snprintf(writing->error, writing->error_size, "the row of the letter has no usable %s", what);
    return false;
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* ---- reading what is owed ---- */

static bool read_kind(struct writing *writing, const char *kind)
{
    for (size_t i = 0; kind != NULL && i < LETTERS_KINDS; i++)
        if (strcmp(letters_kinds[i], kind) == 0) {
            writing->kind = (enum letters_kind)i;
            return true;
        }
    return lacks(writing, "kind");
}

static bool read_person(struct writing *writing, const json_t *to)
{
    const char *email = text_of(to, "email");
    writing->person = text_of(to, "name");
    writing->locale = text_of(to, "locale");
    if (email == NULL || !mime_write_address(email, writing->letter->recipient))
        return lacks(writing, "to.email");
    if (writing->person == NULL)
        return lacks(writing, "to.name");
    if (writing->locale == NULL)
        return lacks(writing, "to.locale");
    return true;
}

static bool read_event(struct writing *writing, const json_t *event)
{
    const char *start = text_of(event, "local_start");
    const char *end = text_of(event, "local_end");
    const char *offset_start = text_of(event, "offset_start");
    const char *offset_end = text_of(event, "offset_end");
    if (!calendar_read(event, &writing->event))
        return lacks(writing, "event");
    if (start == NULL || offset_start == NULL || !local_time_read(start, offset_start, &writing->start))
        return lacks(writing, "event.local_start and offset_start");
    if (end == NULL || offset_end == NULL || !local_time_read(end, offset_end, &writing->end))
        return lacks(writing, "event.local_end and offset_end");
    return true;
}

static bool read_registration(struct writing *writing, const json_t *event, const json_t *registration)
{
    const char *status = text_of(registration, "status");
    const json_t *position = json_object_get(registration, "position");
    const json_t *generation = json_object_get(registration, "generation");
    bool is_left = writing->kind == LETTERS_CANCELLED;
    if (status == NULL || text_of(registration, "id") == NULL || !json_is_integer(generation))
        return lacks(writing, "registration");
    if (json_is_integer(position))
        snprintf(writing->position, sizeof writing->position, "%lld", (long long)json_integer_value(position));
    writing->event.sequence = calendar_sequence(json_integer_value(json_object_get(event, "version")),
                                                json_integer_value(generation), is_left);
    if (strcmp(status, "registered") == 0)
        writing->values[LETTERS_IS_REGISTERED] = "1";
    else if (strcmp(status, "waitlisted") == 0)
        writing->values[LETTERS_IS_WAITLISTED] = "1";
    else
        writing->values[LETTERS_IS_CANCELLED] = "1";
    return true;
}

static void write_url(const struct writing *writing, char url[URL_SIZE], const char *path, const char *id,
                      const char *ending)
{
    const char *public_url = writing->style->public_url;
    url[0] = '\0';
    if (public_url != NULL && snprintf(url, URL_SIZE, "%s%s%s%s", public_url, path, id, ending) >= URL_SIZE)
        url[0] = '\0';
}

static void fill_values(struct writing *writing, const json_t *owed)
{
    const struct local_time_style style = {writing->language->tag, writing->locale};
    const struct calendar_event *event = &writing->event;
    const char *registration = text_of(json_object_get(owed, "registration"), "id");
    const char **values = writing->values;
    local_time_span(&style, &writing->start, &writing->end, event->timezone, &writing->when);
    local_time_date(&style, &writing->start, &writing->date);
    local_time_clock(&style, &writing->start, &writing->time);
    write_url(writing, writing->event_url, "/api/events/", event->id, "");
    write_url(writing, writing->calendar_url, "/api/events/", event->id, "/calendar.ics");
    write_url(writing, writing->survey_url, "/api/surveys/", event->id, "");
    write_url(writing, writing->registration_url, "/api/registrations/", registration, "");
    values[LETTERS_NAME] = writing->person;
    values[LETTERS_EMAIL] = writing->letter->recipient;
    values[LETTERS_TITLE] = event->title;
    values[LETTERS_DESCRIPTION] = event->description;
    values[LETTERS_VENUE] = event->venue;
    values[LETTERS_CATEGORY] = event->category;
    values[LETTERS_WHEN] = buffer_text(&writing->when);
    values[LETTERS_DATE] = buffer_text(&writing->date);
    values[LETTERS_TIME] = buffer_text(&writing->time);
    values[LETTERS_TIMEZONE] = event->timezone;
    values[LETTERS_POSITION] = writing->position;
    values[LETTERS_EVENT_ID] = event->id;
    values[LETTERS_REGISTRATION_ID] = registration;
    values[LETTERS_PUBLIC_URL] = writing->style->public_url;
    values[LETTERS_EVENT_URL] = writing->event_url;
    values[LETTERS_CALENDAR_URL] = writing->calendar_url;
    values[LETTERS_REGISTRATION_URL] = writing->registration_url;
    values[LETTERS_SURVEY_URL] = writing->survey_url;
    values[LETTERS_UNSUBSCRIBE_URL] = writing->unsubscribe_url;
    values[LETTERS_REPLY_TO] = writing->reply_to;
    values[LETTERS_HAS_CALENDAR] = writing->method == CALENDAR_NO_METHOD ? "" : "1";
}

/* The addresses of the installation, which were checked with its configuration. */
static bool read_style(struct writing *writing)
{
    const struct letter_style *style = writing->style;
    return mime_read_mailbox(style->from, writing->letter->sender, &writing->from_name, writing->error,
                             writing->error_size) &&
           (style->reply_to == NULL || mime_read_mailbox(style->reply_to, writing->reply_to, &writing->reply_to_name,
                                                         writing->error, writing->error_size));
}

/* Distinct keys give distinct names, and each a dot-atom (RFC 5322, 3.6.4): ':' is '.', and what no atom holds, or
 * would be a dot too many, is written by its number. */
static bool write_message_id(struct writing *writing)
{
    struct buffer id = {0};
    const char *key = writing->dedupe_key;
    if (key == NULL || key[0] == '\0')
        return lacks(writing, "dedupe_key");
    for (const char *at = key; *at != '\0'; at++) {
        bool is_dot = *at == ':' && at > key && at[1] != '\0' && at[-1] != ':';
        if (is_dot || isalnum((unsigned char)*at) || strchr("+-_", *at) != NULL)
            buffer_append(&id, is_dot ? "." : at, 1);
        else
            buffer_printf(&id, "=%02X", (unsigned char)*at);
    }
    int length = snprintf(writing->letter->message_id, sizeof writing->letter->message_id, "%s@%s", buffer_text(&id),
                          mime_domain(writing->letter->sender));
    buffer_free(&id);
    return length < (int)sizeof writing->letter->message_id || lacks(writing, "dedupe_key");
}

static bool read_owed(struct writing *writing, const struct letters *letters, const json_t *owed)
{
    if (!read_style(writing) || !read_kind(writing, text_of(owed, "kind")) ||
        !read_person(writing, json_object_get(owed, "to")) || !read_event(writing, json_object_get(owed, "event")) ||
        !read_registration(writing, json_object_get(owed, "event"), json_object_get(owed, "registration")))
        return false;
    writing->dedupe_key = text_of(owed, "dedupe_key");
    writing->language = letters_language_of(letters, writing->locale);
    writing->unsubscribe_url = text_of(owed, "group") == NULL ? NULL : writing->style->unsubscribe_url;
    writing->method = methods[writing->kind];
    /* who waits has no entry in the calendar that could change */
    if (writing->method == CALENDAR_REQUEST && writing->values[LETTERS_IS_REGISTERED] == NULL)
        writing->method = CALENDAR_NO_METHOD;
    fill_values(writing, owed);
    return write_message_id(writing);
}

/* ---- writing ---- */

static void write_mailbox(struct buffer *to, const char *header, const char *name, const char *address)
{
    struct buffer cleaned = {0};
    template_append_clean(name, &cleaned);
    mime_mailbox_header(to, header, buffer_text(&cleaned), address);
    buffer_free(&cleaned);
}

/* The headers that every message has. */
static void write_first_headers(struct buffer *to, const struct letter_style *style, const char *from_name,
                                const struct letter *letter)
{
    mime_date_header(to, style->now);
    write_mailbox(to, "From", from_name, letter->sender);
    buffer_printf(to, "Message-ID: <%s>\r\nMIME-Version: 1.0\r\n", letter->message_id);
    /* RFC 3834; the second is for a server that does not know it and would answer each with "out of office" */
    buffer_append_text(to, "Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: OOF, AutoReply\r\n");
}

static void write_subject(const struct writing *writing, struct buffer *to)
{
    struct buffer subject = {0};
    template_render(writing->language->templates[writing->kind][LETTERS_SUBJECT], writing->values, &subject);
    mime_text_header(to, "Subject", buffer_text(&subject));
    buffer_free(&subject);
}

static void write_headers(struct writing *writing, struct buffer *to)
{
    const char *domain = mime_domain(writing->letter->sender);
    write_first_headers(to, writing->style, buffer_text(&writing->from_name), writing->letter);
    write_mailbox(to, "To", writing->person, writing->letter->recipient);
    if (writing->style->reply_to != NULL)
        write_mailbox(to, "Reply-To", buffer_text(&writing->reply_to_name), writing->reply_to);
    write_subject(writing, to);
    /* no message has this name: it is what all mails of an event have in common, so that they are shown together */
    buffer_printf(to, "In-Reply-To: <event.%s@%s>\r\n", writing->event.id, domain);
    buffer_printf(to, "References: <event.%s@%s>\r\n", writing->event.id, domain);
    if (writing->unsubscribe_url != NULL) /* RFC 2369, RFC 8058 */
        buffer_printf(to, "List-Unsubscribe: <%s>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
                      writing->unsubscribe_url);
    buffer_printf(to, "Content-Language: %s\r\n", writing->language->tag);
}

static void write_part(const struct writing *writing, enum letters_part part, const char *type, struct buffer *to)
{
    struct buffer body = {0};
    template_render(writing->language->templates[writing->kind][part], writing->values, &body);
    buffer_printf(to, "Content-Type: %s; charset=utf-8\r\n", type);
    mime_body(to, buffer_text(&body), buffer_length(&body));
    buffer_free(&body);
}

/* As one of the alternatives: what the mail is to a program that knows calendars. Exchange and Outlook read an
 * invitation there and nowhere else. */
static void write_invitation(const struct writing *writing, const struct buffer *calendar, struct buffer *to)
{
    buffer_printf(to, "Content-Type: text/calendar; charset=utf-8; method=%s\r\n",
                  writing->method == CALENDAR_CANCEL ? "CANCEL" : "REQUEST");
    mime_body(to, buffer_bytes(calendar), buffer_length(calendar));
}

/* As a file, for programs that leave it to their reader, by a type that no program takes for a second invitation. */
static void write_file(const struct buffer *calendar, struct buffer *to)
{
    buffer_append_text(to, "Content-Type: application/ics; name=\"event.ics\"\r\n"
                           "Content-Disposition: attachment; filename=\"event.ics\"\r\n");
    mime_body(to, buffer_bytes(calendar), buffer_length(calendar));
}

/* The later one is the better one (RFC 2046, 5.1.4). `calendar` empty: none. */
static void write_alternatives(const struct writing *writing, const struct buffer *calendar, struct buffer *to)
{
    buffer_append_text(to, "Content-Type: multipart/alternative; boundary=\"" INNER_BOUNDARY "\"\r\n\r\n");
    buffer_append_text(to, "--" INNER_BOUNDARY "\r\n");
    write_part(writing, LETTERS_TEXT, "text/plain", to);
    buffer_append_text(to, "\r\n--" INNER_BOUNDARY "\r\n");
    write_part(writing, LETTERS_HTML, "text/html", to);
    if (buffer_length(calendar) > 0) {
        buffer_append_text(to, "\r\n--" INNER_BOUNDARY "\r\n");
        write_invitation(writing, calendar, to);
    }
    buffer_append_text(to, "\r\n--" INNER_BOUNDARY "--\r\n");
}

static void make_calendar(struct writing *writing, struct buffer *text)
{
    const struct calendar calendar = {
        .method = writing->method,
        .organizer = {buffer_text(&writing->from_name), writing->letter->sender},
        .attendee = {writing->person, writing->letter->recipient},
        .now = writing->style->now,
    };
    if (writing->method != CALENDAR_NO_METHOD)
        calendar_write(&calendar, &writing->event, 1, text);
}

static void write_message(struct writing *writing)
{
    struct buffer *to = &writing->letter->message;
    struct buffer calendar = {0};
    write_headers(writing, to);
    make_calendar(writing, &calendar);
    if (buffer_length(&calendar) == 0) {
        write_alternatives(writing, &calendar, to);
        return;
    }
    buffer_append_text(to, "Content-Type: multipart/mixed; boundary=\"" OUTER_BOUNDARY "\"\r\n\r\n");
    buffer_append_text(to, "--" OUTER_BOUNDARY "\r\n");
    write_alternatives(writing, &calendar, to);
    buffer_append_text(to, "\r\n--" OUTER_BOUNDARY "\r\n");
    write_file(&calendar, to);
    buffer_append_text(to, "\r\n--" OUTER_BOUNDARY "--\r\n");
    buffer_free(&calendar);
}

bool letter_write(const struct letters *letters, const struct letter_style *style, const json_t *owed,
                  struct letter *letter, char *error, size_t error_size)
{
    struct writing writing = {.style = style, .letter = letter, .error = error, .error_size = error_size};
    *letter = (struct letter){0};
    bool is_good = read_owed(&writing, letters, owed);
    if (is_good)
        write_message(&writing);
    struct buffer *const used[] = {&writing.from_name, &writing.reply_to_name, &writing.when, &writing.date,
                                   &writing.time};
    for (size_t i = 0; i < sizeof used / sizeof used[0]; i++)
        buffer_free(used[i]);
    return is_good;
}

void letter_write_test(const struct letter_style *style, const char *address, const char *host, struct letter *letter)
{
    struct buffer name = {0};
    struct buffer to_name = {0};
    struct buffer text = {0};
    struct buffer *to = &letter->message;
    char error[256];
    *letter = (struct letter){0};
    INVARIANT(mime_read_mailbox(style->from, letter->sender, &name, error, sizeof error));
    INVARIANT(mime_read_mailbox(address, letter->recipient, &to_name, error, sizeof error));
    snprintf(letter->message_id, sizeof letter->message_id, "test.%lld@%s", (long long)style->now,
             mime_domain(letter->sender));
    write_first_headers(to, style, buffer_text(&name), letter);
    write_mailbox(to, "To", buffer_text(&to_name), letter->recipient);
    mime_text_header(to, "Subject", "A test of turnout's mail");
    buffer_append_text(to, "Content-Language: en\r\nContent-Type: text/plain; charset=utf-8\r\n");
    buffer_append_text(
        &text, "Hello,\n\nthis is the test mail that was asked for with `turnoutctl mail test`.\nturnout on the host ");
    template_append_clean(host, &text);
    buffer_append_text(&text, " sent it: mail leaves, and arrives here.\n\nNobody needs to do anything.\n");
    mime_body(to, buffer_bytes(&text), buffer_length(&text));
    buffer_free(&text);
    buffer_free(&to_name);
    buffer_free(&name);
}

void letter_free(struct letter *letter)
{
    buffer_free(&letter->message);
}

bool letter_check_address(const char *address, char *error, size_t error_size)
{
    char bare[MIME_ADDRESS_SIZE];
    struct buffer name = {0};
    bool is_good = mime_read_mailbox(address, bare, &name, error, error_size);
    buffer_free(&name);
    return is_good;
}
