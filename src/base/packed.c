/* packed: walks over msgpack bytes without memory of its own. Any process. */
#include "base/packed.h"

#include <stdint.h>

/* What a first byte announces (msgpack's specification, "Overview"): bytes of the value that follow at once; bytes that
 * hold a length, and what that length counts. */
enum counts { NOTHING, BYTES, ELEMENTS, PAIRS };

struct head {
    uint8_t fixed;  /* bytes of the value, or of a type number before it */
    uint8_t length; /* bytes of the length */
    enum counts counts;
};

static const struct head heads[] = {
    /* from 0xc0: nil, never used, false, true */
    {0, 0, NOTHING},
    {0, 0, NOTHING},
    {0, 0, NOTHING},
    {0, 0, NOTHING},
    /* bin 8, 16, 32; ext 8, 16, 32 */
    {0, 1, BYTES},
    {0, 2, BYTES},
    {0, 4, BYTES},
    {1, 1, BYTES},
    {1, 2, BYTES},
    {1, 4, BYTES},
    /* float 32, 64; uint 8, 16, 32, 64; int 8, 16, 32, 64 */
    {4, 0, NOTHING},
    {8, 0, NOTHING},
    {1, 0, NOTHING},
    {2, 0, NOTHING},
    {4, 0, NOTHING},
    {8, 0, NOTHING},
    {1, 0, NOTHING},
    {2, 0, NOTHING},
    {4, 0, NOTHING},
    {8, 0, NOTHING},
    /* fixext 1, 2, 4, 8, 16, each behind its type */
    {2, 0, NOTHING},
    {3, 0, NOTHING},
    {5, 0, NOTHING},
    {9, 0, NOTHING},
    {17, 0, NOTHING},
    /* str 8, 16, 32; array 16, 32; map 16, 32 */
    {0, 1, BYTES},
    {0, 2, BYTES},
    {0, 4, BYTES},
    {0, 2, ELEMENTS},
    {0, 4, ELEMENTS},
    {0, 2, PAIRS},
    {0, 4, PAIRS},
};

struct announced {
    uint64_t bytes;   /* of the value */
    uint64_t objects; /* in it */
};

static struct announced short_form(uint8_t first)
{
    if (first >= 0xa0 && first <= 0xbf) /* fixstr */
        return (struct announced){.bytes = first & 0x1f};
    if (first >= 0x90 && first <= 0x9f) /* fixarray */
        return (struct announced){.objects = first & 0x0f};
    if (first >= 0x80 && first <= 0x8f) /* fixmap */
        return (struct announced){.objects = 2 * (uint64_t)(first & 0x0f)};
    return (struct announced){0}; /* fixint */
}

/* `left`: what follows the first byte. false: even the length is cut off. */
static bool long_form(const unsigned char *at, size_t left, struct announced *announced)
{
    const struct head *head = &heads[at[0] - 0xc0];
    uint64_t length = 0;
    if (left < head->length)
        return false;
    for (size_t i = 1; i <= head->length; i++)
        length = length << 8 | at[i];
    announced->bytes = (uint64_t)head->fixed + head->length + (head->counts == BYTES ? length : 0);
    announced->objects = head->counts == ELEMENTS ? length : head->counts == PAIRS ? 2 * length : 0;
    return true;
}

bool packed_is_whole(const char *bytes, size_t length)
{
    const unsigned char *at = (const unsigned char *)bytes;
    size_t left = length;
    uint64_t missing = 1; /* objects */
    _Static_assert(sizeof heads / sizeof heads[0] == 0xe0 - 0xc0, "a row for each first byte from 0xc0 to 0xdf");
    while (missing > 0) {
        struct announced announced;
        if (missing > left) /* each takes a byte at least; this also bounds the sum */
            return false;
        left--;
        if (at[0] < 0xc0 || at[0] >= 0xe0)
            announced = short_form(at[0]);
        else if (!long_form(at, left, &announced))
            return false;
        if (announced.bytes > left)
            return false;
        at += 1 + announced.bytes;
        left -= (size_t)announced.bytes;
        missing += announced.objects - 1;
    }
    return left == 0;
}
