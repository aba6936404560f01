/* Unit tests of src/http/guard: what the policy refuses, each with a twin that it accepts. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/guard.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct guard_limits limits = {.line_size = 100, .block_size = 400, .header_count = 6};

/* The verdict of scan and check together on bytes that end with their header block. */
static enum guard_verdict judge_bytes(const char *bytes, size_t length, struct guard_facts *facts)
{
    struct guard_header headers[6];
    struct guard_scan scan = {0};
    enum guard_verdict verdict = guard_scan(&scan, bytes, length, &limits);
    if (verdict != GUARD_OK)
        return verdict;
    return guard_check(bytes, scan.position, headers, facts);
}

static enum guard_verdict judge(const char *text, struct guard_facts *facts)
{
    return judge_bytes(text, strlen(text), facts);
}

struct pair {
    const char *name;
    enum guard_verdict verdict;
    const char *refused;
    const char *accepted;
};

#define GET "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define END "\r\n"

static const struct pair pairs[] = {
    {"bare LF after the request line", GUARD_LINE_END, "GET / HTTP/1.1\n" HOST END, GET HOST END},
    {"bare LF after a header", GUARD_LINE_END, GET "A: b\n" HOST END, GET "A: b\r\n" HOST END},
    {"bare LF for the empty line", GUARD_LINE_END, GET HOST "\n", GET HOST END},
    {"bare CR in a value", GUARD_LINE_END, GET "A: b\rc\r\n" HOST END, GET "A: b c\r\n" HOST END},
    {"bare CR before a line end", GUARD_LINE_END, GET "A: b\r\r\n" HOST END, GET "A: b\r\n" HOST END},
    {"bare CR in the request line", GUARD_LINE_END, "GET /\rx HTTP/1.1\r\n" HOST END, "GET /x HTTP/1.1\r\n" HOST END},
    {"bare CR at the start of a line", GUARD_LINE_END, GET "\rA: b\r\n" HOST END, GET "A: b\r\n" HOST END},
    {"first byte of a TLS hello", GUARD_REQUEST_LINE, "\x16\x03\x01", GET HOST END},
    {"space before the method", GUARD_REQUEST_LINE, " " GET HOST END, GET HOST END},
    {"no target", GUARD_REQUEST_LINE, "GET HTTP/1.1\r\n" HOST END, GET HOST END},
    {"empty target", GUARD_REQUEST_LINE, "GET  HTTP/1.1\r\n" HOST END, GET HOST END},
    {"no version", GUARD_REQUEST_LINE, "GET /\r\n" HOST END, GET HOST END},
    {"empty version", GUARD_REQUEST_LINE, "GET / \r\n" HOST END, GET HOST END},
    {"two versions", GUARD_REQUEST_LINE, "GET / HTTP/1.1 HTTP/1.1\r\n" HOST END, GET HOST END},
    {"space behind the version", GUARD_REQUEST_LINE, "GET / HTTP/1.1 \r\n" HOST END, GET HOST END},
    {"space in the target", GUARD_REQUEST_LINE, "GET /a b HTTP/1.1\r\n" HOST END, "GET /a%20b HTTP/1.1\r\n" HOST END},
    {"tab for a space", GUARD_REQUEST_LINE, "GET\t/ HTTP/1.1\r\n" HOST END, GET HOST END},
    {"method that is no token", GUARD_REQUEST_LINE, "G(T / HTTP/1.1\r\n" HOST END, "G+T / HTTP/1.1\r\n" HOST END},
    {"control in the method", GUARD_REQUEST_LINE, "GET\x01 / HTTP/1.1\r\n" HOST END, GET HOST END},
    {"CONNECT", GUARD_CONNECT, "CONNECT a:443 HTTP/1.1\r\n" HOST END, "OPTIONS / HTTP/1.1\r\n" HOST END},
    {"HTTP/0.9", GUARD_VERSION, "GET / HTTP/0.9\r\n" HOST END, "GET / HTTP/1.0\r\n" HOST END},
    {"HTTP/1.2", GUARD_VERSION, "GET / HTTP/1.2\r\n" HOST END, GET HOST END},
    {"HTTP/2.0", GUARD_VERSION, "PRI * HTTP/2.0\r\n" END, GET HOST END},
    {"HTTP/1.11", GUARD_VERSION, "GET / HTTP/1.11\r\n" HOST END, GET HOST END},
    {"RTSP", GUARD_VERSION, "GET / RTSP/1.0\r\n" HOST END, GET HOST END},
    {"ICE", GUARD_VERSION, "SOURCE / ICE/1.0\r\n" HOST END, GET HOST END},
    {"lower-case protocol", GUARD_VERSION, "GET / http/1.1\r\n" HOST END, GET HOST END},
    {"fragment", GUARD_FRAGMENT, "GET /a#b HTTP/1.1\r\n" HOST END, "GET /a%23b HTTP/1.1\r\n" HOST END},
    {"high byte in the target", GUARD_TARGET, "GET /\xc3\xa9 HTTP/1.1\r\n" HOST END,
     "GET /%C3%A9 HTTP/1.1\r\n" HOST END},
    {"control in the target", GUARD_TARGET, "GET /\x01 HTTP/1.1\r\n" HOST END, "GET /%01 HTTP/1.1\r\n" HOST END},
    {"tab in the target", GUARD_TARGET, "GET /\t HTTP/1.1\r\n" HOST END, "GET /%09 HTTP/1.1\r\n" HOST END},
    {"DEL in the target", GUARD_TARGET, "GET /\x7f HTTP/1.1\r\n" HOST END, "GET /%7F HTTP/1.1\r\n" HOST END},
    {"relative target", GUARD_TARGET, "GET a HTTP/1.1\r\n" HOST END, "GET /a HTTP/1.1\r\n" HOST END},
    {"asterisk", GUARD_TARGET, "OPTIONS * HTTP/1.1\r\n" HOST END, "OPTIONS / HTTP/1.1\r\n" HOST END},
    {"absolute form of another scheme", GUARD_TARGET, "GET ftp://a/ HTTP/1.1\r\n" HOST END,
     "GET http://a/ HTTP/1.1\r\n" HOST END},
    {"absolute form without authority", GUARD_TARGET, "GET http:///x HTTP/1.1\r\n" HOST END,
     "GET https://a/x HTTP/1.1\r\n" HOST END},
    {"absolute form with a user", GUARD_TARGET, "GET http://u@a/ HTTP/1.1\r\n" HOST END,
     "GET http://a?x HTTP/1.1\r\n" HOST END},
    {"absolute form of another host", GUARD_AUTHORITY, "GET http://b/ HTTP/1.1\r\n" HOST END,
     "GET HTTP://A/ HTTP/1.1\r\n" HOST END},
    {"absolute form with another port", GUARD_AUTHORITY, "GET http://a:1/ HTTP/1.1\r\n" HOST END,
     "GET http://a:1/ HTTP/1.1\r\nHost: a:1\r\n" END},
    {"absolute form without Host in HTTP/1.0", GUARD_AUTHORITY, "GET http://a/ HTTP/1.0\r\n" END,
     "GET http://a/ HTTP/1.0\r\n" HOST END},
    {"empty header name", GUARD_HEADER_NAME, GET ": b\r\n" HOST END, GET "A: b\r\n" HOST END},
    {"name that begins with a colon", GUARD_HEADER_NAME, GET ":A: b\r\n" HOST END, GET "A: :b\r\n" HOST END},
    {"space before the colon", GUARD_HEADER_NAME, GET "A : b\r\n" HOST END, GET "A: b\r\n" HOST END},
    {"tab before the colon", GUARD_HEADER_NAME, GET "A\t: b\r\n" HOST END, GET "A:\tb\r\n" HOST END},
    {"space in the name", GUARD_HEADER_NAME, GET "A B: b\r\n" HOST END, GET "A-B: b\r\n" HOST END},
    {"no colon", GUARD_HEADER_NAME, GET "A\r\n" HOST END, GET "A:\r\n" HOST END},
    {"control in the name", GUARD_HEADER_NAME,
     GET "\x01"
         "A: b\r\n" HOST END,
     GET "A: b\r\n" HOST END},
    {"high byte in the name", GUARD_HEADER_NAME, GET "\xc3\xa9: b\r\n" HOST END, GET "A: \xc3\xa9\r\n" HOST END},
    {"bracket in the name", GUARD_HEADER_NAME, GET "A(): b\r\n" HOST END, GET "!#$%&'*+-.^_`|~09aZ: b\r\n" HOST END},
    {"folded by a space", GUARD_HEADER_FOLDED, GET "A: b\r\n c\r\n" HOST END, GET "A: b c\r\n" HOST END},
    {"folded by a tab", GUARD_HEADER_FOLDED, GET "A: b\r\n\tc\r\n" HOST END, GET "A: b\tc\r\n" HOST END},
    {"folded first line", GUARD_HEADER_FOLDED, GET " A: b\r\n" HOST END, GET "A: b\r\n" HOST END},
    {"control in a value", GUARD_HEADER_VALUE, GET "A: b\x01\r\n" HOST END, GET "A: b\r\n" HOST END},
    {"DEL in a value", GUARD_HEADER_VALUE, GET "A: \x7f\r\n" HOST END, GET "A: ~\r\n" HOST END},
    {"Transfer_Encoding", GUARD_LOOK_ALIKE, POST "Transfer_Encoding: chunked\r\n" HOST END,
     POST "transfer-ENCODING: chunked\r\n" HOST END},
    {"Content_Length", GUARD_LOOK_ALIKE, POST "Content_Length: 1\r\n" HOST END, POST "CONTENT-length: 1\r\n" HOST END},
    {"Transfer---Encoding", GUARD_LOOK_ALIKE, POST "Transfer---Encoding: chunked\r\n" HOST END,
     POST "Transfer-Encodings: chunked\r\n" HOST END},
    {"ContentLength", GUARD_LOOK_ALIKE, POST "ContentLength: 1\r\n" HOST END, POST "Content-Lengths: 1\r\n" HOST END},
    {"Content.Length", GUARD_LOOK_ALIKE, POST "Content.Length: 1\r\n" HOST END, POST "Content-Lengt: 1\r\n" HOST END},
    {"-Content-Length-", GUARD_LOOK_ALIKE, POST "-Content-Length-: 1\r\n" HOST END,
     POST "X-Content-Length: 1\r\n" HOST END},
    {"no Host", GUARD_HOST, GET END, "GET / HTTP/1.0\r\n" END},
    {"two Hosts", GUARD_HOST, GET HOST HOST END, GET HOST END},
    {"two Hosts in HTTP/1.0", GUARD_HOST, "GET / HTTP/1.0\r\n" HOST HOST END, "GET / HTTP/1.0\r\n" HOST END},
    {"empty Host", GUARD_HOST, GET "Host:\r\n" END, GET "Host:a\r\n" END},
    {"Host list", GUARD_HOST, GET "Host: a, b\r\n" END, GET "Host: a.b\r\n" END},
    {"Host with a path", GUARD_HOST, GET "Host: a/b\r\n" END, GET "Host: a-b_c.d~\r\n" END},
    {"Host with a user", GUARD_HOST, GET "Host: u@a\r\n" END, GET "Host: 127.0.0.1:80\r\n" END},
    {"Host with an empty port", GUARD_HOST, GET "Host: a:\r\n" END, GET "Host: a:1\r\n" END},
    {"Host with a long port", GUARD_HOST, GET "Host: a:123456\r\n" END, GET "Host: a:12345\r\n" END},
    {"Host with a word for a port", GUARD_HOST, GET "Host: a:b\r\n" END, GET "Host: a:80\r\n" END},
    {"Host with an open bracket", GUARD_HOST, GET "Host: [::1\r\n" END, GET "Host: [::1]\r\n" END},
    {"Host with words in brackets", GUARD_HOST, GET "Host: [x]:1\r\n" END, GET "Host: [2001:db8::A]:1\r\n" END},
    {"Host with bytes behind brackets", GUARD_HOST, GET "Host: [::1]1\r\n" END, GET "Host: [::1]:1\r\n" END},
    {"high byte in Host", GUARD_HOST, GET "Host: \xc3\xa9\r\n" END, GET "Host: xn--9ca\r\n" END},
    {"length with a plus", GUARD_CONTENT_LENGTH, POST HOST "Content-Length: +1\r\n" END,
     POST HOST "Content-Length: 1\r\n" END},
    {"length with a minus", GUARD_CONTENT_LENGTH, POST HOST "Content-Length: -1\r\n" END,
     POST HOST "Content-Length: 0\r\n" END},
    {"empty length", GUARD_CONTENT_LENGTH, POST HOST "Content-Length:\r\n" END, POST HOST "Content-Length:0\r\n" END},
    {"length of 19 digits", GUARD_CONTENT_LENGTH, POST HOST "Content-Length: 1234567890123456789\r\n" END,
     POST HOST "Content-Length: 123456789012345678\r\n" END},
    {"length past 64 bits", GUARD_CONTENT_LENGTH, POST HOST "Content-Length: 18446744073709551616\r\n" END,
     POST HOST "Content-Length:  7 \r\n" END},
    {"hexadecimal length", GUARD_CONTENT_LENGTH, POST HOST "Content-Length: 0x1\r\n" END,
     POST HOST "Content-Length: 01\r\n" END},
    {"length with a point", GUARD_CONTENT_LENGTH, POST HOST "Content-Length: 1.0\r\n" END,
     POST HOST "Content-Length: 10\r\n" END},
    {"list of lengths", GUARD_CONTENT_LENGTH, POST HOST "Content-Length: 1, 1\r\n" END,
     POST HOST "Content-Length: 11\r\n" END},
    {"two lengths", GUARD_CONTENT_LENGTH, POST HOST "Content-Length: 1\r\nContent-Length: 2\r\n" END,
     POST HOST "Content-Length: 1\r\n" END},
    {"the same length twice", GUARD_CONTENT_LENGTH, POST HOST "Content-Length: 1\r\nContent-Length: 1\r\n" END,
     POST HOST "Content-Length: 1\r\n" END},
    {"length and coding", GUARD_TWO_LENGTHS, POST HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n" END,
     POST HOST "Transfer-Encoding: chunked\r\n" END},
    {"two codings", GUARD_TRANSFER_ENCODING,
     POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END,
     POST HOST "Transfer-Encoding: chunked\r\n" END},
    {"gzip, chunked", GUARD_TRANSFER_ENCODING, POST HOST "Transfer-Encoding: gzip, chunked\r\n" END,
     POST HOST "Transfer-Encoding: Chunked\r\n" END},
    {"xchunked", GUARD_TRANSFER_ENCODING, POST HOST "Transfer-Encoding: xchunked\r\n" END,
     POST HOST "Transfer-Encoding:chunked\r\n" END},
    {"chunked with a parameter", GUARD_TRANSFER_ENCODING, POST HOST "Transfer-Encoding: chunked;a\r\n" END,
     POST HOST "Transfer-Encoding: \tchunked\t \r\n" END},
    {"empty coding", GUARD_TRANSFER_ENCODING, POST HOST "Transfer-Encoding:\r\n" END,
     POST HOST "Transfer-Encoding: chunked\r\n" END},
    {"high byte in the coding", GUARD_TRANSFER_ENCODING, POST HOST "Transfer-Encoding: chunked\xa0\r\n" END,
     POST HOST "Transfer-Encoding: chunked\r\n" END},
    {"chunked in HTTP/1.0", GUARD_OLD_CHUNKED, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" END,
     "POST / HTTP/1.0\r\nContent-Length: 1\r\n" END},
    {"GET with a length", GUARD_UNWANTED_BODY, GET HOST "Content-Length: 1\r\n" END,
     GET HOST "Content-Length: 0\r\n" END},
    {"HEAD with a length", GUARD_UNWANTED_BODY, "HEAD / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n" END,
     "HEAD / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n" END},
    {"GET with chunks", GUARD_UNWANTED_BODY, GET HOST "Transfer-Encoding: chunked\r\n" END,
     "DELETE / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END},
    {"Upgrade", GUARD_UPGRADE, GET HOST "Upgrade: h2c\r\n" END, GET HOST "Upgrade-Insecure-Requests: 1\r\n" END},
    {"Connection: upgrade", GUARD_UPGRADE, GET HOST "Connection: keep-alive, Upgrade\r\n" END,
     GET HOST "Connection: keep-alive, upgrades\r\n" END},
    {"other expectation", GUARD_EXPECT, POST HOST "Expect: 200-ok\r\n" END, POST HOST "Expect: 100-Continue\r\n" END},
    {"expectation beside another", GUARD_EXPECT, POST HOST "Expect: 100-continue\r\nExpect: x\r\n" END,
     "POST / HTTP/1.0\r\nExpect: x\r\n" END},
};

START_TEST(test_what_could_be_read_in_two_ways_is_refused_and_its_twin_is_not)
{
    const struct pair *pair = &pairs[_i];
    struct guard_facts facts;
    enum guard_verdict verdict = judge(pair->refused, &facts);
    ck_assert_msg(verdict == pair->verdict, "%s: verdict %d, not %d", pair->name, (int)verdict, (int)pair->verdict);
    verdict = judge(pair->accepted, &facts);
    ck_assert_msg(verdict == GUARD_OK, "twin of %s: verdict %d", pair->name, (int)verdict);
}
END_TEST

START_TEST(test_a_zero_byte_is_refused_wherever_it_stands)
{
    static const char whole[] = "GET /a HTTP/1.1\r\nHost: a\r\nName: value\r\n\r\n";
    struct guard_facts facts;
    ck_assert_int_eq(judge(whole, &facts), GUARD_OK);
    for (size_t i = 0; i + 4 < sizeof whole - 1; i++) {
        char bytes[sizeof whole];
        memcpy(bytes, whole, sizeof whole);
        bytes[i] = '\0';
        enum guard_verdict verdict = judge_bytes(bytes, sizeof whole - 1, &facts);
        ck_assert_msg(verdict != GUARD_OK && verdict != GUARD_MORE, "zero byte at %zu", i);
    }
}
END_TEST

START_TEST(test_a_value_holds_every_byte_but_controls_wherever_it_stands)
{
    for (int byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 20; at++) {
            static const char head[] = GET HOST "A: ";
            char block[128];
            size_t length = (size_t)snprintf(block, sizeof block, "%s.aaaaaaaaaaaaaaaaaaaa.%s", head, "\r\n\r\n");
            block[sizeof head + at] = (char)byte;
            struct guard_facts facts;
            bool accepted = judge_bytes(block, length, &facts) == GUARD_OK;
            bool allowed = byte == '\t' || (byte >= ' ' && byte != 0x7f);
            if (accepted != allowed)
                ck_abort_msg("byte %d at %zu", byte, at);
        }
    }
}
END_TEST

