/* replay: runs a fuzz target over files, for builds without libFuzzer: those that are named, or else the target's
 * corpus and the inputs that once broke it. A file that breaks it again ends the process; the last name in the output
 * is its. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "target.h"

static size_t replayed;

static void replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    MUST(file != NULL && fstat(fileno(file), &status) == 0);
    size_t size = (size_t)status.st_size;
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    MUST(bytes != NULL && fread(bytes, 1, size, file) == size);
    fclose(file);
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    replayed++;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In the order of their names. false: there is no such folder. */
static int replay_folder(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_visible, alphasort);
    for (int i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        replay_file(name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return count >= 0;
}

static void replay_own(const char *kind, const char *target)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/fuzz/%s/%s", TURNOUT_SOURCE_DIR, kind, target);
    replay_folder(path);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!replay_folder(argv[i]))
            replay_file(argv[i]);
    }
    if (argc == 1) {
        const char *target = strstr(program_invocation_short_name, "fuzz_");
        MUST(target != NULL);
        replay_own("corpus", target + strlen("fuzz_"));
        MUST(replayed > 0); /* a corpus that is not found would pass as one that is fine */
        replay_own("regression", target + strlen("fuzz_"));
    }
    printf("%zu inputs replayed\n", replayed);
    return EXIT_SUCCESS;
}
