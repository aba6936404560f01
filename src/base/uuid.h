/* uuid: ids of our own making, version 7 (RFC 9562, 5.7): time-ordered, so that rows made together lie together.
 * Any process; the random part comes from getrandom(2). */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

#define UUID_TEXT_SIZE 37

/* A new id as 36 lower-case characters and a NUL. Within a process ids never go back. */
void uuid_v7(char text[UUID_TEXT_SIZE]);

/* Reads exactly `length` bytes as a UUID of any version in 8-4-4-4-12 form, either case, and writes it in lower case.
 */
bool uuid_parse(const char *bytes, size_t length, char text[UUID_TEXT_SIZE]) MUST_CHECK;

/* The 16 bytes of an id in the form that the functions above write; their order (memcmp) is PostgreSQL's. */
void uuid_to_bytes(const char text[UUID_TEXT_SIZE], unsigned char bytes[16]);
/* And back. */
void uuid_from_bytes(const unsigned char bytes[16], char text[UUID_TEXT_SIZE]);

#endif
