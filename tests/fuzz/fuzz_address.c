/* fuzz_address: client addresses as proxies write them, and lists of peers that are trusted.
 *
 * What must hold: an address that is accepted is what inet_pton reads between the brackets and before the port, and is
 * read back as it is written; a list of that address alone holds it and no other; a list that is accepted says what was
 * given, and holds Unix sockets only where the word stands in it. */
#include <arpa/inet.h>
#include <stdbool.h>

#include "base/network.h"
#include "target.h"

static void must_be_what_the_kernel_reads(const char *text, const struct network_address *address)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    char plain[128];
    unsigned char bytes[16];
    MUST(strlen(text) < sizeof plain && text[strspn(text, "0123456789abcdefABCDEF:.[]")] == '\0');
    snprintf(plain, sizeof plain, "%s", text[0] == '[' ? text + 1 : text);
    if (text[0] == '[')
        plain[strcspn(plain, "]")] = '\0';
    else if (strchr(plain, '.') != NULL && strchr(plain, ':') == strrchr(plain, ':'))
        plain[strcspn(plain, ":")] = '\0';
    if (inet_pton(AF_INET6, plain, bytes) != 1) {
        MUST(inet_pton(AF_INET, plain, bytes + 12) == 1);
        memcpy(bytes, mapped, sizeof mapped);
    }
    MUST(memcmp(bytes, address->bytes, sizeof bytes) == 0);
}

static void try_address(const char *text)
{
    struct network_address address;
    struct network_address again;
    char written[NETWORK_TEXT_SIZE];
    char error[256];
    if (!network_address_parse_from_proxy(text, &address))
        return;
    must_be_what_the_kernel_reads(text, &address);
    network_address_write(&address, written);
    MUST(network_address_parse(written, &again) && memcmp(&address, &again, sizeof address) == 0);
    struct network_list *list = network_list_parse(written, error, sizeof error);
    MUST(list != NULL);
    struct network_peer peer = {.kind = NETWORK_IP, .address = address};
    MUST(network_list_holds(list, &peer));
    peer.address.bytes[15] ^= 1;
    MUST(!network_list_holds(list, &peer));
    MUST(!network_list_holds(list, &(const struct network_peer){.kind = NETWORK_UNIX}));
    network_list_free(list);
}

/* Between commas, without the spaces around it. */
static bool says_unix(const char *text)
{
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        const char *start = at;
        size_t left = length;
        while (left > 0 && (*start == ' ' || *start == '\t'))
            start++, left--;
        while (left > 0 && (start[left - 1] == ' ' || start[left - 1] == '\t'))
            left--;
        if (left == 4 && memcmp(start, "unix", 4) == 0)
            return true;
        at += length;
        if (*at == '\0')
            return false;
    }
}

static void try_list(const char *text)
{
    char error[256] = "";
    struct network_list *list = network_list_parse(text, error, sizeof error);
    if (list == NULL) {
        MUST(error[0] != '\0' && strlen(error) < sizeof error);
        return;
    }
    MUST(strcmp(network_list_text(list), text) == 0);
    MUST(network_list_holds(list, &(const struct network_peer){.kind = NETWORK_UNIX}) == says_unix(text));
    network_list_free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = exact_copy(bytes, size, 1);
    try_address(text);
    try_list(text);
    free(text);
    return 0;
}
