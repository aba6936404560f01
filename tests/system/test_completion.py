"""The tabulator key completes what the programs know: commands, options, values, files."""

import shlex
import subprocess

import pytest

import server
from sql_harness import TOP

SCRIPT = TOP / "contrib" / "completion" / "turnout.bash"


@pytest.fixture(scope="module", autouse=True)
def programs():
    if server.programs() is None:
        pytest.skip("TURNOUT_BIN does not say where turnoutd and turnoutctl are")


def complete(*words, folder="/", breaks=" "):
    """What bash offers for the last of the words, as it would call the function."""
    program, *others = words
    line = " ".join(shlex.quote(word) for word in (str(server.programs() / program), *others))
    script = f"""
        . {shlex.quote(str(SCRIPT))}
        [[ $(complete -p {program}) == *_turnout_completion* ]] || exit 1
        COMP_WORDBREAKS={shlex.quote(breaks)}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _turnout_completion && printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", script], cwd=folder, env=server.environment(), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


def table():
    """Each command's words, and whether it is about all processes, one, or either."""
    lines = [line.split("\t") for line in server.run("turnoutctl", "--print-commands").stdout.splitlines()]
    assert len(lines) > 10
    return [(words.split(), whom) for words, _, _, whom, _ in lines]


PROCESSES = {"@worker", "@refresher", "@mailer", "@scheduler"}


def test_every_command_of_the_table_is_offered_word_by_word():
    commands = [words for words, whom in table() if whom != "one"]
    assert complete("turnoutctl", "") == {words[0] for words in commands} | PROCESSES
    for first in {words[0] for words in commands if len(words) > 1}:
        assert complete("turnoutctl", first, "") == {words[1] for words in commands if words[0] == first}, first
    assert complete("turnoutctl", "sh") == {"show"}
    assert complete("turnoutctl", "nonsense", "") == set()


@pytest.mark.parametrize("process", [("@worker", "1"), ("@scheduler",), ("@", "worker", "1"), ("-j", "@", "scheduler")])
def test_behind_a_process_stand_the_commands_about_one(process):
    commands = [words for words, whom in table() if whom != "all"]
    assert ["restart"] in commands
    assert complete("turnoutctl", *process, "") == {words[0] for words in commands}


@pytest.mark.parametrize("words, offered", [
    (["@w"], {"@worker"}), (["@"], PROCESSES), (["-j", "@s"], {"@scheduler"}), (["@worker", ""], set()), (["@worker", "1", "@"], set()),
])
def test_processes_can_be_named(words, offered):
    assert complete("turnoutctl", *words) == offered


def test_where_bash_cuts_words_at_the_sign_only_what_is_behind_it_is_offered():
    """As bash does when somebody types."""
    assert complete("turnoutctl", "@", "w", breaks=" @:") == {"worker"}
    assert complete("turnoutctl", "@", breaks=" @:") == {"worker", "refresher", "mailer", "scheduler"}


def test_options_belong_to_their_command():
    common = {"--config", "--socket", "--json", "--help", "--print-commands", "--version"}
    assert complete("turnoutctl", "--") == common
    assert complete("turnoutctl", "stop", "--") == common | {"--now"}
    assert complete("turnoutctl", "token", "--e") == {"--email", "--emails"}
    assert complete("turnoutctl", "show", "processes", "--n") == set()
    assert complete("turnoutd", "--") == {"--config", "--check-config", "--print-config", "--print-statements", "--version", "--help"}
    assert complete("turnoutd", "") == set()


def test_values_and_files_are_completed(tmp_path):
    (tmp_path / "events.csv").touch()
    (tmp_path / "events of may.json").touch()
    (tmp_path / "people.csv").touch()
    assert complete("turnoutctl", "events", "import", "ev", folder=tmp_path) == {"events.csv", "events of may.json"}
    assert complete("turnoutctl", "users", "import", "peo", folder=tmp_path) == {"people.csv"}
    assert complete("turnoutctl", "-c", "peo", folder=tmp_path) == {"people.csv"}
    assert complete("turnoutd", "--config", "peo", folder=tmp_path) == {"people.csv"}
    assert complete("turnoutctl", "token", "--role", "") == {"participant", "organizer", "admin"}
    assert complete("turnoutctl", "log-level", "") == {"debug", "info", "warning", "error"}
    # The value of an option is no command.
    assert "processes" in complete("turnoutctl", "-c", "show", "-j", "show", "p")
    assert complete("turnoutctl", "workers", "") == set()
