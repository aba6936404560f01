/* mime: how texts become lines of a message: headers with encoded words (RFC 2047), bodies as quoted-printable or
 * base64 (RFC 2045), addresses (RFC 5322). Any process; no state. No line that it writes is longer than 78 characters,
 * other than for an address that is; each ends with CR LF. */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/object.h"

/* An address of RFC 5321 with its NUL. */
#define MIME_ADDRESS_SIZE 320

/* Reads `address` or `Name <address>` (the name may stand in quotation marks) into the bare address and, into `name`,
 * the display name, which may be "". false: it is none, and `error` says why. */
bool mime_read_mailbox(const char *text, char address[MIME_ADDRESS_SIZE], struct buffer *name, char *error,
                       size_t error_size) MUST_CHECK;
/* Writes the bare address of a person as headers and SMTP want it: a local part that is no row of atoms gets quotation
 * marks. false: there is none that can be written. */
bool mime_write_address(const char *text, char address[MIME_ADDRESS_SIZE]) MUST_CHECK;
/* The part behind the last '@'. */
const char *mime_domain(const char *address);

/* "Name: text": as it is where that is safe, else in encoded words, which are cut between characters. `text` has no
 * control characters. */
void mime_text_header(struct buffer *to, const char *name, const char *text);
/* "Name: Display Name <address>", `address` as one of the above wrote it; `display` may be NULL or "". */
void mime_mailbox_header(struct buffer *to, const char *name, const char *display, const char *address);
/* "Date: Mon, 23 Nov 2026 04:00:00 +0000"; `moment` is in microseconds since 1970 UTC. */
void mime_date_header(struct buffer *to, int64_t moment);

/* Content-Transfer-Encoding, an empty line and the body, in whichever encoding is shorter. Ends of lines, LF or CR LF,
 * are CR LF for who decodes it. No line of it begins with "--" or "=_", so a boundary that begins with "=_" is safe. */
void mime_body(struct buffer *to, const char *bytes, size_t length);

#endif