static void fill(char *to, size_t length, const char *head, const char *tail)
{
    size_t behind = strlen(tail);
    memset(to, 'x', length);
    memcpy(to, head, strlen(head));
    memcpy(to + length - behind, tail, behind);
    to[length] = '\0';
}

START_TEST(test_the_request_line_may_be_as_long_as_its_limit_and_no_longer)
{
    static const char rest[] = " HTTP/1.1";
    struct guard_facts facts;
    for (size_t length = limits.line_size - 1; length <= limits.line_size + 1; length++) {
        char block[512];
        fill(block, length, "GET /", rest);
        strcat(block, "\r\n" HOST END);
        ck_assert_int_eq(judge(block, &facts), length <= limits.line_size ? GUARD_OK : GUARD_REQUEST_LINE_SIZE);
    }
}
END_TEST

START_TEST(test_a_long_request_line_is_refused_before_it_ends)
{
    char line[512];
    struct guard_scan scan = {0};
    fill(line, limits.line_size, "GET /", "");
    ck_assert_int_eq(guard_scan(&scan, line, limits.line_size, &limits), GUARD_MORE);
    fill(line, limits.line_size + 1, "GET /", "");
    ck_assert_int_eq(guard_scan(&scan, line, limits.line_size + 1, &limits), GUARD_REQUEST_LINE_SIZE);
}
END_TEST

