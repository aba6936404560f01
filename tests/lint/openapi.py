#!/usr/bin/env python3
"""Holds src/api/openapi.json against itself and against the source: it is OpenAPI 3.1 in its structure, every $ref resolves and
every component is used, examples fit their schemas, and routes, problems and fields are those of the code.

Usage: openapi.py [ROOT]     default: $srcdir, else the source that this file is in. First the lint is tested on itself.
"""

import copy
import json
import os
import re
import sys

WRITES = {"post", "put", "patch", "delete"}
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
PLACES = {"path", "query", "header", "cookie"}
TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}
FORMATS = {
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
    "uri-reference": r"\S+",
    "json-pointer": r"(/([^~/]|~[01])*)*",
}
# The words of JSON Schema that the document may use: those that fits() understands, and those that only explain.
SCHEMA_WORDS = {
    "$ref", "type", "enum", "const", "required", "properties", "additionalProperties", "items", "allOf", "oneOf", "minimum",
    "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "format", "description", "default",
}


class Document:
    def __init__(self, value):
        self.value = value
        self.used = set()

    def resolve(self, reference):
        """What a $ref points at, or None."""
        self.used.add(reference)
        at = self.value
        if not reference.startswith("#/"):
            return None
        for part in reference[2:].split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(at, dict) or part not in at:
                return None
            at = at[part]
        return at

    def follow(self, value):
        while isinstance(value, dict) and "$ref" in value:
            value = self.resolve(value["$ref"])
        return value if isinstance(value, dict) else {}


