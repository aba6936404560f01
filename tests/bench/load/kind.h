/* kind: what an answer said beside its status, as counts by name: "201 waitlisted", "409 event-full", "503 overloaded".
 * The load generator. */
#ifndef LOAD_KIND_H
#define LOAD_KIND_H

#include <stddef.h>
#include <stdint.h>

#define KINDS_MAX 32
#define KIND_SIZE 64

struct kinds {
    struct {
        char name[KIND_SIZE];
        int64_t count;
    } rows[KINDS_MAX]; /* the last one takes what the others have no room for */
    int count;
};

/* The status with the slug of the problem's type, or with what "status" says in the body, or alone. */
void kind_name(int status, const char *body, size_t length, char name[KIND_SIZE]);
void kind_count(struct kinds *kinds, const char *name);

#endif
