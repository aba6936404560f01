/* commands: what turnoutctl asks of the hot cache. Refresher. */
#ifndef REFRESHER_COMMANDS_H
#define REFRESHER_COMMANDS_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/object.h"

/* The entry of a key: lines "name: value", an empty line, the body. false: there is none; `text` says so. */
bool commands_show(const char *key, struct buffer *text) MUST_CHECK;
/* Deletes the entries whose keys fit, and says how many; they are filled again when they are asked for. */
void commands_drop(const char *pattern, struct buffer *text);

#endif
