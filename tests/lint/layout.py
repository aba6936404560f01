"""The rules of the source tree that a compiler does not know: who includes whom, what every folder and file must hold, and
what must stand nowhere. Reads the tree, writes nothing. layout.sh runs it; layout_samples.py tests it on bad and good trees.

Usage: layout.py ROOT        prints one line a finding ("path:line: what"), exit status 1 where there is any
       layout.py --self-test
"""

import os
import re
import sys

# Folders of src by layer: each may include itself and any layer below, never a folder of its own layer.
LAYERS = {
    "base": 0,
    "shm": 1, "http": 1, "pg": 1, "redis": 1, "identity": 1, "mail": 1,
    "registration": 2,
    "api": 3,
    "worker": 4, "refresher": 4, "mailer": 4, "scheduler": 4,
    "master": 5,
}
# The control language stands beside the layers: who speaks it, and what it needs.
CTL_MAY_INCLUDE = {"base", "pg", "identity", "ctl"}
MAY_INCLUDE_CTL = {"master", "ctl"}

SOURCE_FOLDERS = ["src", "sql", "conf", "contrib", "docs", "tests", ".ci"]
TOP_FILES = ["README.md", "Makefile.am", "configure.ac", ".clang-format", ".gitignore"]
# The inputs of the fuzz targets hold what lint forbids elsewhere.
SKIPPED_FOLDERS = {"__pycache__", ".deps", "autom4te.cache", "corpus", "regression"}
# Made by the build, which may stand in the source.
GENERATED = re.compile(r"^src/http/llhttp_\w+\.c$")
SKIPPED_ENDINGS = (".o", ".a", ".log", ".trs", ".gcda", ".gcno", ".pyc", "~", ".dirstamp")

LINES_MAX = 600
LINES_COUNTED = (".c", ".h", ".sql", ".py", ".sh", ".mk", ".am", ".ac", "")
README_LINES_MIN = 10
# A pause between two looks at a condition, not a guess at how long something takes. Seconds.
PAUSE_MAX = 0.1

