"""For tests of turnoutctl reload."""

import json


def reload(turnout, **options):
    """What turnoutctl -j reload says: option → (from, to, takes effect)."""
    turnout.configure(**options)
    return {row["option"]: (row["from"], row["to"], row["takes_effect"]) for row in json.loads(turnout.ctl("-j", "reload").stdout)}


def refuses_body(turnout, size):
    """Is it the size that a POST is refused for?"""
    answer = turnout.post("/api/registrations", body=b" " * size, headers={"Content-Type": "application/json"})
    return answer.status == 413