def walk(value, where="#"):
    yield where, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from walk(inner, f"{where}/{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from walk(inner, f"{where}/{number}")


def fits(document, schema, value, where):
    """Why a value does not fit a schema; nothing where it does."""
    if "$ref" in schema:
        yield from fits(document, document.follow(schema), value, where)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    boolean = isinstance(value, bool)
    if kinds and not any(isinstance(value, TYPES[kind]) and (not boolean or kind == "boolean") for kind in kinds):
        yield f"{where} is no {' or '.join(kinds)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{where} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is none of {schema['enum']}"
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{where} is too short or too long"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{where} does not match {schema['pattern']}"
        if "format" in schema and not re.fullmatch(FORMATS[schema["format"]], value):
            yield f"{where} is no {schema['format']}"
    elif isinstance(value, (int, float)) and not boolean:
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield f"{where} is out of range"
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{where} has too few or too many items"
        for number, item in enumerate(value):
            yield from fits(document, schema.get("items", {}), item, f"{where}/{number}")
    elif isinstance(value, dict):
        for name in schema.get("required", []):
            if name not in value:
                yield f"{where} lacks {name}"
        properties = schema.get("properties", {})
        for name, inner in value.items():
            if name in properties:
                yield from fits(document, properties[name], inner, f"{where}/{name}")
            elif schema.get("additionalProperties") is False:
                yield f"{where} has {name}, which is not allowed"
    for part in schema.get("allOf", []):
        yield from fits(document, part, value, where)
    if "oneOf" in schema:
        matching = [part for part in schema["oneOf"] if not list(fits(document, part, value, where))]
        if len(matching) != 1:
            yield f"{where} fits {len(matching)} of the alternatives"


def check_references(document):
    for where, value in walk(document.value):
        if isinstance(value, dict) and "$ref" in value and document.resolve(value["$ref"]) is None:
            yield f"{where}: {value['$ref']} leads nowhere"
    for kind, members in document.value.get("components", {}).items():
        for name in members:
            if kind != "securitySchemes" and f"#/components/{kind}/{name}" not in document.used:
                yield f"components/{kind}/{name} is not used"


def operations(document):
    for path, item in document.value.get("paths", {}).items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method, operation, item.get("parameters", []) + operation.get("parameters", [])


def check_structure(document):
    value = document.value
    if not re.fullmatch(r"3\.1\.\d+", value.get("openapi", "")):
        yield "openapi is not 3.1"
    for name in ("title", "version", "description"):
        if not value.get("info", {}).get(name):
            yield f"info.{name} is missing"
    schemes = set(value.get("components", {}).get("securitySchemes", {}))
    tags = {tag["name"] for tag in value.get("tags", [])}
    seen = set()
    for path, method, operation, parameters in operations(document):
        here = f"{method} {path}"
        name = operation.get("operationId")
        if not name or name in seen:
            yield f"{here}: operationId {name} is missing or not unique"
        seen.add(name)
        if not operation.get("summary") or not set(operation.get("tags", [])) <= tags or not operation.get("tags"):
            yield f"{here}: no summary, or no known tag"
        for requirement in operation.get("security", value.get("security", [])):
            if not set(requirement) <= schemes:
                yield f"{here}: security scheme {set(requirement) - schemes} is not known"
        resolved = [document.follow(parameter) for parameter in parameters]
        in_path = {parameter.get("name") for parameter in resolved if parameter.get("in") == "path"}
        if in_path != set(re.findall(r"\{(\w+)\}", path)):
            yield f"{here}: its path parameters are not described"
        for parameter in resolved:
            if parameter.get("in") not in PLACES or "schema" not in parameter or not parameter.get("description"):
                yield f"{here}: parameter {parameter.get('name')} lacks its place, schema or description"
            if parameter.get("in") == "path" and parameter.get("required") is not True:
                yield f"{here}: path parameter {parameter.get('name')} is not required"
        # A key is a user's own: who is nobody has none.
        signed_in = operation.get("security") != [{}]
        if method in WRITES and signed_in and "Idempotency-Key" not in {parameter.get("name") for parameter in resolved}:
            yield f"{here}: it writes and takes no Idempotency-Key"
        if method in WRITES and signed_in and not {"key-in-use", "key-reused"} <= set(problems_of(document, operation, set())):
            yield f"{here}: the refusals of an Idempotency-Key are missing"
        if method in ("post", "put", "patch") and operation.get("requestBody") is not None:
            if not operation["requestBody"].get("content"):
                yield f"{here}: its body has no content"
        yield from check_responses(document, here, method, operation)


def check_responses(document, here, method, operation):
    responses = operation.get("responses", {})
    if not any(status.startswith("2") for status in responses) or "default" not in responses:
        yield f"{here}: no success, or no default response"
    for status, response in responses.items():
        response = document.follow(response)
        if not re.fullmatch(r"[2-5]\d\d|default", status) or not response.get("description"):
            yield f"{here}: response {status} has no description, or is no status"
        headers = response.get("headers", {})
        if "X-Request-Id" not in headers:
            yield f"{here}: response {status} does not name X-Request-Id"
        content = response.get("content", {})
        refused = status == "default" or status >= "400"
        if refused and set(content) != {"application/problem+json"}:
            yield f"{here}: response {status} is no problem"
        wanted = {"201": "Location", "401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After", "304": "ETag"}.get(status)
        if wanted and wanted not in headers:
            yield f"{here}: response {status} does not name {wanted}"
        if status in ("204", "304") and content:
            yield f"{here}: response {status} has a body"
    if "429" not in responses:
        yield f"{here}: 429 is missing"
    if operation.get("requestBody") and not {"400", "413", "415", "422"} <= set(responses):
        yield f"{here}: it takes a body, and a refusal of bodies is missing"
    if operation.get("security") != [{}] and not {"401", "403"} <= set(responses):
        yield f"{here}: it looks at a token, and 401 or 403 is missing"
    if "304" in responses and method != "get":
        yield f"{here}: 304 is for GET"


def check_schemas(document):
    schemas = list(walk(document.value["components"].get("schemas", {}), "components/schemas"))
    inside = {id(inner): where for where, value in schemas if isinstance(value, dict) and isinstance(value.get("properties"), dict)
              for inner in [value["properties"]]}
    for where, value in schemas:
        if not isinstance(value, dict) or where == "components/schemas" or id(value) in inside:
            continue
        unknown = set(value) - SCHEMA_WORDS
        if unknown:
            yield f"{where}: {sorted(unknown)} is not understood by this lint"
        for name in value.get("required", []):
            if "properties" in value and name not in value["properties"] and "allOf" not in value:
                yield f"{where}: {name} is required and not described"


def check_examples(document):
    for where, value in walk(document.value):
        if not isinstance(value, dict) or "schema" not in value:
            continue
        examples = {name: example.get("value") for name, example in value.get("examples", {}).items()}
        if "example" in value:
            examples["example"] = value["example"]
        for name, example in examples.items():
            for why in fits(document, value["schema"], example, ""):
                yield f"{where}: example {name}: {why}"


def schema_names(document, name):
    schema = document.follow({"$ref": f"#/components/schemas/{name}"})
    names = list(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        names = [inner for inner in schema_names(document, part["$ref"].rsplit("/", 1)[1]) if inner not in names] + names
    return names


def problems_of(document, value, seen):
    """The types of problem that a schema allows."""
    for _, inner in walk(value):
        if isinstance(inner, dict) and "$ref" in inner and inner["$ref"] not in seen:
            seen.add(inner["$ref"])
            yield from problems_of(document, document.follow(inner), seen)
        if isinstance(inner, dict) and str(inner.get("const", "")).startswith("/problems/"):
            yield inner["const"][len("/problems/"):]


def check_source(document, source):
    """Routes, problems and fields are those of the code. `source` maps paths to texts."""
    routes = set()
    for method, path in re.findall(r'\{HTTP_METHOD_(\w+), "(/api/[^"]*)"', source["src/api/routes.c"]):
        routes.add((path, method.lower()))
    described = {(path, method) for path, method, _, _ in operations(document)}
    for path, method in sorted(routes - described):
        yield f"{method} {path} is served and not described"
    for path, method in sorted(described - routes):
        yield f"{method} {path} is described and not served"

    version = re.search(r"AC_INIT\(\[\w+\], \[([^\]]+)\]", source["configure.ac"]).group(1)
    if document.value["info"]["version"] != version:
        yield f"info.version is not {version}"

    known = set(re.findall(r'PROBLEM\(\w+, "([a-z-]+)"\)', source["src/http/problem.h"]))
    named = set(problems_of(document, document.value["paths"], set()))
    for slug in sorted(named - known):
        yield f"problem {slug} is described and not known to src/http/problem.h"
    statuses = dict(re.findall(r"\[PROBLEM_(\w+)\] =\s*\{(\d+)", source["src/http/problem.c"]))
    symbols = {slug: symbol for symbol, slug in re.findall(r'PROBLEM\((\w+), "([a-z-]+)"\)', source["src/http/problem.h"])}
    for name, schema in document.value["components"]["schemas"].items():
        slug = str(schema.get("properties", {}).get("type", {}).get("const", ""))[len("/problems/"):]
        status = schema.get("properties", {}).get("status", {}).get("const")
        if slug in known and status is not None and str(status) != statuses.get(symbols[slug]):
            yield f"components/schemas/{name}: status {status} is not the one of src/http/problem.c"
    for slug in sorted(set(re.findall(r", PROBLEM_(\w+)\},", source["src/api/answer.c"])) - {"COUNT"}):
        slug = {symbol: name for name, symbol in symbols.items()}[slug]
        if slug not in named:
            yield f"problem {slug} is an outcome of the rules and not described"

    fields = source["sql/rules/event_fields.sql"]
    read_only = re.search(r"when v_name in \(('id'[^)]*)\) then\s+v_detail := 'is read-only'", fields).group(1)
    writable = set()
    for names in re.findall(r"when v_name (?:= ('\w+')|in \(([^)]*)\)) then", fields):
        writable |= set(re.findall(r"'(\w+)'", names[0] or names[1]))
    writable -= set(re.findall(r"'(\w+)'", read_only)) | {"status"}
    if set(schema_names(document, "EventPatch")) != writable:
        yield f"EventPatch and sql/rules/event_fields.sql differ in {sorted(set(schema_names(document, 'EventPatch')) ^ writable)}"

    body = source["sql/rules/registration_json.sql"]
    if schema_names(document, "Registration") != re.findall(r'"(\w+)":', body):
        yield "Registration and sql/rules/registration_json.sql differ"
    shown = re.search(r"c_shown constant text\[\] := array\[(.*?)\]", source["sql/rules/audit_difference.sql"], re.S).group(1)
    if schema_names(document, "LoggedFields") != re.findall(r"'(\w+)'", shown):
        yield "LoggedFields and sql/rules/audit_difference.sql differ"
    for schema, path in (("Event", "event_body"), ("EventListItem", "events_list"), ("User", "user_body"),
                         ("Person", "event_roster"), ("LogEntry", "event_log")):
        text = source[f"sql/rules/{path}.sql"]
        names = columns_of_last_select(text)
        if set(schema_names(document, schema)) != set(names):
            yield f"{schema} and sql/rules/{path}.sql differ in {sorted(set(schema_names(document, schema)) ^ set(names))}"


def columns_of_last_select(text):
    """The names of the columns of the last inner `( select ... )` of a function that makes one body."""
    text = re.sub(r"--.*", "", text)
    # Brackets with what is in them away, innermost first, until only the select's own list is left between its brackets.
    start = list(re.finditer(r"\(\s*select\s+(?=(?:e|p_user|u)\.id\b|turnout\.api_time\(a\.at\))", text))[-1].end()
    depth, at, item, items = 0, start, "", []
    while at < len(text):
        word = re.match(r"from\b", text[at:])
        if depth == 0 and (text[at] == ")" or word):
            break
        depth += (text[at] in "([") - (text[at] in ")]")
        if depth == 0 and text[at] == ",":
            items.append(item)
            item = ""
        else:
            item += text[at]
        at += 1
    items.append(item)
    return [re.search(r"(\w+)\s*$", item).group(1) for item in items]


CHECKS = [check_references, check_structure, check_schemas, check_examples]
SOURCES = [
    "src/api/routes.c", "src/api/answer.c", "src/http/problem.h", "src/http/problem.c", "configure.ac",
    "sql/rules/event_fields.sql", "sql/rules/event_body.sql", "sql/rules/events_list.sql", "sql/rules/user_body.sql",
    "sql/rules/registration_json.sql", "sql/rules/event_roster.sql", "sql/rules/event_log.sql",
    "sql/rules/audit_difference.sql",
]


def findings(value, source):
    document = Document(value)
    for check in CHECKS:
        yield from check(document)
    yield from check_source(document, source)


def without_duplicates(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a member stands twice: {[name for name in members if names.count(name) > 1]}")
    return members


def self_test(value, source):
    """Each of these faults must be found in the document as it is."""

    def at(document, *names):
        for name in names:
            document = document[name]
        return document

    events = ("paths", "/api/events", "get")
    faults = [
        ("leads nowhere", lambda d: at(d, *events, "responses").update({"404": {"$ref": "#/components/responses/Gone"}})),
        ("is not used", lambda d: at(d, "components", "schemas").update({"Spare": {"type": "object"}})),
        ("not unique", lambda d: at(d, *events).update({"operationId": "createEvent"})),
        ("is served and not described", lambda d: at(d, "paths").pop("/api/users/me")),
        ("is described and not served", lambda d: at(d, "paths").update({"/api/more": at(d, "paths", "/api/users/me")})),
        ("path parameters", lambda d: at(d, "paths", "/api/events/{id}").pop("parameters")),
        ("is no problem", lambda d: at(d, "components", "responses", "NotFound").pop("content")),
        ("does not name Retry-After", lambda d: at(d, "components", "responses", "Unavailable", "headers").pop("Retry-After")),
        ("refusal of bodies", lambda d: at(d, "paths", "/api/registrations", "post", "responses").pop("415")),
        ("takes no Idempotency-Key", lambda d: at(d, "paths", "/api/events", "post").pop("parameters")),
        ("refusals of an Idempotency-Key", lambda d: at(d, "paths", "/api/events", "post", "responses").pop("409")),
        ("429 is missing", lambda d: at(d, *events, "responses").pop("429")),
        ("401 or 403", lambda d: at(d, *events, "responses").pop("401")),
        ("is out of range", lambda d: at(d, *events, "responses", "200", "content", "application/json", "examples", "page", "value",
                                         "events", 0).update({"capacity": 0})),
        ("lacks title", lambda d: at(d, *events, "responses", "200", "content", "application/json", "examples", "page", "value",
                                     "events", 0).pop("title")),
        ("which is not allowed", lambda d: at(d, "paths", "/api/events", "post", "requestBody", "content", "application/json",
                                              "examples", "least", "value").update({"colour": "red"})),
        ("fits 0 of the alternatives", lambda d: at(d, "paths", "/api/registrations", "post", "responses", "409", "content",
                                                    "application/problem+json", "examples", "full", "value").update({"status": 410})),
        ("not known to src/http", lambda d: at(d, "components", "schemas", "EventFull", "properties", "type").update({"const": "/problems/sold-out"})),
        ("is not the one of src/http/problem.c", lambda d: at(d, "components", "schemas", "NotPublished", "properties", "status").update({"const": 410})),
        ("outcome of the rules and not described", lambda d: at(d, "paths", "/api/registrations", "post", "responses", "409").update(
            at(d, "components", "responses", "WrongStatus"))),
        ("EventPatch and", lambda d: at(d, "components", "schemas", "EventPatch", "properties").pop("venue")),
        ("Event and", lambda d: at(d, "components", "schemas", "Event", "properties").pop("version")),
        ("EventListItem and", lambda d: at(d, "components", "schemas", "EventListItem", "properties").pop("venue")),
        ("User and", lambda d: at(d, "components", "schemas", "User", "properties").update({"phone": {"type": "string"}})),
        ("Registration and", lambda d: at(d, "components", "schemas", "Registration", "properties").pop("position")),
        ("is not understood", lambda d: at(d, "components", "schemas", "User").update({"maxPropertis": 3})),
        ("is required and not described", lambda d: at(d, "components", "schemas", "User", "required").append("phone")),
        ("info.version", lambda d: at(d, "info").update({"version": "9"})),
    ]
    for expected, spoil in faults:
        spoiled = copy.deepcopy(value)
        spoil(spoiled)
        found = list(findings(spoiled, source))
        if not any(expected in finding for finding in found):
            yield f"self-test: «{expected}» is not found, but {found[:3]}"


def main(arguments):
    root = arguments[0] if arguments else os.environ.get("srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
    path = os.path.join(root, "src/api/openapi.json")
    with open(path, encoding="utf-8") as file:
        value = json.load(file, object_pairs_hook=without_duplicates)
    source = {}
    for name in SOURCES:
        with open(os.path.join(root, name), encoding="utf-8") as file:
            source[name] = file.read()
    found = list(findings(value, source)) or list(self_test(value, source))
    for finding in found:
        print(f"src/api/openapi.json: {finding}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
