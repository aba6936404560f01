"""Lines of src that no test has run, from gcovr's JSON: by file and function, with their text. Run by `make coverage`.

Usage: uncovered.py SOURCE LINES_JSON
"""

import json
import pathlib
import re
import sys

FUNCTION = re.compile(r"^[A-Za-z_].*?\b(\w+)\(")


def function_at(lines, number):
    """The function whose definition begins last above the line: formatted code has it at the margin."""
    for line in reversed(lines[:number]):
        match = FUNCTION.match(line)
        if match:
            return match[1]
    return ""


def main(source, report):
    for file in json.loads(pathlib.Path(report).read_text(encoding="utf-8"))["files"]:
        missed = [line["line_number"] for line in file["lines"] if line["count"] == 0 and not line.get("gcovr/noncode")]
        if not missed:
            continue
        lines = (pathlib.Path(source) / file["file"]).read_text(encoding="utf-8").splitlines()
        print(f"{file['file']}: {len(missed)} of {len(file['lines'])} lines")
        current = None
        for number in missed:
            name = function_at(lines, number)
            if name != current:
                print(f"  {name}")
                current = name
            print(f"    {number:5} {lines[number - 1]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
