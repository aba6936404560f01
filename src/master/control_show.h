/* control_show: what the nouns of "show" answer with. Master. */
#ifndef MASTER_CONTROL_SHOW_H
#define MASTER_CONTROL_SHOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/configuration.h"
#include "ctl/command.h"
#include "ctl/protocol.h"
#include "master/process.h"

/* Once, before the others. */
void control_show_create(const struct configuration *configuration);
/* Does the answer stand in the children's reports, so that fresh ones are wanted first? */
bool control_show_needs_reports(enum command command);
/* Fills the answer with the rows of those that are meant. false: the command is none of these. `asked_at`, `number`:
 * when the reports were asked for, and by which ping. */
bool control_show(enum command command, const struct process_target *target, int64_t asked_at, int64_t number,
                  struct protocol_reply *answer) MUST_CHECK;

#endif
