/* secret: reads a secret from a file. Any process at start. */
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_SIZE_MAX 65536

static char *fail(const char *path, const char *why, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s: %s", path, why);
    return NULL;
}

static char *read_descriptor(int descriptor, const char *path, size_t *length, char *error, size_t error_size)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return fail(path, strerror(errno), error, error_size);
    if (!S_ISREG(status.st_mode))
        return fail(path, "is not a regular file", error, error_size);
    if ((status.st_mode & S_IROTH) != 0)
        return fail(path, "is readable for everybody: chmod o-rwx it", error, error_size);
    if (status.st_size > SECRET_SIZE_MAX)
        return fail(path, "is larger than 64 KiB", error, error_size);

    char *secret = malloc(SECRET_SIZE_MAX + 1);
    INVARIANT(secret != NULL);
    size_t got = 0;
    while (got < SECRET_SIZE_MAX) {
        ssize_t part = read(descriptor, secret + got, SECRET_SIZE_MAX - got);
        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0) {
            secret_free(secret, got);
            return fail(path, strerror(errno), error, error_size);
        }
        if (part == 0)
            break;
        got += (size_t)part;
    }
    if (got > 0 && secret[got - 1] == '\n')
        got--;
    secret[got] = '\0';
    if (got == 0) {
        free(secret);
        return fail(path, "is empty", error, error_size);
    }
    *length = got;
    return secret;
}

char *secret_read(const char *path, size_t *length, char *error, size_t error_size)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would block; it is refused below */
    if (descriptor < 0)
        return fail(path, strerror(errno), error, error_size);
    char *secret = read_descriptor(descriptor, path, length, error, error_size);
    close(descriptor);
    return secret;
}

void secret_free(char *secret, size_t length)
{
    if (secret == NULL)
        return;
    explicit_bzero(secret, length);
    free(secret);
}