# Written so that this file does not hold them.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
ANY_COLUMN = re.compile(r"\bselect\s+\*", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(?:home|root|work|Users|mnt|media|builds|workspace)/")
REGISTRY_HOSTS = re.compile(
    r"\b(?:registry\.npmjs|registry\.yarnpkg|pypi|pythonhosted|docker|ghcr|quay|crates|rubygems|deb\.debian|snapshot\.debian"
    r"|archive\.ubuntu|proxy\.golang|repo1\.maven)\.(?:org|com|io)\b"
)
UNBOUNDED = re.compile(r"\b(?:gets|strcpy|strcat|sprintf|vsprintf|strtok)\s*\(")
PAUSES = [
    re.compile(r"\btime\.sleep\((\d+(?:\.\d+)?)\)"),
    re.compile(r"^\s*sleep\s+(\d+(?:\.\d+)?)\s*(?:[;&|#].*)?$"),
    re.compile(r"(?<![\w.])sleep\((\d+)\)"),
]

PROTOTYPE = re.compile(r"^(?!typedef\b|static\b|extern\b)[A-Za-z_]\w*(?:[\s*]+\w+)*?[\s*]+(\w+)\(")
SQL_FUNCTION = re.compile(r"^create\s+or\s+replace\s+(?:function|procedure)\s+turnout\.(\w+)\s*\(", re.MULTILINE)
SQL_CREATE = re.compile(r"^create\s", re.MULTILINE | re.IGNORECASE)
SQL_SHOUTED = re.compile(r"\b(?:SELECT|FROM|WHERE|INSERT|UPDATE|DELETE|CREATE|JOIN|BEGIN|RETURNS|AND|ORDER BY)\b")


class Tree:
    """The files of the source, each read once. Paths are relative to the root, with slashes."""

    def __init__(self, root):
        self.root = root
        self.text = {}
        self.paths = []
        for name in TOP_FILES:
            if os.path.isfile(os.path.join(root, name)):
                self.add(name)
        for folder in SOURCE_FOLDERS:
            for where, folders, files in os.walk(os.path.join(root, folder)):
                folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
                for name in sorted(files):
                    path = os.path.relpath(os.path.join(where, name), root)
                    if not name.endswith(SKIPPED_ENDINGS) and not GENERATED.match(path):
                        self.add(path)

    def add(self, path):
        with open(os.path.join(self.root, path), "rb") as file:
            data = file.read()
        # Programs and objects of a build inside the source.
        if b"\0" in data:
            return
        self.paths.append(path)
        self.text[path] = data

    def lines(self, path):
        return self.text[path].decode("utf-8", "replace").splitlines()

    def whole(self, path):
        return self.text[path].decode("utf-8", "replace")

    def matching(self, pattern):
        expression = re.compile(pattern)
        return [path for path in self.paths if expression.search(path)]


def ending(path):
    return os.path.splitext(os.path.basename(path))[1]


def may_include(folder, other):
    if folder == other:
        return True
    if folder == "ctl":
        return other in CTL_MAY_INCLUDE
    if other == "ctl":
        return folder in MAY_INCLUDE_CTL
    return folder in LAYERS and other in LAYERS and LAYERS[other] < LAYERS[folder]


def check_includes(tree):
    for path in tree.matching(r"^src/[^/]+/.*\.[ch]$"):
        folder = path.split("/")[1]
        if folder != "ctl" and folder not in LAYERS:
            yield path, 1, f"folder {folder} has no layer: give it one in tests/lint/layout.py"
            continue
        for number, line in enumerate(tree.lines(path), 1):
            match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if not match or match.group(1) == "config.h":
                continue
            target = match.group(1)
            if "/" not in target:
                yield path, number, f'"{target}" is included without its folder'
            elif not may_include(folder, target.split("/")[0]):
                yield path, number, f"{folder} must not include {target}"


def check_readmes(tree):
    folders = sorted({path.split("/")[1] for path in tree.matching(r"^src/[^/]+/")})
    for folder in folders:
        path = f"src/{folder}/README.md"
        if path not in tree.text:
            yield path, 1, "is missing"
        elif len(tree.lines(path)) < README_LINES_MIN:
            yield path, 1, f"is shorter than {README_LINES_MIN} lines: what for, which process, what it may include, invariants"


def check_guards(tree):
    for path in tree.matching(r"^(src|tests)/.*\.h$"):
        directives = [line.strip() for line in tree.lines(path) if line.strip().startswith("#")]
        if len(directives) < 3:
            yield path, 1, "has no include guard"
            continue
        first, second = directives[0].split(), directives[1].split()
        if first[0] != "#ifndef" or second[0] != "#define" or first[1:] != second[1:] or directives[-1] != "#endif":
            yield path, 1, "has no include guard"
        elif path.startswith("src/"):
            wanted = re.sub(r"\W", "_", path[len("src/"):]).upper()
            if first[1] != wanted:
                yield path, 1, f"its include guard is {first[1]}, not {wanted}"


def check_comments(tree):
    """Every function of a public header stands below a comment: its own, or one that opens its block of lines."""
    for path in tree.matching(r"^src/[^/]+/.*\.h$"):
        commented = False
        in_comment = False
        depth = 0
        for number, line in enumerate(tree.lines(path), 1):
            if in_comment:
                commented = True
                in_comment = "*/" not in line
                continue
            if not line.strip():
                commented = False
                continue
            if line.lstrip().startswith("/*"):
                commented = True
                in_comment = "*/" not in line
                continue
            match = PROTOTYPE.match(line) if depth == 0 else None
            if match and not commented and "/*" not in line:
                yield path, number, f"{match.group(1)} has no comment"
            depth += line.count("{") - line.count("}")
            if "/*" in line and "*/" not in line:
                in_comment = True


def check_openings(tree):
    """A file opens by saying what it is for."""
    for path in tree.paths:
        lines = tree.lines(path)
        kind = ending(path)
        if not lines:
            yield path, 1, "is empty"
            continue
        if kind in (".c", ".h"):
            opens = lines[0].startswith("/*")
        elif kind == ".sql":
            opens = lines[0].startswith("--")
        elif kind == ".py":
            first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
            opens = first.startswith(('"""', 'r"""'))
        elif kind == ".sh" or lines[0].startswith("#!"):
            opens = len(lines) > 1 and lines[1 if lines[0].startswith("#!") else 0].startswith("#")
        else:
            continue
        if not opens:
            yield path, 1, "does not open with what it is for"


def check_text(tree):
    for path in tree.paths:
        data = tree.text[path]
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as problem:
            yield path, data.count(b"\n", 0, problem.start) + 1, "is not UTF-8"
        if data and not data.endswith(b"\n"):
            yield path, data.count(b"\n") + 1, "does not end with a line end"
        tabs = path.endswith((".mk", ".am")) or os.path.basename(path) == "Makefile"
        for number, line in enumerate(data.split(b"\n"), 1):
            if line.endswith((b" ", b"\t", b"\r")):
                yield path, number, "white space at the end of the line"
            if b"\t" in (line.lstrip(b"\t") if tabs else line):
                yield path, number, "a tab"


def check_words(tree):
    for path in tree.paths:
        for number, line in enumerate(tree.lines(path), 1):
            if UNFINISHED.search(line):
                yield path, number, "unfinished work is marked, not done"
            if ANY_COLUMN.search(line) and not path.endswith(".md"):
                yield path, number, "a list of columns is missing after select"
            if MACHINE_PATH.search(line):
                yield path, number, "an absolute path of one machine"
            if REGISTRY_HOSTS.search(line):
                yield path, number, "the host of a package registry"
            if path.startswith("src/") and ending(path) in (".c", ".h") and UNBOUNDED.search(line):
                yield path, number, "a function that knows no bounds"


def check_pauses(tree):
    for path in tree.matching(r"^tests/.*\.(py|sh|c|h)$"):
        for number, line in enumerate(tree.lines(path), 1):
            for pause in PAUSES:
                match = pause.search(line)
                if match and float(match.group(1)) > PAUSE_MAX:
                    yield path, number, f"a fixed pause of {match.group(1)} s: wait for the condition"


def check_lengths(tree):
    for path in tree.paths:
        count = len(tree.lines(path))
        if ending(path) in LINES_COUNTED and count > LINES_MAX:
            yield path, count, f"is longer than {LINES_MAX} lines: split it"


def check_listed(tree):
    """Every source is in a local.mk, and what a local.mk names is there."""
    makefiles = [path for path in tree.paths if path.endswith("local.mk") or path == "Makefile.am"]
    named = {}
    for makefile in makefiles:
        for number, line in enumerate(tree.lines(makefile), 1):
            for word in re.findall(r"(?<![\w/$()-])(?:src|tests)/[\w/.-]+\.(?:c|h|md|json|mk|in)\b", line.split("#")[0]):
                named.setdefault(word, (makefile, number))
    for path in tree.matching(r"^(src/.*\.(c|h|md|json)|src/[^/]+/local\.mk|tests/(unit|fuzz|bench)/.*\.[ch])$"):
        if path not in named:
            yield path, 1, "is in no local.mk: it would be neither built nor distributed"
    for word, (makefile, number) in sorted(named.items()):
        if word not in tree.text and not GENERATED.match(word):
            yield makefile, number, f"{word} does not exist"


def check_rules(tree):
    for path in tree.matching(r"^sql/rules/.*\.sql$"):
        text = tree.whole(path)
        lines = text.splitlines()
        stem = os.path.basename(path)[: -len(".sql")]
        names = SQL_FUNCTION.findall(text)
        if names != [stem] or len(SQL_CREATE.findall(text)) != 1:
            yield path, 1, f"must hold create or replace function turnout.{stem}, and nothing else"
        header = []
        for line in lines:
            if not line.startswith("--"):
                break
            header.append(line)
        if not re.search(r"\block", " ".join(header), re.IGNORECASE):
            yield path, 1, "its header comment does not say what it locks (or that it locks nothing)"


def check_migrations(tree):
    seen = {}
    for path in tree.matching(r"^sql/schema/"):
        match = re.match(r"^sql/schema/(\d{4})_[a-z0-9_]+\.sql$", path)
        if not match:
            yield path, 1, "is not named NNNN_name.sql"
        elif match.group(1) in seen:
            yield path, 1, f"has the number of {seen[match.group(1)]}"
        else:
            seen[match.group(1)] = path
    for expected, number in enumerate(sorted(seen), 1):
        if int(number) != expected:
            yield seen[number], 1, f"number {expected:04d} is missing before it"
            break


def without_strings(line):
    return re.sub(r"'[^']*'", "''", re.sub(r"--.*", "", line))


def check_keywords(tree):
    for path in tree.matching(r"^(sql|contrib)/.*\.sql$"):
        for number, line in enumerate(tree.lines(path), 1):
            if SQL_SHOUTED.search(without_strings(line)):
                yield path, number, "keywords are written in lower case"


CHECKS = [
    check_includes, check_readmes, check_guards, check_comments, check_openings, check_text, check_words, check_pauses,
    check_lengths, check_listed, check_rules, check_migrations, check_keywords,
]


def findings(root):
    """All findings of a tree as (check's name, path, line, what), in the order of the checks."""
    tree = Tree(root)
    return [(check.__name__, *finding) for check in CHECKS for finding in check(tree)]


def main(arguments):
    if arguments == ["--self-test"]:
        import layout_samples

        return layout_samples.run(findings, [check.__name__ for check in CHECKS])
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    found = findings(arguments[0])
    for _, path, number, what in found:
        print(f"{path}:{number}: {what}")
    if not found and not Tree(arguments[0]).matching(r"^src/"):
        print(f"{arguments[0]}: no source here")
        return 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
