"""Tests the layout lint on itself: a small tree that is right has no finding, and each fault put into it is found by the
check that is there for it, and by no other. Writes below a temporary folder.
"""

import os
import shutil
import tempfile

GOOD = {
    "README.md": "# sample\n",
    "Makefile.am": "include src/base/local.mk\ninclude src/http/local.mk\ninclude src/api/local.mk\ninclude src/ctl/local.mk\n",
    "src/base/README.md": "line\n" * 10,
    "src/base/local.mk": "a = src/base/text.c src/base/text.h\nb = src/base/README.md\nall:\n\ttrue\n",
    "src/base/text.h": "/* text: a sample. */\n#ifndef BASE_TEXT_H\n#define BASE_TEXT_H\n\n/* Says it. */\nint text_say(int word);\n"
                       "int text_shout(int word);\n\nTAILQ_HEAD(texts, text);\n\nstruct text {\n    int (*say)(int word);\n};\n\n#endif\n",
    "src/base/text.c": '/* text: a sample. */\n#include "base/text.h"\n#include "config.h"\n#include <stdio.h>\n',
    "src/http/README.md": "line\n" * 10,
    "src/http/local.mk": "a = src/http/server.c src/http/README.md\nsrc/http/llhttp_api.c: Makefile\n",
    "src/http/server.c": '/* server: a sample. */\n#include "base/text.h"\n#include "http/server.h"\n',
    "src/api/README.md": "line\n" * 10,
    "src/api/local.mk": "a = src/api/events.c src/api/README.md\n",
    "src/api/events.c": '/* events: a sample. */\n#include "http/server.h"\n#include "pg/pool.h"\n',
    "src/ctl/README.md": "line\n" * 10,
    "src/ctl/local.mk": "a = src/ctl/command.c src/ctl/README.md\n",
    "src/ctl/command.c": '/* command: a sample. */\n#include "base/text.h"\n#include "pg/pool.h"\n#include "identity/token.h"\n',
    "src/local.mk": "include src/base/local.mk\ninclude src/http/local.mk\ninclude src/api/local.mk\ninclude src/ctl/local.mk\n",
    "sql/schema/0001_tables.sql": "-- Tables.\ncreate table turnout.a (b integer);\n",
    "sql/schema/0002_more.sql": "-- More.\ncreate table turnout.c (d integer);\n",
    "sql/rules/answer.sql": "-- Answers. Locks nothing.\ncreate or replace function turnout.answer() returns integer\n"
                            "language sql as $$ select e.* from (select 42) e where 'SELECT' <> 'x' $$; -- FROM here\n",
    "tests/system/test_sample.py": '"""A sample."""\nimport time\n\ntime.sleep(0.005)\n',
    "tests/lint/sample.sh": "#!/bin/sh\n# A sample.\nexit 0\n",
}

