/* sql_files: the folder of migrations and rules. turnoutctl, and the master at its start, which reads names only; reads
 * files, nothing else. */
#include "pg/sql_files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "pg/migrate.h"

static bool read_folder(struct pg_sql_files *list, const char *sql_directory, const char *folder, bool with_texts,
                        char *error, size_t error_size);
static bool check_schema(struct pg_sql_files *list, const char *sql_directory, char *error, size_t error_size);
static int is_sql(const struct dirent *entry);
static bool read_file(struct pg_sql_file *file, const char *path, char *error, size_t error_size);
static bool number_files(struct pg_sql_files *list, char *error, size_t error_size);
static int version_of(const char *name);
static void finish_checksum(EVP_MD_CTX *digest, char checksum[PG_SHA256_TEXT_SIZE]);
static EVP_MD_CTX *begin_checksum(void);

bool pg_schema_expected(const char *sql_directory, int *version, char *error, size_t error_size)
{
    struct pg_sql_files list;
    if (!read_folder(&list, sql_directory, "schema", false, error, error_size) ||
        !check_schema(&list, sql_directory, error, error_size))
        return false;
    *version = list.count;
    pg_sql_files_free(&list);
    return true;
}

bool pg_sql_files_read_schema(struct pg_sql_files *list, const char *sql_directory, char *error, size_t error_size)
{
    return read_folder(list, sql_directory, "schema", true, error, error_size) &&
           check_schema(list, sql_directory, error, error_size);
}

static bool check_schema(struct pg_sql_files *list, const char *sql_directory, char *error, size_t error_size)
{
    bool good = list->count > 0;
    if (!good)
        snprintf(error, error_size, "%s/schema holds no migrations", sql_directory);
    good = good && number_files(list, error, error_size);
    if (!good)
        pg_sql_files_free(list);
    return good;
}

bool pg_sql_files_read_rules(struct pg_sql_files *list, const char *sql_directory, char *error, size_t error_size)
{
    return read_folder(list, sql_directory, "rules", true, error, error_size);
}

void pg_sql_files_free(struct pg_sql_files *list)
{
    for (int i = 0; i < list->count; i++) {
        free(list->files[i].name);
        free(list->files[i].text);
    }
    free(list->files);
    *list = (struct pg_sql_files){.files = NULL, .count = 0};
}

/* Each name and text with the NUL behind it: moving a line from one file to the next is a change. */
void pg_sql_files_checksum(const struct pg_sql_files *list, char checksum[PG_SHA256_TEXT_SIZE])
{
    EVP_MD_CTX *digest = begin_checksum();
    for (int i = 0; i < list->count; i++) {
        const struct pg_sql_file *file = &list->files[i];
        INVARIANT(EVP_DigestUpdate(digest, file->name, strlen(file->name) + 1) == 1);
        INVARIANT(EVP_DigestUpdate(digest, file->text, strlen(file->text) + 1) == 1);
    }
    finish_checksum(digest, checksum);
}

static bool read_folder(struct pg_sql_files *list, const char *sql_directory, const char *folder, bool with_texts,
                        char *error, size_t error_size)
{
    char path[4096];
    struct dirent **entries;
    *list = (struct pg_sql_files){.files = NULL, .count = 0};
    snprintf(path, sizeof path, "%s/%s", sql_directory, folder);
    int count = scandir(path, &entries, is_sql, alphasort);
    if (count < 0) {
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
        return false;
    }
    list->files = calloc((size_t)count + 1, sizeof list->files[0]);
    INVARIANT(list->files != NULL);
    bool good = true;
    for (int i = 0; i < count; i++) {
        struct pg_sql_file *file = &list->files[list->count];
        snprintf(path, sizeof path, "%s/%s/%s", sql_directory, folder, entries[i]->d_name);
        good = good && (!with_texts || read_file(file, path, error, error_size));
        if (good) {
            file->name = strdup(entries[i]->d_name);
            INVARIANT(file->name != NULL);
            list->count++;
        }
        free(entries[i]);
    }
    free(entries);
    if (!good)
        pg_sql_files_free(list);
    return good;
}

/* Not what editors and packagers leave beside: .x.sql.swp, x.sql~, x.sql.dpkg-old. */
static int is_sql(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > 4 && strcmp(entry->d_name + length - 4, ".sql") == 0;
}

static bool read_file(struct pg_sql_file *file, const char *path, char *error, size_t error_size)
{
    FILE *stream = fopen(path, "re");
    if (stream == NULL) {
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
        return false;
    }
    struct buffer content = {.memory = NULL};
    char block[8192];
    size_t got;
    while ((got = fread(block, 1, sizeof block, stream)) > 0)
        buffer_append(&content, block, got);
    const char *why = ferror(stream) ? strerror(errno) : NULL;
    size_t length = buffer_length(&content);
    if (why == NULL && length > 0 && memchr(buffer_bytes(&content), '\0', length) != NULL)
        why = "holds a NUL byte";
    fclose(stream);
    if (why == NULL) {
        file->text = strdup(buffer_text(&content));
        INVARIANT(file->text != NULL);
        EVP_MD_CTX *digest = begin_checksum();
        INVARIANT(EVP_DigestUpdate(digest, file->text, length) == 1);
        finish_checksum(digest, file->checksum);
    } else {
        snprintf(error, error_size, "%s: %s", path, why);
    }
    buffer_free(&content);
    return why == NULL;
}

/* A gap or a number given twice is a merge gone wrong: another host would apply another order. */
static bool number_files(struct pg_sql_files *list, char *error, size_t error_size)
{
    for (int i = 0; i < list->count; i++) {
        struct pg_sql_file *file = &list->files[i];
        file->version = version_of(file->name);
        if (file->version == 0)
            snprintf(error, error_size, "schema/%s is not named NNNN_name.sql, with small letters, digits and _",
                     file->name);
        else if (i > 0 && file->version == list->files[i - 1].version)
            snprintf(error, error_size, "schema/%s and schema/%s have the same number", list->files[i - 1].name,
                     file->name);
        else if (file->version != i + 1)
            snprintf(error, error_size, "schema/%04d_*.sql is missing: the next file is schema/%s", i + 1, file->name);
        else
            continue;
        return false;
    }
    return true;
}

/* 0: not a name of a migration. */
static int version_of(const char *name)
{
    for (int i = 0; i < 4; i++)
        if (!isdigit((unsigned char)name[i]))
            return 0;
    size_t rest = strspn(name + 5, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (name[4] != '_' || rest == 0 || strcmp(name + 5 + rest, ".sql") != 0)
        return 0;
    return (int)strtol(name, NULL, 10);
}

static EVP_MD_CTX *begin_checksum(void)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    INVARIANT(digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1);
    return digest;
}

static void finish_checksum(EVP_MD_CTX *digest, char checksum[PG_SHA256_TEXT_SIZE])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int length;
    INVARIANT(EVP_DigestFinal_ex(digest, bytes, &length) == 1);
    EVP_MD_CTX_free(digest);
    for (unsigned int i = 0; i < length && i * 2 + 2 < PG_SHA256_TEXT_SIZE; i++)
        snprintf(checksum + i * 2, 3, "%02x", bytes[i]);
}
