/* control: the control socket's side in the master: who may speak, one request a connection, and the answers. Master.
 */
#ifndef MASTER_CONTROL_H
#define MASTER_CONTROL_H

#include <event2/event.h>
#include <stdbool.h>

#include "base/configuration.h"
#include "base/object.h"

struct process_answer;

struct control_options {
    struct event_base *base;
    const struct configuration *configuration;
    void (*stop)(void *context, bool now); /* somebody asked for the end */
    void *context;
};

/* A piece of what a child answers to a question. */
void control_answered(const struct process_answer *answer);

/* Opens the socket. false: `error` says why. */
bool control_open(const struct control_options *options, char *error, size_t error_size) MUST_CHECK;
/* To be called after every change in the process table: answers those who wait for the children's reports. */
void control_changed(void);
void control_close(void);

#endif
