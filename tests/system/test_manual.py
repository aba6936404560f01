"""The manual pages say what the programs do: every option, command and exit status, and nothing else; and a reader finds them."""

import re
import shutil
import subprocess

import pytest

import server
from sql_harness import TOP

FOLDER = TOP / "docs" / "manual"
PAGES = ["turnoutd.8", "turnoutctl.1", "turnout.conf.5"]

pytestmark = pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is missing (apt-get install mandoc)")


@pytest.fixture(scope="module", autouse=True)
def programs():
    if server.programs() is None:
        pytest.skip("TURNOUT_BIN does not say where turnoutd and turnoutctl are")


def source(page):
    return (FOLDER / page).read_text(encoding="utf-8")


def lint(page, text, folder):
    """What mandoc finds, with the other pages beside it so that references to them are found."""
    for name in PAGES:
        shutil.copy(FOLDER / name, folder)
    (folder / page).write_text(text, encoding="utf-8")
    done = subprocess.run(["mandoc", "-T", "lint", page], cwd=folder, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()


def rendered(text):
    """The page as a reader sees it, no line broken."""
    shown = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=1000"], input=text, capture_output=True, text=True, check=True).stdout
    return re.sub(".\x08", "", shown)


def section(text, title):
    return re.search(rf"^{title}\n(.*?)(?=^\S|\Z)", rendered(text), re.MULTILINE | re.DOTALL)[1]


# --- each gives a list of differences ------------------------------------------------------------------------------------------------


def option_differences(text, printed):
    """turnout.conf.5 against --print-config: names with default and when a change applies."""
    described = re.findall(r"^\.It Ic (\w+) No =(?: Li (.*?))? Pq (\w+)$", text, re.MULTILINE)
    shown = re.findall(r"^(\w+) = .*?  # default: (.*?); from: .*; applies at: (\w+)$", printed, re.MULTILINE)
    # Folders are those of the installation; the source has the usual ones.
    there = sorted((name, default or "(not set)", applies) for name, default, applies in described)
    wanted = sorted((name, re.sub(r"^/.*/(etc|share)/turnout/", r"/usr/local/\1/turnout/", default), applies)
                    for name, default, applies in shown)
    assert len(wanted) > 40, printed
    return [("not described", row) for row in wanted if row not in there] + [("not so", row) for row in there if row not in wanted]


def command_differences(text, printed):
    """turnoutctl.1 against the command table, which --help prints: words and arguments."""
    # A short tag has its text beside it.
    there = sorted(line.strip().replace(" | ", "|") for line in re.findall(r"^ {5}(\S.*?)(?:  .*)?$", section(text, "COMMANDS"), re.MULTILINE)
                   if not line.endswith(":"))
    wanted = sorted(line.strip().replace(" | ", "|")
                    for line in re.findall(r"^  (\S.*)$", printed.split("Commands:\n")[1], re.MULTILINE))
    assert len(wanted) > 10, printed
    return [("not described", row) for row in wanted if row not in there] + [("not so", row) for row in there if row not in wanted]


def switch_differences(text, printed):
    """Options of the command line: those that --help lists with a line of their own."""
    there = set(re.findall(r"--[a-z-]+", section(text, "DESCRIPTION")))
    wanted = set(re.findall(r"^ {2}(?:-\w, | {4})(--[a-z-]+)", printed, re.MULTILINE))
    assert len(wanted) > 3, printed
    return sorted(there ^ wanted)


def status_differences(text, printed):
    there = set(re.findall(r"^ {5}(\d+)", section(text, "EXIT STATUS"), re.MULTILINE))
    wanted = set(re.findall(r"\b(\d) ", re.search(r"^Exit status: (.*)$", printed, re.MULTILINE)[1]))
    assert len(wanted) > 2, printed
    return sorted(there ^ wanted)


def help_of(program):
    return server.run(program, "--help").stdout


def print_config():
    return server.run("turnoutd", "-c", TOP / "conf" / "turnout.conf", "--print-config").stdout


# --- the pages -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_mandoc_finds_nothing_to_complain_of(page, tmp_path):
    assert lint(page, source(page), tmp_path) == []
    # ... and would find something.
    assert lint(page, source(page).replace(".Sh DESCRIPTION\n", ".Sh DESCRIPTION\n.Rubbish\n"), tmp_path)
    assert lint(page, source(page).replace(".Xr turnout", ".Xr turnabout"), tmp_path)


def test_every_option_is_described_with_its_default_and_when_a_change_applies():
    text, printed = source("turnout.conf.5"), print_config()
    assert option_differences(text, printed) == []
    assert option_differences(text.replace(".It Ic idle_timeout No = Li 75s", ".It Ic idle_timeout No = Li 74s"), printed)
    assert option_differences(re.sub(r"^\.It Ic workers_max .*\n", "", text, flags=re.MULTILINE), printed)
    assert option_differences(re.sub(r"^(\.It Ic log_level .*) Pq reload$", r"\1 Pq restart", text, flags=re.MULTILINE), printed)
    assert option_differences(text + ".It Ic no_such_option No = Li 1 Pq restart\n", printed)


def test_every_command_is_described_with_its_arguments():
    text, printed = source("turnoutctl.1"), help_of("turnoutctl")
    assert command_differences(text, printed) == []
    assert command_differences(re.sub(r"^\.It Ic migrate\n", "", text, flags=re.MULTILINE), printed)
    assert command_differences(text.replace(".It Ic workers Ar N", ".It Ic workers Ar NUMBER"), printed)
    assert command_differences(text.replace(".It Ic migrate\n", ".It Ic migrate\n.It Ic fly\n"), printed)


@pytest.mark.parametrize("page", ["turnoutd.8", "turnoutctl.1"])
def test_options_of_the_command_line_and_exit_statuses_are_those_of_the_help(page):
    text, printed = source(page), help_of(page.split(".", maxsplit=1)[0])
    assert switch_differences(text, printed) == []
    assert status_differences(text, printed) == []
    assert switch_differences(text.replace(".It Fl -version", ".It Fl -vision"), printed)
    assert status_differences(text.replace(".It 2\n", ".It 4\n"), printed)
