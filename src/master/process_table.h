/* process_table: what process.c and process_talk.c share. Master, these two files only. */
#ifndef MASTER_PROCESS_TABLE_H
#define MASTER_PROCESS_TABLE_H

#include "master/process.h"

#define PROCESS_MAGIC 0x50524f43U
#define WORKERS_MAX 256
#define ROWS_MAX (WORKERS_MAX + PROCESS_ROLE_COUNT)

struct process_table {
    struct process_options options;
    struct process rows[ROWS_MAX];
    int64_t workers_wanted;
    int64_t share_told;
    int64_t share_ping; /* a pong of at least this number knows share_told */
    int64_t ping_number;
    int64_t ping_due;
    int64_t ready_told;
    int64_t reload_number;
    int64_t question_number;
    bool warmed; /* the cache has once been filled with what is asked for first, or is off */
    bool stopping;
    bool bad_start;
    bool ever_ready;
};
extern struct process_table process_table;

static inline bool process_is_alive(const struct process *process)
{
    return process->used && process->pid != 0;
}

/* The only place that changes the state. */
void process_set_state(struct process *process, enum process_state state);

/* A message of a kind and a number; one that does not fit the channel is left out. */
void process_send(const struct process *process, enum child_message kind, int64_t value);
/* Sends what children have to hear and could not be told yet. */
void process_send_owed(void);
/* Reads a child's messages; a callback of libevent. */
void process_on_channel(evutil_socket_t descriptor, short events, void *context);

#endif
