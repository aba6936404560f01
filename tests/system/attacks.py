"""Requests that others graded by how far two programs may disagree about them (../shared/data/http), as bytes.

They come as fields, nearly all without Host; what is missing is added here: a Host, and the body that its length promises.
A body holds a request of its own wherever there is room for one, so that whoever reads the length in another way meets it.
"""

import itertools
import re

import yaml

FILES = ("acceptable", "ambiguous", "bad-header-characters", "edge-cases", "more-compliant-tests", "real-life-test-cases",
         "rfc-compliant", "severe", "uri-specific-test-cases")
TOKEN = r"!#$%&'*+.^_`|~0-9A-Za-z-"
# The id that a request inside of a body says it has.
SMUGGLED = "smuggled"


class Case:
    """`tier`, `title`; `headers` as pairs of text."""

    def __init__(self, fields, file, number):
        self.tier = fields["expected"]["tier"]
        self.reason = fields["expected"]["reason"]
        self.name = f"{file}-{number}"
        self.title = f"{file} {number}: {fields['name']}"
        self.method = fields["method"]
        self.target = fields["uri"]
        self.version = fields["version"] or ""
        self.headers = [(pair["name"], str(pair["value"])) for pair in fields.get("headers") or []]

    @property
    def is_dangerous(self):
        return self.tier in ("Ambiguous", "Severe")

    def __repr__(self):
        return self.title


def read_cases(folder):
    cases = []
    for file in FILES:
        for number, fields in enumerate(yaml.safe_load((folder / "http" / f"{file}.yaml").read_text(encoding="utf-8")), 1):
            cases.append(Case(fields, file, number))
    return cases


# --- what a header looks like, once everything but letters is dropped ---

def is_coding(name):
    return re.sub("[^a-z]", "", name.lower()) in ("transferencoding", "tranferencoding", "transferencodng")


def is_length(name):
    return re.sub("[^a-z]", "", name.lower()) == "contentlength"


def plain_length(headers):
    """What a careful reader takes for the length: a number where there is exactly one plain one."""
    values = [value.strip(" \t") for name, value in headers if name.lower() == "content-length"]
    return int(values[0]) if len(values) == 1 and re.fullmatch("[0-9]{1,7}", values[0]) else None


def is_chunked(headers):
    """What a careful reader takes for chunked: a plain name, and chunked last."""
    return any(name.lower() == "transfer-encoding" and "chunk" in value.lower() for name, value in headers)


# --- bodies ---

def smuggled_request(host, path="/api/smuggled"):
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {SMUGGLED}\r\n\r\n".encode()


def chunked(data):
    return b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n"


def honest_body(case, host):
    """One request by the careful reading; whoever ends the body sooner meets a request in it."""
    inner = smuggled_request(host)
    if is_chunked(case.headers):
        # Behind as many bytes as a length would say.
        before = plain_length(case.headers) or 0
        line = len(b"%x\r\n" % (before + len(inner)))
        return chunked(b"x" * max(0, min(before, 2000) - line) + inner)
    length = plain_length(case.headers)
    if length is not None:
        return (b"0\r\n\r\n" + inner + b"x" * length)[:length]
    # No reader sees a plain length, so a careful one reads none. The misspelt one is kept, so that the bytes behind are no request.
    for name, value in case.headers:
        if is_coding(name) or "chunk" in value:
            return chunked(inner)
        if is_length(name):
            return b"x" * min(int((re.findall("[0-9]+", value) or ["0"])[0]), 2000)
    return b""


def bodies(case, host):
    """The honest one; nothing but a request; and a chunked body that ends at once, with a request behind it."""
    honest = honest_body(case, host)
    if not honest:
        return [honest]
    inner = smuggled_request(host)
    return [honest, inner, b"0\r\n\r\n" + inner]


# --- whole requests ---

def head(method, target, version, headers, host):
    """The header block as text."""
    lines = [" ".join(part for part in (method, target, version) if part != "" or part is target)]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.append(f"Host: {host}")
    text = "".join(line + "\r\n" for line in lines + [f"{name}: {value}" for name, value in headers]) + "\r\n"
    return text


def encodings(text):
    """As bytes in which a character is one, where that is possible, and as UTF-8."""
    found = [text.encode("utf-8")]
    if all(ord(character) < 256 for character in text):
        found.insert(0, text.encode("latin-1"))
    return list(dict.fromkeys(found))


def attacks(case, host, prefix="", honest=None):
    """Every form of the request: each encoding of its head with each body. `honest`: only those whose body is, or is not."""
    blocks = encodings(head(case.method, prefix + case.target, case.version, case.headers, host))
    first, *others = bodies(case, host)
    chosen = {None: [first, *others], True: [first], False: others}[honest]
    return [block + body for body, block in itertools.product(chosen, blocks)]


def twin(case, host, prefix=""):
    """The nearest request that is well-formed: the same without the bad part."""
    target = re.split(r"HTTP/|[^\x21\x22\x24-\x7e]", case.target.lstrip("\x00"))[0].rstrip("\t\r\n\x00\x01 ")
    headers, framed = [], case.method in ("GET", "HEAD")
    for name, value in case.headers:
        if is_coding(name) or is_length(name):
            if framed:
                continue
            framed = True
            digits = re.findall("[0-9]+", value)
            clean = ("Transfer-Encoding", "chunked") if is_coding(name) else ("Content-Length", str(min(int(digits[0]), 2000)))
            headers.append(clean)
        else:
            name = re.sub(f"[^{TOKEN}]", "", name) or "X-Name"
            value = re.sub("[\x00-\x08\x0a-\x1f\x7f]", "", value)
            headers.append((name, value))
    method = case.method if case.method.isupper() else "POST"
    block = head(method, prefix + (target or "/"), "HTTP/1.1", headers, host)
    if is_chunked(headers):
        return method, block.encode("latin-1") + chunked(smuggled_request(host))
    length = plain_length(headers) or 0
    return method, block.encode("latin-1") + (smuggled_request(host) + b"x" * length)[:length]
