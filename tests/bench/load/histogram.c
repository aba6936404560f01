/* histogram: see the header. The load generator. */
#include "histogram.h"

#include <math.h>

/* Values below 2 * PARTS stand for themselves; above, the power of two decides the row and the next bits the part. */
static int bucket_of(int64_t value)
{
    if (value < 2 * HISTOGRAM_PARTS)
        return (int)value;
    int shift = 63 - __builtin_clzll((unsigned long long)value) - 7;
    int bucket = (shift + 1) * HISTOGRAM_PARTS + (int)(value >> shift) - HISTOGRAM_PARTS;
    return bucket < HISTOGRAM_POWERS * HISTOGRAM_PARTS ? bucket : HISTOGRAM_POWERS * HISTOGRAM_PARTS - 1;
}

static int64_t end_of(int bucket)
{
    if (bucket < 2 * HISTOGRAM_PARTS)
        return bucket;
    int shift = bucket / HISTOGRAM_PARTS - 1;
    int64_t part = bucket % HISTOGRAM_PARTS + HISTOGRAM_PARTS;
    return ((part + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, int64_t value)
{
    if (value < 0)
        value = 0;
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->most)
        histogram->most = value;
    histogram->buckets[bucket_of(value)]++;
}

int64_t histogram_quantile(const struct histogram *histogram, double share)
{
    if (histogram->count == 0)
        return 0;
    int64_t wanted = (int64_t)ceil(share * (double)histogram->count), seen = 0;
    for (int bucket = 0; bucket < HISTOGRAM_POWERS * HISTOGRAM_PARTS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen >= wanted && seen > 0)
            return end_of(bucket) < histogram->most ? end_of(bucket) : histogram->most;
    }
    return histogram->most;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->count == 0 ? 0 : (double)histogram->sum / (double)histogram->count;
}
