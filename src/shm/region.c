/* region: a file in memory, sealed, and who may do what with it. Master, worker, refresher; each calls its own part. */
#include "shm/region.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "shm/hot_layout.h"

struct hot_region hot_region = {.file = -1};

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t whole_pages(size_t size)
{
    return (size + page_size() - 1) / page_size() * page_size();
}

/* Draws the plan: what lies where. */
static void lay_out(struct hot_region *region, int64_t size, int workers_max)
{
    region->segment_count = (uint32_t)(size / HOT_SEGMENT);
    uint32_t buckets = 2;
    while (buckets < HOT_BUCKETS_MAX && (int64_t)buckets * HOT_BUCKET * HOT_BYTES_A_SLOT < size)
        buckets *= 2;
    region->bucket_mask = buckets - 1;
    region->slot_count = buckets * HOT_BUCKET;
    region->workers_max = (uint32_t)workers_max;

    region->index = whole_pages(sizeof(struct hot_header));
    region->floors = region->index + whole_pages(region->slot_count * sizeof(hot_slot));
    region->segments = region->floors + whole_pages(HOT_FLOORS * sizeof(struct hot_floor));
    region->workers = region->segments + (size_t)region->segment_count * HOT_SEGMENT;

    region->marks = sizeof(struct hot_worker_line);
    region->served = (region->marks + region->slot_count + HOT_LINE - 1) / HOT_LINE * HOT_LINE;
    region->worker_size = whole_pages(region->served + HOT_FLOORS * sizeof(uint32_t));
    region->size = region->workers + region->workers_max * region->worker_size;
}

/* Bytes that processes can have without others being pushed out; INT64_MAX where the kernel does not say. */
static int64_t memory_available(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL)
        return INT64_MAX;
    int64_t found = INT64_MAX;
    char line[200];
    while (fgets(line, sizeof line, file) != NULL) {
        int64_t kibibytes;
        if (sscanf(line, "MemAvailable: %" SCNd64 " kB", &kibibytes) == 1)
            found = kibibytes * 1024;
    }
    fclose(file);
    return found;
}

static void *map(size_t offset, size_t size, int rights)
{
    void *memory = mmap(NULL, size, rights, MAP_SHARED, hot_region.file, (off_t)offset);
    INVARIANT(memory != MAP_FAILED);
    return memory;
}

/* Lets no request wait for the first touch of a page. Kernels that do not know the advice let it wait. */
static void touch(char *memory, size_t size, bool written)
{
#if defined MADV_POPULATE_READ && defined MADV_POPULATE_WRITE
    if (madvise(memory, size, written ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0)
        return;
#endif
    (void)written;
    for (size_t at = 0; at < size; at += page_size())
        (void)*(volatile char *)(memory + at);
}

static void write_header(void)
{
    struct hot_header *header = map(0, hot_region.index, PROT_READ | PROT_WRITE);
    header->magic = HOT_MAGIC;
    header->format = HOT_FORMAT;
    atomic_store_explicit(&header->generation, 1, memory_order_release);
    munmap(header, hot_region.index);
}

bool region_create(int64_t size, int workers_max, char *error, size_t error_size)
{
    INVARIANT(!region_exists());
    INVARIANT(size % HOT_SEGMENT == 0 && size / HOT_SEGMENT >= HOT_SEGMENTS_MIN);
    INVARIANT(size / HOT_SEGMENT <= HOT_SEGMENTS_MAX && workers_max >= 1 && workers_max <= HOT_WORKERS_MAX);
    struct hot_region region = {0};
    lay_out(&region, size, workers_max);
    /* Asked for page by page, the kernel would say yes to each, and end some process when there are no more. */
    if ((int64_t)region.workers > memory_available()) {
        snprintf(error, error_size, "not enough memory for a cache of %" PRId64 " bytes", size);
        return false;
    }
    region.file = memfd_create("turnout-cache", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* The pages of workers come with the workers: most slots are never used. */
    if (region.file == -1 || ftruncate(region.file, (off_t)region.size) == -1 ||
        fallocate(region.file, 0, 0, (off_t)region.workers) == -1 ||
        fcntl(region.file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1 ||
        getrandom(&region.seed, sizeof region.seed, 0) != (ssize_t)sizeof region.seed) {
        snprintf(error, error_size, "cannot make a cache of %" PRId64 " bytes: %s", size, strerror(errno));
        if (region.file != -1)
            close(region.file);
        return false;
    }
    hot_region = region;
    write_header();
    hot_region.workers_of_master = map(region.workers, region.size - region.workers, PROT_READ | PROT_WRITE);
    return true;
}

bool region_exists(void)
{
    return hot_region.file != -1;
}

static void forget_the_masters(void)
{
    if (hot_region.workers_of_master != NULL)
        munmap(hot_region.workers_of_master, hot_region.size - hot_region.workers);
    hot_region.workers_of_master = NULL;
}

static void check_header(const char *memory)
{
    const struct hot_header *header = (const struct hot_header *)memory;
    INVARIANT(header->magic == HOT_MAGIC && header->format == HOT_FORMAT);
}

void region_attach_reader(int slot)
{
    INVARIANT(slot >= 0 && (uint32_t)slot < hot_region.workers_max);
    forget_the_masters();
    char *shared = map(0, hot_region.size, PROT_READ);
    touch(shared, hot_region.workers, false);
    check_header(shared);
    char *own =
        map(hot_region.workers + (size_t)slot * hot_region.worker_size, hot_region.worker_size, PROT_READ | PROT_WRITE);
    touch(own, hot_region.worker_size, true);
    hot_region.shared = shared;
    hot_region.own = (struct hot_worker_line *)own;
    atomic_store_explicit(&hot_region.own->present, 1, memory_order_release);
}

void region_attach_writer(void)
{
    forget_the_masters();
    hot_region.writable = map(0, hot_region.size, PROT_READ | PROT_WRITE);
    touch(hot_region.writable, hot_region.workers, true);
    check_header(hot_region.writable);
    hot_region.distrusts = (struct hot_header *)hot_region.writable;
}

void region_detach(void)
{
    forget_the_masters();
}

void region_clear_pin(int slot)
{
    INVARIANT(slot >= 0 && (uint32_t)slot < hot_region.workers_max);
    struct hot_worker_line *line =
        (struct hot_worker_line *)(hot_region.workers_of_master + (size_t)slot * hot_region.worker_size);
    /* What it read, it has read; the rest of its page stays true: what it served, it has served. */
    atomic_store_explicit(&line->pin, 0, memory_order_release);
}

void region_distrust(void)
{
    if (hot_region.distrusts != NULL)
        atomic_store_explicit(&hot_region.distrusts->distrust, 1, memory_order_release);
}
