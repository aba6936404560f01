/* letters: reads folders of templates. A language is a folder whose name is a language tag; it is whole or an error. */
#include "mail/letters.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define LANGUAGES_MAX 64
/* Where no template speaks the reader's language. */
#define LANGUAGE_OF_ALL "en"

const char *const letters_kinds[LETTERS_KINDS] = {
    [LETTERS_CONFIRMATION] = "confirmation", [LETTERS_WAITLISTED] = "waitlisted",
    [LETTERS_PROMOTED] = "promoted",         [LETTERS_CANCELLED] = "cancelled",
    [LETTERS_CHANGED] = "changed",           [LETTERS_EVENT_CANCELLED] = "event_cancelled",
    [LETTERS_REMINDER] = "reminder",         [LETTERS_SURVEY_INVITATION] = "survey_invitation",
};

static const struct {
    const char *ending;
    enum template_form form;
} parts[LETTERS_PARTS] = {
    [LETTERS_SUBJECT] = {"subject", TEMPLATE_LINE},
    [LETTERS_TEXT] = {"txt", TEMPLATE_TEXT},
    [LETTERS_HTML] = {"html", TEMPLATE_HTML},
};

static const struct template_name names[LETTERS_NAMES] = {
    [LETTERS_NAME] = {"name", false},
    [LETTERS_EMAIL] = {"email", false},
    [LETTERS_TITLE] = {"title", false},
    [LETTERS_DESCRIPTION] = {"description", false},
    [LETTERS_VENUE] = {"venue", false},
    [LETTERS_CATEGORY] = {"category", false},
    [LETTERS_WHEN] = {"when", false},
    [LETTERS_DATE] = {"date", false},
    [LETTERS_TIME] = {"time", false},
    [LETTERS_TIMEZONE] = {"timezone", false},
    [LETTERS_POSITION] = {"position", false},
    [LETTERS_EVENT_ID] = {"event_id", false},
    [LETTERS_REGISTRATION_ID] = {"registration_id", false},
    [LETTERS_PUBLIC_URL] = {"public_url", false},
    [LETTERS_EVENT_URL] = {"event_url", false},
    [LETTERS_CALENDAR_URL] = {"calendar_url", false},
    [LETTERS_REGISTRATION_URL] = {"registration_url", false},
    [LETTERS_SURVEY_URL] = {"survey_url", false},
    [LETTERS_UNSUBSCRIBE_URL] = {"unsubscribe_url", false},
    [LETTERS_REPLY_TO] = {"reply_to", false},
    [LETTERS_IS_REGISTERED] = {"is_registered", true},
    [LETTERS_IS_WAITLISTED] = {"is_waitlisted", true},
    [LETTERS_IS_CANCELLED] = {"is_cancelled", true},
    [LETTERS_HAS_CALENDAR] = {"has_calendar", true},
};

struct letters {
    size_t count;
    struct letters_language languages[LANGUAGES_MAX];
};

struct sources {
    const char *folder;
    const char *own; /* NULL: none */
    char *error;
    size_t error_size;
};

/* The whole file, at most a byte more than a template may have; the caller frees it. NULL: errno. */
static char *read_file(const char *path, size_t *length)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file < 0)
        return NULL;
    char *bytes = malloc(TEMPLATE_SIZE_MAX + 1);
    INVARIANT(bytes != NULL);
    ssize_t got = 1;
    *length = 0;
    while (*length <= TEMPLATE_SIZE_MAX && (got = read(file, bytes + *length, TEMPLATE_SIZE_MAX + 1 - *length)) > 0)
        *length += (size_t)got;
    int failed = errno;
    close(file);
    if (got >= 0)
        return bytes;
    free(bytes);
    errno = failed;
    return NULL;
}

static struct template *read_template(const struct sources *sources, const char *path, enum template_form form)
{
    char why[256];
    size_t length;
    char *bytes = read_file(path, &length);
    if (bytes == NULL) {
        snprintf(sources->error, sources->error_size, "%s: %s", path, strerror(errno));
        return NULL;
    }
    struct template *template = template_read(bytes, length, form, names, LETTERS_NAMES, why, sizeof why);
    if (template == NULL)
        snprintf(sources->error, sources->error_size, "%s: %s", path, why);
    free(bytes);
    return template;
}

/* The installation's own file, where it has one. */
static bool read_part(const struct sources *sources, struct letters_language *language, size_t kind, size_t part)
{
    char path[4096];
    const char *folder = sources->own;
    for (;;) {
        if (folder == NULL)
            folder = sources->folder;
        if (snprintf(path, sizeof path, "%s/%s/%s.%s", folder, language->tag, letters_kinds[kind],
                     parts[part].ending) >= (int)sizeof path) {
            snprintf(sources->error, sources->error_size, "%s: the name is too long", folder);
            return false;
        }
        if (folder == sources->folder || access(path, F_OK) == 0)
            break;
        folder = NULL;
    }
    language->templates[kind][part] = read_template(sources, path, parts[part].form);
    return language->templates[kind][part] != NULL;
}

