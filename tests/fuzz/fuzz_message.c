/* fuzz_message: a packet from a process that somebody else has taken over, as the master and its children read it, and
 * the report in it.
 *
 * What must hold: whatever the packet, reading it ends, and what a report says fits its struct. */
#include <sys/socket.h>

#include "base/child.h"
#include "base/message.h"
#include "target.h"

static struct message_reader *receive(const uint8_t *bytes, size_t size)
{
    static int ends[2] = {-1, -1};
    struct message_reader *reader = NULL;
    if (ends[0] < 0)
        MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    MUST(send(ends[0], bytes, size, MSG_NOSIGNAL) == (ssize_t)size);
    enum message_result result = message_receive(ends[1], &reader);
    MUST(result == MESSAGE_OK || result == MESSAGE_BROKEN || (size == 0 && result == MESSAGE_CLOSED));
    return result == MESSAGE_OK ? reader : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size > MESSAGE_SIZE_MAX + 64)
        return 0;
    struct message_reader *reader = receive(bytes, size);
    if (reader == NULL)
        return 0;
    (void)message_kind(reader);
    struct child_report report;
    if (child_report_get(reader, &report)) {
        MUST(report.pool_count >= 0 && report.pool_count <= CHILD_POOLS_MAX);
        for (int64_t i = 0; i < report.pool_count; i++)
            MUST(memchr(report.pools[i].name, '\0', sizeof report.pools[i].name) != NULL);
    }
    int64_t number;
    const char *text;
    size_t length;
    unsigned sum = 0;
    while (message_get_int(reader, &number) || message_get_text(reader, &text, &length))
        sum++;
    MUST(sum <= size);
    return 0;
}
