/* cursor: where a list goes on, signed so that nobody can ask for places that we did not name (a made-up place reveals
 * nothing, but a signature makes the form ours to change). Worker and refresher.
 *
 * Bytes: form (1) | place (8, big-endian) | id (16) | HMAC-SHA-256 of "turnout cursor" NUL, these 25 and the scope, cut
 * to 16 bytes. 41 bytes, 55 characters. With a name, form 2: its length (1) and its bytes stand behind the id. */
#include "identity/cursor.h"

#include <string.h>

#include "identity/base64url.h"
#include "identity/seal.h"

/* Changes with the layout: an older cursor is then refused, and the client starts over. */
#define FORM 1
#define FORM_WITH_NAME 2
#define ID_SIZE 16
#define BODY_SIZE (1 + 8 + ID_SIZE)
#define BODY_SIZE_MAX (BODY_SIZE + CURSOR_NAME_SIZE)
#define CURSOR_SIZE_MAX (BODY_SIZE_MAX + SEAL_SIZE)
#define PURPOSE "turnout cursor"

static size_t body_length(const unsigned char *bytes, size_t size);

void cursor_set_key(const void *key, size_t length)
{
    seal_set_key(key, length);
}

void cursor_forget_key(void)
{
    seal_forget_key();
}

/* Ids reach this place from the database: one that is none is a broken invariant. */
static void put_id(const char *id, unsigned char bytes[ID_SIZE])
{
    char canonical[UUID_TEXT_SIZE];
    INVARIANT(uuid_parse(id, strlen(id), canonical));
    uuid_to_bytes(canonical, bytes);
}

void cursor_sign(const struct cursor *cursor, const char *scope, char text[CURSOR_TEXT_MAX])
{
    unsigned char bytes[CURSOR_SIZE_MAX] = {FORM};
    size_t name_length = strnlen(cursor->name, CURSOR_NAME_SIZE);
    size_t length = BODY_SIZE;

    _Static_assert((CURSOR_SIZE_MAX * 4 + 2) / 3 < CURSOR_TEXT_MAX, "a cursor fits its text");
    INVARIANT(name_length < CURSOR_NAME_SIZE);
    for (size_t i = 0; i < 8; i++)
        bytes[1 + i] = (unsigned char)((uint64_t)cursor->place >> (56 - 8 * i) & 0xffu);
    put_id(cursor->id, bytes + 9);
    if (name_length > 0) {
        bytes[0] = FORM_WITH_NAME;
        bytes[length++] = (unsigned char)name_length;
        memcpy(bytes + length, cursor->name, name_length);
        length += name_length;
    }
    seal_make(PURPOSE, bytes, length, scope, bytes + length);
    INVARIANT(base64url_encode(bytes, length + SEAL_SIZE, text) < CURSOR_TEXT_MAX);
}

/* The length of what is signed, 0 where the bytes have none of our forms. */
static size_t body_length(const unsigned char *bytes, size_t size)
{
    if (size == BODY_SIZE + SEAL_SIZE && bytes[0] == FORM)
        return BODY_SIZE;
    if (size > BODY_SIZE + 1 + SEAL_SIZE && bytes[0] == FORM_WITH_NAME &&
        size == BODY_SIZE + 1u + bytes[BODY_SIZE] + SEAL_SIZE && bytes[BODY_SIZE] < CURSOR_NAME_SIZE)
        return size - SEAL_SIZE;
    return 0;
}

bool cursor_verify(const char *text, const char *scope, struct cursor *cursor)
{
    unsigned char bytes[CURSOR_SIZE_MAX];
    uint64_t place = 0;

    size_t text_length = strnlen(text, CURSOR_TEXT_MAX);
    ssize_t size = base64url_decode(text, text_length, bytes, sizeof bytes);
    size_t length = size < 0 ? 0 : body_length(bytes, (size_t)size);
    if (length == 0 || !seal_fits(PURPOSE, bytes, length, scope, bytes + length))
        return false;
    for (size_t i = 0; i < 8; i++)
        place = place << 8 | bytes[1 + i];
    cursor->place = (int64_t)place;
    uuid_from_bytes(bytes + 9, cursor->id);
    size_t name_length = length == BODY_SIZE ? 0 : length - BODY_SIZE - 1;
    memcpy(cursor->name, bytes + BODY_SIZE + 1, name_length);
    cursor->name[name_length] = '\0';
    return true;
}