START_TEST(test_the_block_may_be_as_long_as_its_limit_and_no_longer)
{
    struct guard_facts facts;
    for (size_t length = limits.block_size - 1; length <= limits.block_size + 1; length++) {
        char block[512];
        fill(block, length, GET HOST "A: ", "\r\n\r\n");
        ck_assert_int_eq(judge(block, &facts), length <= limits.block_size ? GUARD_OK : GUARD_HEADER_SIZE);
    }
}
END_TEST

START_TEST(test_a_long_block_is_refused_before_it_ends)
{
    char block[512];
    struct guard_scan scan = {0};
    fill(block, limits.block_size, GET HOST "A: ", "");
    ck_assert_int_eq(guard_scan(&scan, block, limits.block_size - 1, &limits), GUARD_MORE);
    ck_assert_int_eq(guard_scan(&scan, block, limits.block_size, &limits), GUARD_HEADER_SIZE);
}
END_TEST

START_TEST(test_as_many_headers_as_the_limit_and_no_more)
{
    struct guard_facts facts;
    for (size_t count = limits.header_count - 1; count <= limits.header_count + 1; count++) {
        char block[512] = GET HOST;
        for (size_t i = 1; i < count; i++)
            strcat(block, "A: b\r\n");
        strcat(block, END);
        ck_assert_int_eq(judge(block, &facts), count <= limits.header_count ? GUARD_OK : GUARD_HEADER_COUNT);
        if (count <= limits.header_count)
            ck_assert_uint_eq(facts.header_count, count);
    }
}
END_TEST

