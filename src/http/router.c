/* router: the route table as a tree of segments. Worker process; boot lifetime. */
#include "http/router.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define METHODS HTTP_METHOD_OTHER /* how many methods a route can have */
#define SEGMENTS_MAX 16           /* deeper than any template */

struct node {
    const char *name; /* of a literal segment, points into the template */
    size_t length;
    struct node *children; /* literal ones, a list */
    struct node *sibling;
    struct node *parameter; /* the child that takes any segment */
    const struct http_route *routes[METHODS];
    char *allow; /* NULL: no route ends here */
};

struct router {
    struct node root;
};

/* A decoded segment of the path that is looked for. */
struct segment {
    const char *text;
    size_t length;
};

static struct node *new_node(const char *name, size_t length)
{
    struct node *node = calloc(1, sizeof *node);
    INVARIANT(node != NULL);
    node->name = name;
    node->length = length;
    return node;
}

static struct node *child_of(struct node *node, const char *name, size_t length)
{
    if (name[0] == '{') {
        INVARIANT(length > 2 && name[length - 1] == '}');
        if (node->parameter == NULL)
            node->parameter = new_node(name, length);
        return node->parameter;
    }
    for (struct node *child = node->children; child != NULL; child = child->sibling) {
        if (child->length == length && memcmp(child->name, name, length) == 0)
            return child;
    }
    struct node *child = new_node(name, length);
    child->sibling = node->children;
    node->children = child;
    return child;
}

static void add_route(struct router *router, const struct http_route *route)
{
    INVARIANT(route->path[0] == '/' && route->method < METHODS && route->handler != NULL);
    struct node *node = &router->root;
    size_t parameters = 0;
    size_t segments = 0;
    for (const char *at = route->path; *at == '/';) {
        at++;
        size_t length = strcspn(at, "/");
        node = child_of(node, at, length);
        parameters += at[0] == '{';
        segments++;
        at += length;
    }
    INVARIANT(parameters <= HTTP_ROUTE_PARAMETERS_MAX && segments <= SEGMENTS_MAX);
    INVARIANT(node->routes[route->method] == NULL);
    node->routes[route->method] = route;
}

/* Makes the Allow lists of the whole tree. */
static void finish(struct node *node)
{
    static const char *const names[METHODS] = {
        [HTTP_METHOD_GET] = "GET",         [HTTP_METHOD_HEAD] = "HEAD",   [HTTP_METHOD_POST] = "POST",
        [HTTP_METHOD_PUT] = "PUT",         [HTTP_METHOD_PATCH] = "PATCH", [HTTP_METHOD_DELETE] = "DELETE",
        [HTTP_METHOD_OPTIONS] = "OPTIONS",
    };
    struct buffer allow = {0};
    for (int method = 0; method < METHODS; method++) {
        bool served = node->routes[method] != NULL;
        if (method == HTTP_METHOD_HEAD)
            served = served || node->routes[HTTP_METHOD_GET] != NULL;
        if (method == HTTP_METHOD_OPTIONS)
            served = served || buffer_length(&allow) > 0;
        if (served) {
            buffer_append_text(&allow, buffer_length(&allow) > 0 ? ", " : "");
            buffer_append_text(&allow, names[method]);
        }
    }
    if (buffer_length(&allow) > 0) {
        node->allow = strdup(buffer_text(&allow));
        INVARIANT(node->allow != NULL);
    }
    buffer_free(&allow);
    for (struct node *child = node->children; child != NULL; child = child->sibling)
        finish(child);
    if (node->parameter != NULL)
        finish(node->parameter);
}

struct router *router_create(const struct http_route *routes)
{
    struct router *router = calloc(1, sizeof *router);
    INVARIANT(router != NULL);
    for (const struct http_route *route = routes; route->path != NULL; route++)
        add_route(router, route);
    finish(&router->root);
    return router;
}

static void free_below(struct node *node)
{
    while (node->children != NULL) {
        struct node *child = node->children;
        node->children = child->sibling;
        free_below(child);
        free(child);
    }
    if (node->parameter != NULL)
        free_below(node->parameter);
    free(node->parameter);
    free(node->allow);
}

void router_destroy(struct router *router)
{
    if (router == NULL)
        return;
    free_below(&router->root);
    free(router);
}

/* The deepest call is as deep as the longest template. */
static const struct node *match(const struct node *node, const struct segment *segments, size_t count,
                                const char **parameters)
{
    if (count == 0)
        return node->allow != NULL ? node : NULL;
    for (const struct node *child = node->children; child != NULL; child = child->sibling) {
        if (child->length == segments->length && memcmp(child->name, segments->text, child->length) == 0) {
            const struct node *found = match(child, segments + 1, count - 1, parameters);
            if (found != NULL)
                return found;
            break;
        }
    }
    if (node->parameter == NULL || segments->length == 0)
        return NULL;
    *parameters = segments->text;
    return match(node->parameter, segments + 1, count - 1, parameters + 1);
}

/* Returns how many segments the path has, at most SEGMENTS_MAX + 1; -1 for a bad escape. They lie in one copy of the
 * path; where nothing in it is escaped, none is decoded. */
static int split(struct arena *arena, const char *path, size_t length, struct segment *segments)
{
    char *at = arena_memdup(arena, path, length);
    char *end = at + length;
    bool plain = memchr(at, '%', length) == NULL && strlen(at) == length && text_is_utf8(at, length);
    int count = 0;
    while (at < end) {
        at++; /* the slash before the segment */
        char *slash = memchr(at, '/', (size_t)(end - at));
        char *stop = slash == NULL ? end : slash;
        if (count == SEGMENTS_MAX)
            return SEGMENTS_MAX + 1;
        ssize_t size = plain ? stop - at : text_percent_decode(at, (size_t)(stop - at), false, at);
        if (size < 0)
            return -1;
        at[size] = '\0';
        segments[count++] = (struct segment){.text = at, .length = (size_t)size};
        at = stop;
    }
    return count;
}

enum router_result router_find(const struct router *router, struct http_request *request, const char *path,
                               size_t length, const char **allow)
{
    struct segment segments[SEGMENTS_MAX];
    int count = split(request->arena, path, length, segments);
    if (count < 0)
        return ROUTER_BAD_PATH;
    if (count > SEGMENTS_MAX)
        return ROUTER_UNKNOWN;
    const struct node *node = match(&router->root, segments, (size_t)count, request->parameters);
    if (node == NULL)
        return ROUTER_UNKNOWN;
    *allow = node->allow;
    enum http_method method = request->method;
    if (method == HTTP_METHOD_HEAD && node->routes[HTTP_METHOD_HEAD] == NULL)
        method = HTTP_METHOD_GET;
    if (method < METHODS && node->routes[method] != NULL) {
        request->route = node->routes[method];
        return ROUTER_FOUND;
    }
    return method == HTTP_METHOD_OPTIONS ? ROUTER_OPTIONS : ROUTER_METHOD;
}
