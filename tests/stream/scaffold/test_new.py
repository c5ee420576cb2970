"""`penstock new`: what it writes passes check, test and pytest, and nothing that is there is lost."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.examples import cards_data
from penstock.stream import cli
from penstock.stream.cli.new import asked
from penstock.stream.definition_file import load
from penstock.stream.scaffold.answers import Answers, BadAnswer, feature
from penstock.stream.scaffold.compose import compose
from penstock.stream.scaffold.definition import definition
from penstock.stream.task_kind import KINDS
from tests.effort import first_here
from tests.stream.trial.test_plugin import pytest_in

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def new(*arguments: str) -> int:
    return cli.main(["new", *arguments])


def passes(name: str) -> bool:
    files = [f"{name}/{name}.py", "--events", f"{name}/events.jsonl", "--expect", f"{name}/expected.jsonl"]
    return cli.main(["check", files[0]]) == 0 and cli.main(["test", *files]) == 0


@pytest.fixture
def payments(tmp_path: Path) -> Path:
    """A CSV file as people have it: by card and not by time, with words for true and false."""
    path = tmp_path / "payments.csv"
    events = [fields for (_, _, fields, _), _ in zip(cards_data.events(), range(200), strict=False)]
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, events[0], delimiter=";")
        rows.writeheader()
        for event in sorted(events, key=lambda event: event["card"]):
            rows.writerow({**event, "fraud": "yes" if event["fraud"] else "no"})
    return path


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("later", first_here([True, False]))
def test_every_kind_of_pipeline_that_is_written_passes_check_and_test(task: str, later: bool) -> None:
    more = ["--label-topic", "some.answers", "--label-time", "known_at", "--wait", "30m"] if later else []
    assert new("some-thing", "--into", "made", "--yes", "--task", task, *more) == 0
    files = ["made/some_thing.py", "--events", "made/events.jsonl", "--expect", "made/expected.jsonl"]
    assert cli.main(["check", files[0]]) == 0 and cli.main(["test", *files]) == 0
    lines = [json.loads(line) for line in Path("made/expected.jsonl").read_text().splitlines()]
    assert len(lines) == 12 and load(files[0]).kind == task
    assert all(("label" in line and line["label"] is not None) == (task != "unlabelled") for line in lines)


@pytest.mark.long
def test_the_test_that_is_written_passes_under_pytest_and_fails_when_a_view_changes(tmp_path: Path) -> None:
    assert new("fraud", "--yes") == 0
    right = pytest_in(tmp_path / "fraud")
    assert right.returncode == 0 and "2 passed" in right.stdout, right.stdout
    made = tmp_path / "fraud" / "fraud.py"
    made.write_text(made.read_text().replace('count_1h=count("1h")', 'count_1h=count("15m")'))
    wrong = pytest_in(tmp_path / "fraud")
    assert wrong.returncode == 1 and "entity.count_1h   expected " in wrong.stdout


def test_from_a_csv_file_everything_is_guessed_said_and_converted(
    payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new("fraud", "--from-csv", str(payments), "--yes") == 0
    said = capsys.readouterr().out
    for line in (
        "time    paid_at: milliseconds",
        "id      payment_id",
        "key     card",
        "label   fraud",
        "task    binary",
        "        hour: one value in every row, so not read",
    ):
        assert line in said
    assert "penstock publish fraud.events fraud.ndjson --file fraud.py" in said
    assert passes("fraud")
    pipeline = load("fraud/fraud.py")
    assert (pipeline.predict.id, pipeline.predict.time, pipeline.predict.key) == (
        "payment_id",
        "paid_at",
        "card",
    )
    assert list(pipeline.inputs) == ["amount", "online"] and pipeline.label.fields == ("fraud",)
    rows = [json.loads(line) for line in Path("fraud/fraud.ndjson").read_text().splitlines()]
    events = [fields for (_, _, fields, _), _ in zip(cards_data.events(), range(200), strict=False)]
    # a CSV file does not say whether a card's number is text; both name the same card
    assert [{**row, "card": str(row["card"])} for row in rows] == sorted(
        events, key=lambda event: event["paid_at"]
    )


def test_a_file_whose_answers_nobody_finds_becomes_a_detector_of_what_is_unusual(tmp_path: Path) -> None:
    lines = ["when,machine,load", *(f"2026-02-01T{n:02d}:00:00+01:00,m{n % 2},{n / 7}" for n in range(20))]
    (tmp_path / "loads.csv").write_text("\n".join(lines))
    assert new("loads", "--from-csv", "loads.csv", "--yes") == 0
    assert passes("loads") and load("loads/loads.py").kind == "unlabelled"
    (first, *_) = Path("loads/loads.ndjson").read_text().splitlines()
    assert json.loads(first) == {"row": 1, "when": "2026-01-31T23:00:00Z", "machine": "m0", "load": 0.0}


@pytest.mark.parametrize("taken", ["fraud.py", "test_fraud.py", "docker-compose.yml", "expected.jsonl"])
def test_nothing_is_overwritten_and_nothing_else_is_written(
    taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("fraud").mkdir()
    Path("fraud", taken).write_text("mine")
    assert new("fraud", "--yes") == 2
    assert f"fraud/{taken} is there already: nothing is written" in capsys.readouterr().err
    assert [path.name for path in Path("fraud").iterdir()] == [taken]
    assert Path("fraud", taken).read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["7"], "a name starts with a letter"),
        (["a", "--view", "card:mean:1d"], "write one of KEY:count:WINDOW"),
        (["a", "--view", "card:count:soon"], "--view 'card:count:soon'"),
        (["a", "--wait", "long"], "--wait"),
        (["a", "--label", "amount"], "the model would read the answer"),
        (["a", "--topic", "no topic"], "a topic's name holds"),
        (["a", "--task", "unlabelled", "--label", "x"], "has no --label"),
        (["a", "--label-topic", "a.events"], "leave it out"),
        (["a", "--inputs", "", "--key", "id"], "nothing to learn from"),
        (["a", "--from-csv", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_an_answer_that_cannot_be_used_is_one_line_and_leaves_nothing(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new(*arguments, "--yes") == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and list(Path().iterdir()) == []


def test_without_a_terminal_and_without_yes_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(question: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert new("fraud") == 2
    assert "say --yes, or give the answers as options" in capsys.readouterr().err


def test_what_is_asked_takes_a_default_for_an_empty_answer_and_asks_nothing_twice() -> None:
    said: Iterator[str] = iter(
        [
            "",
            "payment_id",
            "",
            "card",
            "regression",
            "price",
            "shop.prices",
            "found_at",
            "",
            "a, b",
            "card:count:10m shop:last:price",
        ]
    )
    questions: list[str] = []

    def answer(question: str) -> str:
        questions.append(question)
        return next(said)

    found = asked("shop", {}, answer)
    assert len(questions) == len(set(questions)) == 11 and next(said, None) is None
    wanted: dict[str, Any] = {
        "topic": "shop.events", "id": "payment_id", "time": "at", "key": "card", "task": "regression", "label": "price",
        "label_topic": "shop.prices", "label_time": "found_at", "wait": "1d",
        "view": ["card:count:10m", "shop:last:price"],
        "inputs": ("a", "b"),
    }  # fmt: skip
    assert found == wanted
    assert asked("shop", wanted, answer) == wanted and len(questions) == 11
    with pytest.raises(BadAnswer, match="'guess' is none of binary"):
        asked("shop", {**wanted, "task": "guess"}, answer)


def test_any_field_name_and_text_can_stand_in_a_definition(tmp_path: Path) -> None:
    odd = 'it\'s "odd" \\ ünd'
    answers = Answers(
        "x",
        id=odd,
        time="t",
        key="k",
        label="y",
        inputs=(f"{odd} 2",),
        features=(feature(f"k:mean:{odd} 2:1h"),),
    )
    (tmp_path / "x.py").write_text(definition(answers), encoding="utf-8")
    pipeline = load(tmp_path / "x.py")
    assert pipeline.predict.id == odd and list(pipeline.inputs) == [f"{odd} 2"]


def test_the_compose_file_is_the_projects_own_but_for_image_and_definition() -> None:
    made: dict[str, Any] = yaml.safe_load(compose("fraud.py"))
    own: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name in ("prometheus", "grafana"):
        del own["services"][name]
    assert set(own["volumes"]) - {"prometheus"} == set(made["volumes"])
    for service in own["services"].values():
        if service.pop("build", None):
            service["image"] = "${PENSTOCK_IMAGE:-penstock}"
            service["command"] = [
                one.replace("${PIPELINE:-flights.py}", "fraud.py") for one in service["command"]
            ]
            for mount in service["volumes"]:
                mount["source"] = "." if mount["target"] == "/definitions" else mount["source"]
    assert made["services"] == own["services"]
    for service in made["services"].values():
        if service.get("command", [""])[0] in cli.COMMANDS:
            cli.parser(service["command"][0]).parse_args(service["command"])
