/* tally: deaths and states of children, for the statistics. Master; it writes the master's page and roll. */
#include "master/tally.h"

#include <signal.h>
#include <sys/wait.h>

#include "shm/statistics.h"

static const unsigned char state_labels[] = {LABEL_STATE_STARTING, LABEL_STATE_READY, LABEL_STATE_STOPPING,
                                             LABEL_STATE_BACKOFF, LABEL_STATE_FAILED};

unsigned tally_role(enum process_role role)
{
    static const unsigned roles[] = {[PROCESS_WORKER] = LABEL_ROLE_WORKER,
                                     [PROCESS_REFRESHER] = LABEL_ROLE_REFRESHER,
                                     [PROCESS_MAILER] = LABEL_ROLE_MAILER,
                                     [PROCESS_SCHEDULER] = LABEL_ROLE_SCHEDULER};
    return roles[role];
}

void tally_holder(const struct process *process, pid_t pid)
{
    statistics_holder(tally_role(process->role), process->slot, pid);
}

void tally_restart(const struct process *process, int status)
{
    static const unsigned char causes[] = {
        [SIGKILL] = LABEL_CAUSE_SIGKILL, [SIGTERM] = LABEL_CAUSE_SIGTERM, [SIGSEGV] = LABEL_CAUSE_SIGSEGV,
        [SIGABRT] = LABEL_CAUSE_SIGABRT, [SIGBUS] = LABEL_CAUSE_SIGBUS,   [SIGFPE] = LABEL_CAUSE_SIGFPE,
        [SIGILL] = LABEL_CAUSE_SIGILL};
    unsigned cause = LABEL_CAUSE_EXIT;
    if (process->silent)
        cause = LABEL_CAUSE_UNRESPONSIVE;
    else if (WIFSIGNALED(status))
        cause = (size_t)WTERMSIG(status) < sizeof causes ? causes[WTERMSIG(status)] : LABEL_CAUSE_SIGNAL;
    if (WIFSIGNALED(status) && cause == LABEL_CAUSE_EXIT)
        cause = LABEL_CAUSE_SIGNAL; /* one that has no label */
    statistics_add(STATISTICS_RESTARTS, tally_role(process->role), cause, 1);
    if (process->serves_since == 0)
        statistics_count(STATISTICS_EARLY_DEATHS, tally_role(process->role));
}

void tally_states(const struct process *rows, size_t count, int64_t workers_wanted)
{
    int64_t counts[PROCESS_ROLE_COUNT][LABEL_STATE_COUNT] = {{0}};
    for (size_t i = 0; i < count; i++) {
        if (rows[i].used)
            counts[rows[i].role][state_labels[rows[i].state]]++;
    }
    for (enum process_role role = 0; role < PROCESS_ROLE_COUNT; role++) {
        for (unsigned state = 0; state < LABEL_STATE_COUNT; state++)
            statistics_set(STATISTICS_PROCESSES, tally_role(role), state, counts[role][state]);
    }
    statistics_set(STATISTICS_PROCESSES, LABEL_ROLE_MASTER, LABEL_STATE_READY, 1);
    statistics_set(STATISTICS_WORKERS_WANTED, LABEL_NONE_ONE, LABEL_NONE_ONE, workers_wanted);
}
