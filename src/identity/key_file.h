/* key_file: the key set of a file that changes while we run: read again when somebody says so, and when a token names a
 * key that is not there. Worker. A file that cannot be used leaves the set in force that was read before. */
#ifndef IDENTITY_KEY_FILE_H
#define IDENTITY_KEY_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/object.h"
#include "identity/key_set.h"

struct key_file;

enum key_file_result {
    KEY_FILE_CHANGED, /* other keys are in force: whatever was decided by the old ones is to be forgotten */
    KEY_FILE_SAME,    /* the file's text is what it was */
    KEY_FILE_BROKEN,  /* the keys read before stay in force; `error` says why */
    KEY_FILE_EARLY,   /* the last try was a moment ago; the file was not touched */
};

/* Reads the file for the first time. NULL: `error` says why. `now` is clock_monotonic, here and below. */
struct key_file *key_file_open(const char *path, int64_t now, char *error, size_t error_size) MUST_CHECK;
void key_file_close(struct key_file *file);

/* The keys in force. The pointer holds until the next call of key_file_read or key_file_look. */
const struct key_set *key_file_keys(const struct key_file *file);

/* Reads the file, which may be another one than before. */
enum key_file_result key_file_read(struct key_file *file, const char *path, int64_t now, char *error,
                                   size_t error_size) MUST_CHECK;
/* The same after a token whose key is not known, which anybody can send: not sooner than `interval` (microseconds)
 * after the last reading. */
enum key_file_result key_file_look(struct key_file *file, const char *path, int64_t interval, int64_t now, char *error,
                                   size_t error_size) MUST_CHECK;

#endif
