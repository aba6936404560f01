/* uuid: version 7 ids (RFC 9562, 5.7). 48 bits of milliseconds; the 12 bits behind the version count the fraction of
 * the millisecond and go up within it (RFC 9562, 6.2, method 3), 62 random bits. Any process. */
#include "base/uuid.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

static const char digits[] = "0123456789abcdef";

/* Random bytes fetched ahead, as a system call for each id would cost more than the id. A child must not hand out what
 * its parent had fetched: the fork empties the pool. */
static struct {
    unsigned char bytes[4096];
    size_t left;
    bool guarded;
} pool;

static void empty_pool(void)
{
    pool.left = 0;
}

static void take_random(unsigned char *to, size_t length)
{
    if (!pool.guarded) {
        INVARIANT(pthread_atfork(NULL, NULL, empty_pool) == 0);
        pool.guarded = true;
    }
    if (pool.left < length) {
        while (pool.left < sizeof pool.bytes) { /* past 256 bytes a signal may cut it short */
            ssize_t got = getrandom(pool.bytes + pool.left, sizeof pool.bytes - pool.left, 0);
            INVARIANT(got > 0 || errno == EINTR);
            pool.left += got > 0 ? (size_t)got : 0;
        }
    }
    pool.left -= length;
    memcpy(to, pool.bytes + pool.left, length);
}

/* Two digits at a time: a request without an id of its own gets one made. */
static void write_hex(const unsigned char *bytes, size_t length, char *to)
{
    static char pairs[256][2];
    if (pairs[0][0] == '\0') {
        for (int i = 0; i < 256; i++) {
            pairs[i][0] = digits[i >> 4];
            pairs[i][1] = digits[i & 0x0f];
        }
    }
    for (size_t i = 0; i < length; i++)
        memcpy(to + 2 * i, pairs[bytes[i]], 2);
}

void uuid_v7(char text[UUID_TEXT_SIZE])
{
    static uint64_t last; /* milliseconds * 4096 + fraction */
    uint64_t now = (uint64_t)clock_realtime();
    uint64_t moment = (now / 1000) << 12 | (now % 1000) * 4096 / 1000;
    if (moment <= last)
        moment = last + 1;
    last = moment;

    unsigned char bytes[16];
    take_random(bytes + 8, 8);
    uint64_t milliseconds = moment >> 12;
    for (int i = 0; i < 6; i++)
        bytes[i] = (unsigned char)(milliseconds >> (40 - 8 * i));
    bytes[6] = (unsigned char)(0x70 | ((moment >> 8) & 0x0f));
    bytes[7] = (unsigned char)moment;
    bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f));

    uuid_from_bytes(bytes, text);
}

void uuid_from_bytes(const unsigned char bytes[16], char text[UUID_TEXT_SIZE])
{
    write_hex(bytes, 4, text);
    write_hex(bytes + 4, 2, text + 9);
    write_hex(bytes + 6, 2, text + 14);
    write_hex(bytes + 8, 2, text + 19);
    write_hex(bytes + 10, 6, text + 24);
    text[8] = text[13] = text[18] = text[23] = '-';
    text[UUID_TEXT_SIZE - 1] = '\0';
}

bool uuid_parse(const char *bytes, size_t length, char text[UUID_TEXT_SIZE])
{
    if (length != UUID_TEXT_SIZE - 1)
        return false;
    bool right = true;
    for (size_t i = 0; i < length; i++) {
        char byte = bytes[i];
        char lower = (char)(byte | 0x20); /* a digit or a dash stays what it is */
        bool is_dash_place = i == 8 || i == 13 || i == 18 || i == 23;
        bool is_digit = (byte >= '0' && byte <= '9') || (lower >= 'a' && lower <= 'f');
        right = right && (is_dash_place ? byte == '-' : is_digit);
        text[i] = lower;
    }
    text[length] = '\0';
    return right;
}

void uuid_to_bytes(const char text[UUID_TEXT_SIZE], unsigned char bytes[16])
{
    size_t half = 0;
    for (const char *at = text; *at != '\0' && half < 32; at++) {
        const char *digit = memchr(digits, *at, 16);
        if (digit == NULL)
            continue;
        unsigned value = (unsigned)(digit - digits);
        bytes[half / 2] = (unsigned char)(half % 2 == 0 ? value << 4 : bytes[half / 2] | value);
        half++;
    }
    INVARIANT(half == 32);
}