/* Feeds the bytes in two pieces, and one by one; the first verdict that is not GUARD_MORE counts. */
static enum guard_verdict scan_split(const char *bytes, size_t length, size_t first, size_t step, size_t *position)
{
    struct guard_scan scan = {0};
    enum guard_verdict verdict = GUARD_MORE;
    for (size_t fed = first; verdict == GUARD_MORE; fed = fed + step < length ? fed + step : length) {
        verdict = guard_scan(&scan, bytes, fed, &limits);
        if (fed == length)
            break;
    }
    *position = scan.position;
    return verdict;
}

START_TEST(test_the_scan_finds_the_same_however_the_bytes_are_cut)
{
    char long_line[512];
    char long_block[512];
    char bare_behind_limit[512];
    fill(long_line, limits.line_size + 20, "GET /", " HTTP/1.1\r\n" HOST END);
    fill(long_block, limits.block_size + 20, GET HOST "A: ", "\r\n\r\n");
    fill(bare_behind_limit, limits.line_size + 20, "GET /", "\n");
    const char *texts[] = {GET HOST END "GET /next HTTP/1.1\r\n",
                           GET "A: b\r\nB: c\nC: d\r\n" HOST END,
                           GET "A: b\rc\r\n" HOST END,
                           GET HOST "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n" END,
                           "GET / HTTP/1.1\n\n",
                           long_line,
                           long_block,
                           bare_behind_limit};
    for (size_t i = 0; i < COUNT(texts); i++) {
        size_t length = strlen(texts[i]);
        size_t position;
        enum guard_verdict whole = scan_split(texts[i], length, length, 1, &position);
        size_t whole_position = position;
        ck_assert_int_eq(scan_split(texts[i], length, 1, 1, &position), whole);
        for (size_t first = 1; first < length; first++)
            ck_assert_int_eq(scan_split(texts[i], length, first, length, &position), whole);
        if (whole == GUARD_OK)
            ck_assert_uint_eq(position, whole_position);
    }
}
END_TEST

