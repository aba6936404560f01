/* fuzz_configuration: the configuration file.
 *
 * What must hold: a file that is refused gives one line that names the file; one that is accepted has no zero byte, and
 * gives values that, written as `show config` shows them, are read as the same values. */
#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/configuration.h"
#include "target.h"

static struct configuration *read_text(const char *text, size_t length, char *error, size_t error_size)
{
    static int file = -1;
    static char path[64];
    if (file < 0) {
        file = memfd_create("turnout.conf", MFD_CLOEXEC);
        MUST(file >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    MUST(ftruncate(file, 0) == 0 && pwrite(file, text, length, 0) == (ssize_t)length);
    struct configuration *configuration = configuration_read(path, error, error_size);
    MUST(configuration != NULL || strstr(error, path) != NULL || strncmp(error, "default: ", 9) == 0);
    return configuration;
}

static void write_row(void *context, const char *name, const char *value, const char *preset, const char *origin)
{
    MUST(preset != NULL && origin[0] != '\0');
    buffer_printf(context, "%s = %s\n", name, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char error[512] = "";
    struct configuration *first = read_text((const char *)bytes, size, error, sizeof error);
    if (first == NULL) {
        MUST(strlen(error) < sizeof error && error[0] != '\0' && strchr(error, '\n') == NULL);
        return 0;
    }
    MUST(memchr(bytes, '\0', size) == NULL);
    struct buffer shown = {0};
    struct buffer again = {0};
    configuration_each(first, write_row, &shown);
    struct configuration *second = read_text(buffer_text(&shown), buffer_length(&shown), error, sizeof error);
    if (second == NULL) {
        fprintf(stderr, "%s\n--- of:\n%s", error, buffer_text(&shown));
        fuzz_failed(__FILE__, __LINE__, "what is shown can be read");
    }
    configuration_each(second, write_row, &again);
    MUST(strcmp(buffer_text(&shown), buffer_text(&again)) == 0);
    buffer_free(&shown);
    buffer_free(&again);
    configuration_free(first);
    configuration_free(second);
    return 0;
}