/* A file with the ending of a template that is none would never be read: somebody mistyped its name. */
static bool is_misnamed(const char *file)
{
    const char *dot = strrchr(file, '.');
    bool is_template = false;
    if (dot == NULL || dot == file || file[0] == '.')
        return false;
    for (size_t i = 0; i < LETTERS_PARTS; i++)
        is_template = is_template || strcmp(dot + 1, parts[i].ending) == 0;
    if (!is_template)
        return false;
    for (size_t i = 0; i < LETTERS_KINDS; i++)
        if (strlen(letters_kinds[i]) == (size_t)(dot - file) &&
            memcmp(letters_kinds[i], file, (size_t)(dot - file)) == 0)
            return false;
    return true;
}

static bool check_names(const struct sources *sources, const char *folder, const char *tag)
{
    char path[4096];
    bool is_good = true;
    if (folder == NULL || snprintf(path, sizeof path, "%s/%s", folder, tag) >= (int)sizeof path)
        return true;
    DIR *directory = opendir(path);
    const struct dirent *entry;
    while (directory != NULL && is_good && (entry = readdir(directory)) != NULL)
        if (is_misnamed(entry->d_name)) {
            snprintf(sources->error, sources->error_size, "%s/%s: there is no mail of this name", path, entry->d_name);
            is_good = false;
        }
    if (directory != NULL)
        closedir(directory);
    return is_good;
}

static bool read_language(const struct sources *sources, struct letters_language *language)
{
    for (size_t kind = 0; kind < LETTERS_KINDS; kind++)
        for (size_t part = 0; part < LETTERS_PARTS; part++)
            if (!read_part(sources, language, kind, part))
                return false;
    return check_names(sources, sources->folder, language->tag) && check_names(sources, sources->own, language->tag);
}

/* "ja", "pt-BR" */
static bool is_tag(const char *name)
{
    size_t letters = 0;
    while (isalpha((unsigned char)name[letters]))
        letters++;
    return letters >= 2 && letters <= 3 &&
           (name[letters] == '\0' || (name[letters] == '-' && isalnum((unsigned char)name[letters + 1]))) &&
           strlen(name) < sizeof((struct letters_language *)0)->tag;
}

static bool has_language(const struct letters *letters, const char *tag)
{
    for (size_t i = 0; i < letters->count; i++)
        if (strcasecmp(letters->languages[i].tag, tag) == 0)
            return true;
    return false;
}

static bool add_language(const struct sources *sources, struct letters *letters, const char *tag)
{
    if (has_language(letters, tag))
        return true;
    if (letters->count == LANGUAGES_MAX) {
        snprintf(sources->error, sources->error_size, "%s: more than %d languages", sources->folder, LANGUAGES_MAX);
        return false;
    }
    struct letters_language *language = &letters->languages[letters->count++];
    snprintf(language->tag, sizeof language->tag, "%s", tag);
    return read_language(sources, language);
}

static bool read_folder(const struct sources *sources, struct letters *letters, const char *folder)
{
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    bool is_good = directory != NULL;
    if (directory == NULL)
        snprintf(sources->error, sources->error_size, "%s: %s", folder, strerror(errno));
    while (is_good && (entry = readdir(directory)) != NULL)
        if (is_tag(entry->d_name))
            is_good = add_language(sources, letters, entry->d_name);
    if (directory != NULL)
        closedir(directory);
    return is_good;
}

struct letters *letters_read(const char *folder, const char *own, char *error, size_t error_size)
{
    const struct sources sources = {folder, own, error, error_size};
    struct letters *letters = calloc(1, sizeof *letters);
    INVARIANT(letters != NULL);
    /* the one that must be there first, so that a folder without any names its file */
    if (add_language(&sources, letters, LANGUAGE_OF_ALL) && read_folder(&sources, letters, folder) &&
        (own == NULL || read_folder(&sources, letters, own)))
        return letters;
    letters_free(letters);
    return NULL;
}

void letters_free(struct letters *letters)
{
    if (letters == NULL)
        return;
    for (size_t i = 0; i < letters->count; i++)
        for (size_t kind = 0; kind < LETTERS_KINDS; kind++)
            for (size_t part = 0; part < LETTERS_PARTS; part++)
                template_free(letters->languages[i].templates[kind][part]);
    free(letters);
}

const struct letters_language *letters_language_of(const struct letters *letters, const char *locale)
{
    const struct letters_language *found = NULL;
    size_t found_length = 0;
    for (size_t i = 0; i < letters->count; i++) {
        const struct letters_language *language = &letters->languages[i];
        size_t length = strlen(language->tag);
        bool fits =
            strncasecmp(locale, language->tag, length) == 0 && (locale[length] == '\0' || locale[length] == '-');
        if ((fits && length > found_length) || (found == NULL && strcmp(language->tag, LANGUAGE_OF_ALL) == 0)) {
            found = language;
            found_length = fits ? length : 0;
        }
    }
    INVARIANT(found != NULL);
    return found;
}
