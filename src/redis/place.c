/* place: where Redis is, as the configuration says it. Master, refresher; no state. */
#include "redis/place.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

bool place_split(const char *host, char *name, size_t name_size, int *port)
{
    const char *colon = strrchr(host, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - host);
    char behind;
    bool bracketed = length >= 2 && host[0] == '[' && host[length - 1] == ']';
    if (bracketed)
        host++, length -= 2;
    if (length == 0 || length >= name_size || colon[1] < '0' || colon[1] > '9' ||
        sscanf(colon + 1, "%5d%c", port, &behind) != 1 || *port < 1 || *port > 65535)
        return false;
    memcpy(name, host, length);
    name[length] = '\0';
    struct in6_addr address;
    return bracketed ? inet_pton(AF_INET6, name, &address) == 1 : strpbrk(name, ":[] /") == NULL;
}

bool place_check_host(const char *host, char *error, size_t error_size)
{
    char name[256];
    int port;
    if (place_split(host, name, sizeof name, &port))
        return true;
    snprintf(error, error_size, "expected host:port or [address6]:port, not \"%.80s\"", host);
    return false;
}

bool place_check_socket(const char *path, char *error, size_t error_size)
{
    size_t most = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    if (path[0] == '/' && strlen(path) <= most)
        return true;
    snprintf(error, error_size, "expected an absolute path of at most %zu bytes, not \"%.120s\"", most, path);
    return false;
}
