/* histogram: counts of durations in buckets of one per cent, so that a quantile of millions costs a few KiB. The load
 * generator. The idea is that of HdrHistogram: powers of two, each cut into equal parts. */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_PARTS 128 /* of each power of two: values are right to 1/128 */
#define HISTOGRAM_POWERS 36 /* up to 2^43 microseconds */

/* All zeros is empty and valid. Values are microseconds. */
struct histogram {
    int64_t count;
    int64_t sum;
    int64_t most;
    int64_t buckets[HISTOGRAM_POWERS * HISTOGRAM_PARTS];
};

/* Negative values count as 0, larger ones than fit as the largest that fits. */
void histogram_add(struct histogram *histogram, int64_t value);
/* The smallest value that `share` (0..1) of all are at most, rounded up to its bucket's end; 0 when empty. */
int64_t histogram_quantile(const struct histogram *histogram, double share);
double histogram_mean(const struct histogram *histogram);

#endif
