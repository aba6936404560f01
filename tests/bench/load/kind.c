/* kind: see the header. The load generator. */
#include "kind.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define KIND_OTHERS "others"

/* The word behind `before` up to the next quote; false where there is none that fits. */
static bool word_after(const char *body, size_t length, const char *before, char word[KIND_SIZE])
{
    const char *found = memmem(body, length, before, strlen(before));
    if (found == NULL)
        return false;
    found += strlen(before);
    size_t left = length - (size_t)(found - body);
    const char *end = memchr(found, '"', left < KIND_SIZE - 5 ? left : KIND_SIZE - 5);
    if (end == NULL)
        return false;
    memcpy(word, found, (size_t)(end - found));
    word[end - found] = '\0';
    return true;
}

void kind_name(int status, const char *body, size_t length, char name[KIND_SIZE])
{
    char word[KIND_SIZE] = "";
    bool found =
        word_after(body, length, "\"type\":\"/problems/", word) || word_after(body, length, "\"status\":\"", word);
    snprintf(name, KIND_SIZE, "%d%s%.58s", status, found ? " " : "", word);
}

void kind_count(struct kinds *kinds, const char *name)
{
    for (int i = 0; i < kinds->count; i++) {
        if (strcmp(kinds->rows[i].name, name) == 0) {
            kinds->rows[i].count++;
            return;
        }
    }
    if (kinds->count < KINDS_MAX) {
        int place = kinds->count++;
        snprintf(kinds->rows[place].name, KIND_SIZE, "%s", place == KINDS_MAX - 1 ? KIND_OTHERS : name);
    }
    kinds->rows[kinds->count - 1].count++;
}