# (check, path, content or None to remove): one fault each, put into the good tree.
BAD = [
    ("check_includes", "src/base/text.c", '/* text. */\n#include "http/server.h"\n'),
    ("check_includes", "src/http/server.c", '/* server. */\n#include "pg/pool.h"\n'),
    ("check_includes", "src/api/events.c", '/* events. */\n#include "worker/worker.h"\n'),
    ("check_includes", "src/api/events.c", '/* events. */\n#include "ctl/command.h"\n'),
    ("check_includes", "src/ctl/command.c", '/* command. */\n#include "http/server.h"\n'),
    ("check_includes", "src/ctl/command.c", '/* command. */\n#include "api/events.h"\n'),
    ("check_includes", "src/http/server.c", '/* server. */\n#  include "server.h"\n'),
    ("check_includes", "src/http/server.c", '/* server. */\n#include "elsewhere/server.h"\n'),
    ("check_readmes", "src/http/README.md", "short\n"),
    ("check_readmes", "src/http/README.md", None),
    ("check_guards", "src/base/text.h", "/* text. */\nstruct text;\n"),
    ("check_guards", "src/base/text.h", "/* text. */\n#ifndef TEXT_H\n#define TEXT_H\n#endif\n"),
    ("check_guards", "src/base/text.h", "/* text. */\n#ifndef BASE_TEXT_H\n#define BASE_TEXT_J\n#endif\n"),
    ("check_guards", "src/base/text.h", "/* text. */\n#include <stdio.h>\n#ifndef BASE_TEXT_H\n#define BASE_TEXT_H\n#endif\n"),
    ("check_comments", "src/base/text.h", "/* text. */\n#ifndef BASE_TEXT_H\n#define BASE_TEXT_H\n\nint text_say(int word);\n\n#endif\n"),
    ("check_comments", "src/base/text.h",
     "/* text. */\n#ifndef BASE_TEXT_H\n#define BASE_TEXT_H\n\n/* Says it. */\nint text_say(int word);\n\nconst char *text_of(int word);\n\n#endif\n"),
    ("check_openings", "src/base/text.c", '#include "base/text.h"\n'),
    ("check_openings", "sql/rules/answer.sql", "\n-- Locks nothing.\ncreate or replace function turnout.answer() returns integer as '';\n"),
    ("check_openings", "tests/system/test_sample.py", "import time\n"),
    ("check_openings", "tests/lint/sample.sh", "#!/bin/sh\nexit 0\n"),
    ("check_openings", "tests/lint/sample.sh", ""),
    ("check_text", "src/base/text.c", "/* text. */\nint a; \n"),
    ("check_text", "src/base/text.c", "/* text. */\n\tint a;\n"),
    ("check_text", "src/base/text.c", "/* text. */\r\n"),
    ("check_text", "src/base/text.c", "/* text. */"),
    ("check_text", "src/base/text.c", b"/* \xff */\n"),
    ("check_text", "src/base/local.mk", "a = src/base/text.c\tsrc/base/text.h src/base/README.md\n"),
    ("check_words", "src/base/text.c", "/* text. TO" "DO: more */\n"),
    ("check_words", "src/base/text.c", "/* text. FIX" "ME */\n"),
    ("check_words", "sql/rules/answer.sql", "-- Locks nothing.\ncreate or replace function turnout.answer() returns integer as $$ select"
                                            " * from turnout.a $$;\n"),
    ("check_words", "src/base/text.c", '/* text. */\nconst char a[] = "select ' '*";\n'),
    ("check_words", "tests/lint/sample.sh", "#!/bin/sh\n# A sample.\ncd /ho" "me/somebody/turnout\n"),
    ("check_words", "README.md", "docker pull ghcr" ".io/somebody/turnout\n"),
    ("check_words", "src/base/text.c", "/* text. */\nvoid a(char *b, char *c)\n{\n    str" "cpy(b, c);\n}\n"),
    ("check_pauses", "tests/system/test_sample.py", '"""A sample."""\nimport time\n\ntime.sleep(2)\n'),
    ("check_pauses", "tests/lint/sample.sh", "#!/bin/sh\n# A sample.\nsleep 1\n"),
    ("check_lengths", "src/base/text.c", "/* text. */\n" + "int a;\n" * 600),
    ("check_lengths", "tests/lint/sample.sh", "#!/bin/sh\n# A sample.\n" + ":\n" * 600),
    ("check_listed", "src/base/more.c", "/* more. */\n"),
    ("check_listed", "tests/unit/test_more.c", "/* more. */\n"),
    ("check_listed", "src/base/local.mk", "a = src/base/text.c src/base/text.h src/base/gone.c src/base/README.md\n"),
    ("check_rules", "sql/rules/answer.sql", "-- Answers.\ncreate or replace function turnout.answer() returns integer as '';\n"),
    ("check_rules", "sql/rules/answer.sql", "-- Locks nothing.\ncreate or replace function turnout.other() returns integer as '';\n"),
    ("check_rules", "sql/rules/answer.sql", "-- Locks nothing.\ncreate or replace function turnout.answer() returns integer as '';\n"
                                            "create or replace function turnout.answer(a integer) returns integer as '';\n"),
    ("check_rules", "sql/rules/answer.sql", "-- Locks nothing.\ncreate or replace function turnout.answer() returns integer as '';\n"
                                            "create table turnout.b (c integer);\n"),
    ("check_rules", "sql/rules/answer.sql", "-- Locks nothing.\nCREATE FUNCTION turnout.answer() as '';\n"),
    ("check_migrations", "sql/schema/0004_gap.sql", "-- A gap.\n"),
    ("check_migrations", "sql/schema/0002_twice.sql", "-- Twice.\n"),
    ("check_migrations", "sql/schema/tables.sql", "-- No number.\n"),
    ("check_keywords", "sql/schema/0002_more.sql", "-- More.\nSELECT 1;\n"),
]
# A fault that two checks see, each rightly.
ALSO = {
    ("check_rules", "sql/rules/answer.sql"): {"check_keywords"},
    ("check_openings", "sql/rules/answer.sql"): {"check_rules"},
}


def write(root, path, content):
    place = os.path.join(root, path)
    if content is None:
        os.remove(place)
        return
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def tried(findings, changes):
    """What is found in the good tree with these changes."""
    root = tempfile.mkdtemp(prefix="layout-")
    try:
        for path, content in GOOD.items():
            write(root, path, content)
        for path, content in changes.items():
            write(root, path, content)
        return findings(root)
    finally:
        shutil.rmtree(root)


def run(findings, checks):
    wrong = []
    found = tried(findings, {})
    if found:
        wrong.append(f"the good tree has findings: {found}")
    for check, path, content in BAD:
        changes = {path: content}
        if check == "check_readmes" and content is None:
            changes["src/http/local.mk"] = "a = src/http/server.c\n"
        found = tried(findings, changes)
        names = {name for name, *_ in found}
        if check not in names:
            wrong.append(f"{check} does not see {path} = {content!r}")
        elif names - {check} - ALSO.get((check, path), set()):
            wrong.append(f"others than {check} see {path} = {content!r}: {found}")
    for check in checks:
        if check not in {name for name, *_ in BAD}:
            wrong.append(f"{check} has no bad sample")
    for line in wrong:
        print(f"self-test: {line}")
    return 1 if wrong else 0