static bool span_is(const char *block, struct guard_span span, const char *text)
{
    return span.length == strlen(text) && memcmp(block + span.start, text, span.length) == 0;
}

START_TEST(test_the_facts_say_what_the_block_says)
{
    static const char block[] = "PATCH http://Example.org:80/a/b?c=d HTTP/1.1\r\nhOST: example.ORG:80\r\n"
                                "Content-Length: 42\r\nExpect: 100-continue\r\nX-Padded: \t v w\t \r\nEmpty:\r\n\r\n";
    struct guard_header headers[6];
    struct guard_facts facts;
    ck_assert_int_eq(guard_check(block, sizeof block - 1, headers, &facts), GUARD_OK);
    ck_assert_int_eq(facts.method, HTTP_METHOD_PATCH);
    ck_assert(span_is(block, facts.method_name, "PATCH"));
    ck_assert(span_is(block, facts.target, "http://Example.org:80/a/b?c=d"));
    ck_assert(span_is(block, facts.path, "/a/b?c=d"));
    ck_assert_int_eq(facts.minor, 1);
    ck_assert(facts.keep_alive && !facts.chunked && facts.expects_continue);
    ck_assert_uint_eq(facts.content_length, 42);
    ck_assert_uint_eq(facts.header_count, 5);
    ck_assert(span_is(block, headers[3].name, "X-Padded") && span_is(block, headers[3].value, "v w"));
    ck_assert(span_is(block, headers[4].name, "Empty") && span_is(block, headers[4].value, ""));
}
END_TEST

