/* key_file: which keys are in force, and when their file is read again. Worker. Reads the file, keeps the set; nothing
 * else holds one. A reading blocks for as long as a small regular file takes: key_set_read opens nothing else. */
#include "identity/key_file.h"

#include <stdlib.h>

#define KEY_FILE_MAGIC 0x4b464c45u

struct key_file {
    OBJECT_HEADER;
    struct key_set *keys; /* never NULL */
    int64_t read_at;      /* or tried to; clock_monotonic */
};

static void check(const struct key_file *file)
{
    OBJECT_CHECK(file, KEY_FILE_MAGIC);
}

struct key_file *key_file_open(const char *path, int64_t now, char *error, size_t error_size)
{
    struct key_set *keys = key_set_read(path, error, error_size);
    struct key_file *file;

    if (keys == NULL)
        return NULL;
    file = calloc(1, sizeof *file);
    INVARIANT(file != NULL);
    file->magic = KEY_FILE_MAGIC;
    file->keys = keys;
    file->read_at = now;
    return file;
}

void key_file_close(struct key_file *file)
{
    if (file == NULL)
        return;
    check(file);
    key_set_free(file->keys);
    OBJECT_BURY(file);
    free(file);
}

const struct key_set *key_file_keys(const struct key_file *file)
{
    check(file);
    return file->keys;
}

enum key_file_result key_file_read(struct key_file *file, const char *path, int64_t now, char *error, size_t error_size)
{
    struct key_set *keys;

    check(file);
    file->read_at = now;
    keys = key_set_read(path, error, error_size);
    if (keys == NULL)
        return KEY_FILE_BROKEN;
    if (key_set_is_same(keys, file->keys)) {
        key_set_free(keys);
        return KEY_FILE_SAME;
    }
    key_set_free(file->keys);
    file->keys = keys;
    return KEY_FILE_CHANGED;
}

enum key_file_result key_file_look(struct key_file *file, const char *path, int64_t interval, int64_t now, char *error,
                                   size_t error_size)
{
    check(file);
    if (now - file->read_at < interval)
        return KEY_FILE_EARLY;
    return key_file_read(file, path, now, error, error_size);
}
