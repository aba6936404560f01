/* http_rig: a server of src/http on an event loop of the test, and the client's end of its connections. Unit tests
 * only. */
#ifndef UNIT_HTTP_RIG_H
#define UNIT_HTTP_RIG_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/configuration.h"
#include "http/server.h"

struct rig {
    struct event_base *base;
    struct configuration *configuration; /* may be changed before rig_start and between requests */
    struct http_server *server;
    int listener; /* -1: none */
    int listener_port;
    bool drained;
};

/* Defaults of the configuration, without the access log. */
void rig_prepare(struct rig *rig);
void rig_start(struct rig *rig, const struct http_route *routes, bool listen_on_tcp);
void rig_stop(struct rig *rig);

/* A connection over a socket pair; gives the client's end. */
int rig_connect(struct rig *rig);
/* A connection over the TCP listener. */
int rig_connect_tcp(struct rig *rig);
/* Lets the server do what it can do now. */
void rig_turn(struct rig *rig);
/* Writes all of it, turning the server meanwhile. false: the server has closed. */
bool rig_send(struct rig *rig, int client, const char *bytes, size_t length);
bool rig_send_text(struct rig *rig, int client, const char *text);
/* Reads until `enough` says so, the server closes, or 10 s have passed. true: closed. */
bool rig_read(struct rig *rig, int client, struct buffer *answer, bool (*enough)(const struct buffer *answer));
/* Until the server closes; fails the test where it does not. */
void rig_read_all(struct rig *rig, int client, struct buffer *answer);
/* Until one answer with Content-Length (or without a body) is complete. */
bool one_answer(const struct buffer *answer);
/* Turns the server until the condition holds; fails the test after 10 s. */
void rig_wait(struct rig *rig, bool (*condition)(void *context), void *context);

/* Sends one request on a new connection, gives the answer up to the close (the client shuts its side). Free with
 * buffer_free. */
struct buffer rig_exchange(struct rig *rig, const char *request);
int status_of(const struct buffer *answer);
bool has_text(const struct buffer *answer, const char *text);

#endif
