/* fresh: sends the same message many times, as a program does that opens a connection for each mail: what the bench
 * compares the mailer with. The same libcurl, the same TLS, so many senders at once.
 *
 *     fresh --url smtp://HOST:PORT --ca PEM --message FILE --count N --senders N [--keep]
 *
 * FILE is a whole message; each one sent has a Message-ID of its own. --keep: the senders keep their connections, which
 * is what the mailer could do at best. Prints the seconds that it took, as JSON. */
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/object.h"

static struct {
    const char *url, *ca;
    char *head, *tail; /* the message before what stands in its Message-ID, and after it */
    size_t head_length, tail_length;
    long count, senders;
    bool keep;
    atomic_long next, failed;
} fresh;

struct letter {
    char *bytes;
    size_t length, at;
};

static size_t on_read(char *to, size_t size, size_t count, void *context)
{
    struct letter *letter = context;
    size_t piece = letter->length - letter->at;
    if (piece > size * count)
        piece = size * count;
    memcpy(to, letter->bytes + letter->at, piece);
    letter->at += piece;
    return piece;
}

static void send_one(CURL *curl, long number)
{
    char id[64], address[64], error[CURL_ERROR_SIZE] = "";
    struct letter letter = {0};
    snprintf(id, sizeof id, "<fresh.%ld@example.com>", number);
    snprintf(address, sizeof address, "<guest%ld@example.com>", number);
    letter.length = fresh.head_length + strlen(id) + fresh.tail_length;
    letter.bytes = malloc(letter.length + 1);
    INVARIANT(letter.bytes != NULL);
    snprintf(letter.bytes, letter.length + 1, "%s%s%s", fresh.head, id, fresh.tail);
    struct curl_slist *recipients = curl_slist_append(NULL, address);
    INVARIANT(recipients != NULL);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
    curl_easy_setopt(curl, CURLOPT_READDATA, &letter);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)letter.length);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK && fresh.failed++ == 0)
        fprintf(stderr, "fresh: %s: %s\n", curl_easy_strerror(code), error);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(recipients);
    free(letter.bytes);
}

static void *run(void *unused)
{
    CURL *curl = curl_easy_init();
    (void)unused;
    INVARIANT(curl != NULL);
    curl_easy_setopt(curl, CURLOPT_URL, fresh.url);
    curl_easy_setopt(curl, CURLOPT_CAINFO, fresh.ca);
    curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL);
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, "<events@example.com>");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, fresh.keep ? 0L : 1L);
    long number;
    while ((number = fresh.next++) < fresh.count)
        send_one(curl, number);
    curl_easy_cleanup(curl);
    return NULL;
}

static void read_message(const char *path)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    char *id = strcasestr(text, "\r\nMessage-ID: ");
    INVARIANT(id != NULL);
    id += strlen("\r\nMessage-ID: ");
    fresh.tail = strstr(id, "\r\n");
    INVARIANT(fresh.tail != NULL);
    fresh.head = strndup(text, (size_t)(id - text));
    INVARIANT(fresh.head != NULL);
    fresh.head_length = strlen(fresh.head);
    fresh.tail_length = strlen(fresh.tail);
}

static void read_options(int count, char **words)
{
    for (int i = 1; i < count; i++) {
        const char *name = words[i];
        if (strcmp(name, "--keep") == 0) {
            fresh.keep = true;
            continue;
        }
        const char *value = ++i < count ? words[i] : "";
        if (strcmp(name, "--url") == 0) {
            fresh.url = value;
        } else if (strcmp(name, "--ca") == 0) {
            fresh.ca = value;
        } else if (strcmp(name, "--message") == 0) {
            read_message(value);
        } else if (strcmp(name, "--count") == 0) {
            fresh.count = strtol(value, NULL, 10);
        } else if (strcmp(name, "--senders") == 0) {
            fresh.senders = strtol(value, NULL, 10);
        } else {
            fprintf(stderr, "fresh: %s is not known\n", name);
            exit(2);
        }
    }
}

int main(int count, char **words)
{
    struct timespec begun, ended;
    read_options(count, words);
    INVARIANT(fresh.url != NULL && fresh.ca != NULL && fresh.head != NULL && fresh.senders > 0);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    pthread_t *threads = calloc((size_t)fresh.senders, sizeof *threads);
    INVARIANT(threads != NULL);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (long i = 0; i < fresh.senders; i++)
        INVARIANT(pthread_create(&threads[i], NULL, run, NULL) == 0);
    for (long i = 0; i < fresh.senders; i++)
        pthread_join(threads[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("{\"seconds\": %.6f, \"failed\": %ld}\n",
           (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9, fresh.failed);
    free(threads);
    curl_global_cleanup();
    return 0;
}