START_TEST(test_a_connection_is_kept_as_the_version_and_the_client_want_it)
{
    static const struct {
        const char *block;
        bool kept;
    } rows[] = {
        {GET HOST END, true},
        {GET HOST "Connection: close\r\n" END, false},
        {GET HOST "Connection: keep-alive,\tClose \r\n" END, false},
        {GET HOST "Connection: a\r\nConnection: close\r\n" END, false},
        {GET HOST "Connection:\r\n" END, true},
        {"GET / HTTP/1.0\r\n" END, false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n" END, true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n" END, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct guard_facts facts;
        ck_assert_int_eq(judge(rows[i].block, &facts), GUARD_OK);
        ck_assert_msg(facts.keep_alive == rows[i].kept, "row %zu", i);
    }
}
END_TEST

START_TEST(test_every_refusal_has_a_status_and_says_what_to_do)
{
    static const enum guard_verdict all[] = {
#define GUARD_NAME(symbol, status, detail) GUARD_##symbol,
        GUARD_LIST(GUARD_NAME)
#undef GUARD_NAME
    };
    for (size_t i = 0; i < COUNT(all); i++) {
        ck_assert_int_ge(guard_status(all[i]), 400);
        ck_assert_int_ge((int)strlen(guard_detail(all[i])), 20);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guard");
    TCase *tcase = tcase_create("guard");
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, test_what_could_be_read_in_two_ways_is_refused_and_its_twin_is_not, 0,
                        (int)COUNT(pairs));
    tcase_add_test(tcase, test_a_zero_byte_is_refused_wherever_it_stands);
    tcase_add_test(tcase, test_a_value_holds_every_byte_but_controls_wherever_it_stands);
    tcase_add_test(tcase, test_the_request_line_may_be_as_long_as_its_limit_and_no_longer);
    tcase_add_test(tcase, test_a_long_request_line_is_refused_before_it_ends);
    tcase_add_test(tcase, test_the_block_may_be_as_long_as_its_limit_and_no_longer);
    tcase_add_test(tcase, test_a_long_block_is_refused_before_it_ends);
    tcase_add_test(tcase, test_as_many_headers_as_the_limit_and_no_more);
    tcase_add_test(tcase, test_the_scan_finds_the_same_however_the_bytes_are_cut);
    tcase_add_test(tcase, test_the_facts_say_what_the_block_says);
    tcase_add_test(tcase, test_a_connection_is_kept_as_the_version_and_the_client_want_it);
    tcase_add_test(tcase, test_every_refusal_has_a_status_and_says_what_to_do);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
