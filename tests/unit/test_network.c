/* Addresses as proxies and administrators write them, and who is in a list. */
#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/network.h"

static char error[256];

static struct network_peer peer_of(const char *text)
{
    struct network_peer peer = {.kind = NETWORK_UNIX};
    if (strcmp(text, "unix") != 0) {
        peer.kind = NETWORK_IP;
        ck_assert_msg(network_address_parse(text, &peer.address), "%s", text);
    }
    return peer;
}

/* What a proxy writes, and the address; NULL: none. */
static const struct {
    const char *written;
    const char *address;
} from_proxies[] = {
    {"192.0.2.1", "192.0.2.1"},
    {"192.0.2.1:4711", "192.0.2.1"},
    {"192.0.2.1:0", "192.0.2.1"},
    {"192.0.2.1:65535", "192.0.2.1"},
    {"2001:db8::1", "2001:db8::1"},
    {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
    {"[2001:db8::1]", "2001:db8::1"},
    {"[2001:db8::1]:4711", "2001:db8::1"},
    {"::ffff:192.0.2.1", "192.0.2.1"},
    {"[::ffff:192.0.2.1]:4711", "192.0.2.1"},
    {"::", "::"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"", NULL},
    {"unix:", NULL},
    {"unknown", NULL},
    {"_hidden", NULL},
    {"localhost", NULL},
    {"192.0.2.1, 192.0.2.2", NULL},
    {"192.0.2.1 ", NULL},
    {" 192.0.2.1", NULL},
    {"192.0.2.256", NULL},
    {"192.0.2", NULL},
    {"192.0.2.01", NULL},
    {"0xc0.0.2.1", NULL},
    {"3221225985", NULL},
    {"192.0.2.1:", NULL},
    {"192.0.2.1:65536", NULL},
    {"192.0.2.1:-1", NULL},
    {"192.0.2.1:+1", NULL},
    {"192.0.2.1: 1", NULL},
    {"192.0.2.1:000001", NULL},
    {"192.0.2.1:1:1", NULL},
    {"192.0.2.1/32", NULL},
    {"[192.0.2.1]", NULL},
    {"[192.0.2.1]:80", NULL},
    {"[2001:db8::1", NULL},
    {"[2001:db8::1]4711", NULL},
    {"[2001:db8::1]:", NULL},
    {"[2001:db8::1]:x", NULL},
    {"[[2001:db8::1]]", NULL},
    {"[]", NULL},
    {"[]:80", NULL},
    {"2001:db8::1]", NULL},
    {"\"[2001:db8::1]:4711\"", NULL},
    {"fe80::1%eth0", NULL},
    {"2001:db8::1::2", NULL},
    {"1:2:3:4:5:6:7:8:9", NULL},
    {":", NULL},
    {"[:", NULL},
    {"]", NULL},
    {"2001:db8:0000:0000:0000:0000:0000:0000000000000000000000000000000000000001", NULL},
};

START_TEST(test_a_proxy_names_one_address_or_none)
{
    struct network_address address;
    char text[NETWORK_TEXT_SIZE];
    bool found = network_address_parse_from_proxy(from_proxies[_i].written, &address);
    ck_assert_msg(found == (from_proxies[_i].address != NULL), "%s", from_proxies[_i].written);
    if (!found)
        return;
    network_address_write(&address, text);
    ck_assert_str_eq(text, from_proxies[_i].address);
}
END_TEST

static const struct {
    const char *list;
    const char *peer;
    bool held;
} lists[] = {
    {"", "127.0.0.1", false},
    {"", "unix", false},
    {"unix", "unix", true},
    {"unix", "127.0.0.1", false},
    {"unix", "::", false},
    {"127.0.0.1", "unix", false},
    {"127.0.0.1", "127.0.0.1", true},
    {"127.0.0.1", "::ffff:127.0.0.1", true},
    {"::ffff:127.0.0.1", "127.0.0.1", true},
    {"127.0.0.1", "127.0.0.2", false},
    {"127.0.0.1", "::1", false},
    {"::1", "::1", true},
    {"::1", "0.0.0.1", false},
    {"192.0.2.0/24", "192.0.2.255", true},
    {"192.0.2.0/24", "192.0.3.0", false},
    {"192.0.2.0/23", "192.0.3.255", true},
    {"192.0.2.0/23", "192.0.4.0", false},
    {"192.0.2.8/29", "192.0.2.15", true},
    {"192.0.2.8/29", "192.0.2.16", false},
    {"192.0.2.8/29", "192.0.2.7", false},
    {"192.0.2.1/32", "192.0.2.1", true},
    {"192.0.2.1/32", "192.0.2.0", false},
    {"0.0.0.0/1", "127.255.255.255", true},
    {"0.0.0.0/1", "128.0.0.0", false},
    {"0.0.0.0/1", "::1", false},
    {"::ffff:192.0.2.0/120", "192.0.2.77", true},
    {"::ffff:0.0.0.0/96", "192.0.2.77", true},
    {"::ffff:0.0.0.0/96", "::fffe:192.0.2.77", false},
    {"::/1", "::1", true},
    {"::/1", "192.0.2.77", false},
    {"::/80", "192.0.2.77", false},
    {"2001:db8::/32", "2001:db8:ffff::1", true},
    {"2001:db8::/32", "2001:db9::", false},
    {"2001:db8::/33", "2001:db8:7fff::", true},
    {"2001:db8::/33", "2001:db8:8000::", false},
    {"2001:db8::1/128", "2001:db8::1", true},
    {"2001:db8::1/128", "2001:db8::", false},
    {"unix, 10.0.0.0/8 ,\t2001:db8::5", "10.1.2.3", true},
    {"unix, 10.0.0.0/8 ,\t2001:db8::5", "2001:db8::5", true},
    {"unix, 10.0.0.0/8 ,\t2001:db8::5", "unix", true},
    {"unix, 10.0.0.0/8 ,\t2001:db8::5", "11.0.0.0", false},
};

START_TEST(test_a_list_holds_its_members_and_nobody_else)
{
    struct network_list *list = network_list_parse(lists[_i].list, error, sizeof error);
    ck_assert_msg(list != NULL, "%s", error);
    ck_assert_str_eq(network_list_text(list), lists[_i].list);
    struct network_peer peer = peer_of(lists[_i].peer);
    ck_assert_msg(network_list_holds(list, &peer) == lists[_i].held, "%s in %s", lists[_i].peer, lists[_i].list);
    network_list_free(list);
}
END_TEST

static const struct {
    const char *list;
    const char *says;
} refused[] = {
    {"nobody", "\"nobody\" is no address, no network and not the word unix"},
    {"unix,", "\"\" is no address"},
    {",unix", "\"\" is no address"},
    {"unix,,unix", "\"\" is no address"},
    {"UNIX", "\"UNIX\" is no address"},
    {"127.0.0.1 127.0.0.2", "is no address"},
    {"127.0.0.1/33", "\"127.0.0.1/33\" has a prefix length"},
    {"::1/129", "has a prefix length"},
    {"10.0.0.0/", "has a prefix length"},
    {"10.0.0.0/ 8", "has a prefix length"},
    {"10.0.0.0/8/8", "has a prefix length"},
    {"10.0.0.1/8", "\"10.0.0.1/8\" has bits behind its prefix length"},
    {"2001:db8::1/64", "has bits behind its prefix length"},
    {"0.0.0.0/0", "\"0.0.0.0/0\" would be everybody"},
    {"::/0", "would be everybody"},
    {"unix/8", "is no address"},
    {"example.com", "is no address"},
    {"[::1]", "is no address"},
    {"127.0.0.1:80", "is no address"},
    {"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", "is no address"},
};

START_TEST(test_a_list_that_may_mean_something_else_is_refused)
{
    error[0] = '\0';
    ck_assert_msg(network_list_parse(refused[_i].list, error, sizeof error) == NULL, "%s", refused[_i].list);
    ck_assert_msg(strstr(error, refused[_i].says) != NULL, "%s", error);
}
END_TEST

START_TEST(test_no_list_holds_nobody)
{
    struct network_peer peer = {.kind = NETWORK_UNIX};
    ck_assert(!network_list_holds(NULL, &peer));
    ck_assert_str_eq(network_list_text(NULL), "");
}
END_TEST

START_TEST(test_sockets_names_are_peers)
{
    struct sockaddr_storage name = {.ss_family = AF_UNIX};
    char text[NETWORK_TEXT_SIZE];
    struct network_peer peer = network_peer_of(&name);
    network_peer_write(&peer, text);
    ck_assert_str_eq(text, "unix");

    struct sockaddr_in *ipv4 = (struct sockaddr_in *)&name;
    *ipv4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201)};
    peer = network_peer_of(&name);
    network_peer_write(&peer, text);
    ck_assert_str_eq(text, "192.0.2.1");

    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&name;
    *ipv6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    ck_assert_int_eq(inet_pton(AF_INET6, "::ffff:192.0.2.1", &ipv6->sin6_addr), 1);
    peer = network_peer_of(&name);
    network_peer_write(&peer, text);
    ck_assert_str_eq(text, "192.0.2.1");
    ck_assert_int_eq(inet_pton(AF_INET6, "2001:db8::1", &ipv6->sin6_addr), 1);
    peer = network_peer_of(&name);
    network_peer_write(&peer, text);
    ck_assert_str_eq(text, "2001:db8::1");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("network");
    TCase *tests = tcase_create("network");
    tcase_add_loop_test(tests, test_a_proxy_names_one_address_or_none, 0, sizeof from_proxies / sizeof from_proxies[0]);
    tcase_add_loop_test(tests, test_a_list_holds_its_members_and_nobody_else, 0, sizeof lists / sizeof lists[0]);
    tcase_add_loop_test(tests, test_a_list_that_may_mean_something_else_is_refused, 0,
                        sizeof refused / sizeof refused[0]);
    tcase_add_test(tests, test_no_list_holds_nobody);
    tcase_add_test(tests, test_sockets_names_are_peers);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
