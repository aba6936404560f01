/* usage: CPU time, memory, descriptors and lost log lines of the process itself. It reads /proc/self and writes its own
 * statistics page. */
#include "shm/usage.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/statistics.h"

/* Counting descriptors one by one takes a millisecond for some thousands: at most once in so many microseconds. */
#define COUNT_INTERVAL INT64_C(10000000)

/* What has been added to the page, by the process `pid`: a child begins with its parent's memory, not with its time. */
static struct {
    pid_t pid;
    int64_t user, system, lines_dropped;
    int64_t descriptors_at;
} told;

static void tell_growth(enum statistics_family family, unsigned second, int64_t now, int64_t *before)
{
    if (now > *before)
        statistics_add(family, statistics_role(), second, now - *before);
    *before = now;
}

static int64_t microseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

static int64_t resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    fclose(file);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static void tell_descriptors(void)
{
    static const char folder[] = "/proc/self/fd";
    struct stat file;
    int64_t count = 0;
    if (stat(folder, &file) == 0 && file.st_size > 0) {
        count = file.st_size; /* Linux 6.2 and newer says it at once */
    } else {
        int64_t now = clock_monotonic();
        if (told.descriptors_at != 0 && now - told.descriptors_at < COUNT_INTERVAL)
            return;
        told.descriptors_at = now;
        DIR *directory = opendir(folder);
        if (directory == NULL)
            return;
        while (readdir(directory) != NULL)
            count++;
        closedir(directory);
        count -= 3; /* ".", ".." and the folder itself */
    }
    statistics_set(STATISTICS_DESCRIPTORS, statistics_role(), LABEL_NONE_ONE, count);
}

void usage_sample(void)
{
    struct rusage usage;
    if (told.pid != getpid()) {
        told.pid = getpid();
        told.user = told.system = told.descriptors_at = 0;
    }
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        tell_growth(STATISTICS_CPU, LABEL_MODE_USER, microseconds(usage.ru_utime), &told.user);
        tell_growth(STATISTICS_CPU, LABEL_MODE_SYSTEM, microseconds(usage.ru_stime), &told.system);
    }
    tell_growth(STATISTICS_LOG_LINES_DROPPED, LABEL_NONE_ONE, log_lines_dropped(), &told.lines_dropped);
    statistics_set(STATISTICS_RESIDENT, statistics_role(), LABEL_NONE_ONE, resident_bytes());
    tell_descriptors();
}
