"""Links by which people unsubscribe, made without the server: by the key that hosts share."""

import base64
import hashlib
import hmac
import uuid

GROUPS = ("reminders", "surveys")


def token_for(turnout, user_id, group, key=None):
    body = bytes([1, GROUPS.index(group)]) + uuid.UUID(user_id).bytes
    key = (turnout.folder / "cursor.key").read_bytes() if key is None else key
    seal = hmac.new(key, b"turnout unsubscribe\0" + body, hashlib.sha256).digest()[:16]
    return base64.urlsafe_b64encode(body + seal).decode().rstrip("=")


def link_for(turnout, person, group):
    return f"/api/mail/unsubscribe?token={token_for(turnout, person.id, group)}"
