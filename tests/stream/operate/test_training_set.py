"""A training set is the samples log's vectors, each once and in order, with the label that the fold learned."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.cli.export import Job, export
from penstock.stream.cli.export import run as run_export
from penstock.stream.label_rule import LabelRule
from penstock.stream.learn import join
from penstock.stream.learn.learner import at_once, training
from penstock.stream.log.protocol import LogError
from penstock.stream.messages import Entry, Origin, Recipe, Sample, Tick
from penstock.stream.messages import LabelRecord as LabelEntry
from penstock.stream.operate.training_files import FIXED, Columns, arrow
from penstock.stream.operate.training_set import CannotExport, Row, Span, label_rule, rows, survey
from penstock.stream.process.settings import Settings
from penstock.stream.recipes import RecipeHistory, recipe_of
from tests.effort import examples
from tests.stream.generated import HOUR, START_MS, entries, parcels
from tests.stream.same_log import stored

TOPIC = "parcels.samples"
LOG = entries(400)
WAIT_MS = 2 * HOUR
OPEN = Span()
RECIPE = Recipe("r1", ["a", "b"], '{"label": {"wait": "2h", "default": null}}')


def terms(default: bool | None = None) -> Any:
    return lambda recipe: LabelRule(WAIT_MS, default)


def made(log: Iterable[Entry], span: Span = OPEN, default: bool | None = None, **options: Any) -> list[Row]:
    return list(rows(enumerate(log), span, terms(default), **options))


def plain(found: Iterable[Row]) -> list[tuple[int, str, bool | None, int | None]]:
    return [(row.position, row.event_id, row.label, row.label_at) for row in found]


def naive(log: list[Entry], default: bool | None) -> list[tuple[int, str, bool | None, int | None]]:
    """Each sample against every label of its id. Event times of a source must not go back, ids must not repeat."""
    limits, times = [], dict[str, int]()
    for entry in log:  # the event time before which nothing waits any more, at each position
        if isinstance(entry, Tick):
            times.update(entry.times)
            limits.append(max(limits[-1] if limits else -WAIT_MS, min(times.values()) - WAIT_MS))
        else:
            limits.append(limits[-1] if limits else -WAIT_MS)
    first = {}
    for position, entry in enumerate(log):
        if isinstance(entry, Sample | LabelEntry):
            first.setdefault(entry.origin, position)
    found = []
    for position, sample in enumerate(log):
        if not isinstance(sample, Sample) or first[sample.origin] != position:
            continue
        label = None
        for there, entry in enumerate(log):
            if isinstance(entry, LabelEntry) and entry.id == sample.id and first[entry.origin] == there:
                early = there < position
                waited = entry.at if early else sample.at  # what comes first waits for the other
                lost = any(limit > waited for limit in limits[min(there, position) : max(there, position)])
                if label is None and not lost and entry.at - sample.at <= WAIT_MS:
                    label = (entry.y, entry.at)
        expired = any(limit > sample.at for limit in limits[position:])
        y, at = label if label is not None else (default if expired else None, None)
        found.append((position, sample.id, y, at))
    return found


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    """Two sources in their own orders and any order between them, ticks that tell how far both are, and repeats."""
    number = draw(st.integers(1, 12))
    steps = st.integers(0, HOUR)
    at, samples = START_MS, []
    for n in range(number):
        at += draw(steps)
        samples.append(Sample(Origin("sent", 0, n), f"p{n}", "k", at, [float(n), None]))
    at, labels = START_MS + draw(st.integers(-HOUR, HOUR)), []
    for n, which in enumerate(draw(st.permutations(range(number)))[: draw(st.integers(0, number))]):
        at += draw(steps)
        labels.append(LabelEntry(Origin("done", 0, n, 1), f"p{which}", at, draw(st.booleans())))
    queues: list[list[Any]] = [samples, labels]
    log: list[Entry] = [RECIPE]
    newest = {"sent/0": START_MS - 2 * HOUR, "done/0": START_MS - 2 * HOUR}
    while any(queues):
        which = draw(st.sampled_from([n for n, queue in enumerate(queues) if queue]))
        entry = queues[which].pop(0)
        newest[("sent/0", "done/0")[which]] = entry.at
        log.append(entry)
        if draw(st.booleans()):
            log.append(Tick(dict(newest), [], 0))
        if draw(st.integers(0, 4)) == 0:
            log += log[draw(st.integers(1, len(log) - 1)) :]
    return log


@settings(max_examples=examples(200))
@given(logs(), st.sampled_from([None, False, True]))
def test_rows_are_those_of_a_naive_join(log: list[Entry], default: bool | None) -> None:
    found = made(log, default=default)
    assert plain(found) == naive(log, default)
    assert [row.x for row in found] == [log[row.position].x for row in found]  # type: ignore[union-attr]


@settings(max_examples=examples(100))
@given(logs(), st.integers(-HOUR, 6 * HOUR), st.integers(0, 6 * HOUR))
def test_a_range_gives_what_the_whole_gives_for_it_and_reads_no_further_than_it_needs(
    log: list[Entry], start: int, width: int
) -> None:
    span = Span(START_MS + start, START_MS + start + width)
    whole = [row for row in made(log, default=False) if span.holds(row.at)]
    last = survey(enumerate(log), span).last_position
    read: list[int] = []

    def noted() -> Iterator[tuple[int, Entry]]:
        for position, entry in enumerate(log):
            read.append(position)
            yield position, entry

    found = list(rows(noted(), span, terms(False), last_position=last))
    assert plain(found) == plain(whole)
    assert len(read) == len(log) or not whole or all(row.settled for row in found)


def test_training_on_the_rows_is_training_on_the_log() -> None:
    class Taught:
        def __init__(self) -> None:
            self.seen: list[tuple[dict[str, Any], bool]] = []

        def learn_one(self, x: dict[str, Any], y: bool) -> None:
            self.seen.append((x, y))

    of = parcels()
    names, recipes = of.vector_names, RecipeHistory(of.digest, of.vector_names)
    of = replace(of, label=replace(of.label, wait=f"{WAIT_MS}ms", absent=False))
    model, learned, *_ = at_once(training(Taught(), recipes, of, enumerate(LOG), learn_from=0))
    found = [row for row in made(LOG, default=False) if row.label is not None]
    vectors = [
        ({n: v for n, v in zip(names, row.x, strict=True) if v is not None}, row.label) for row in found
    ]
    assert learned == len(found) > 300
    assert sorted(map(repr, vectors)) == sorted(map(repr, model.seen))


def test_a_second_sample_of_an_id_that_waits_gets_no_label() -> None:
    log = [
        RECIPE,
        Sample(Origin("sent", 0, 0), "p", "k", START_MS, [1.0, 1.0]),
        Sample(Origin("sent", 0, 1), "p", "k", START_MS, [2.0, 2.0]),
        LabelEntry(Origin("done", 0, 0, 1), "p", START_MS + 1, True),
    ]
    assert [(row.label, row.settled) for row in made(log)] == [(True, True), (None, True)]


def test_a_label_that_is_repeated_is_not_taken_by_a_later_sample_of_the_same_id() -> None:
    label = LabelEntry(Origin("done", 0, 0, 1), "p", START_MS + 1, True)
    first, second = (Sample(Origin("sent", 0, n), "p", "k", START_MS + n, [1.0, 1.0]) for n in (0, 2))
    assert [row.label for row in made([RECIPE, first, label, label, second])] == [True, None]


def test_a_row_that_no_longer_waits_because_too_many_did_comes_without_a_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(join, "MOST_WAITING", 2)
    samples = [Sample(Origin("sent", 0, n), f"p{n}", "k", START_MS + n, [1.0, 1.0]) for n in range(3)]
    label = LabelEntry(Origin("done", 0, 0, 1), "p0", START_MS + 9, True)
    found = made([RECIPE, *samples, label])
    assert [(row.event_id, row.label, row.settled) for row in found] == [
        ("p0", None, True),
        ("p1", None, False),
        ("p2", None, False),
    ]


def test_a_source_that_left_the_definition_does_not_keep_rows_waiting() -> None:
    of = '{"label": {"wait": "6h", "default": false}, "sources": [{"name": "sent"}]}'
    log = [
        RECIPE,
        Tick({"left/0": START_MS}, [], 0),
        Sample(Origin("sent", 0, 0), "p", "k", START_MS, [1.0, 1.0]),
        Recipe(RECIPE.digest, RECIPE.inputs, of),
        Tick({"sent/0": START_MS + 7 * HOUR}, [], 0),
    ]
    assert [(row.label, row.settled) for row in made(log, default=False)] == [(False, True)]


def test_each_recipe_waits_as_long_as_it_says() -> None:
    other = Recipe("r2", ["a", "b"], '{"label": {"wait": "30m", "default": false}}')
    log = [
        entry
        for n, recipe in enumerate((RECIPE, other))
        for entry in (
            recipe,
            Sample(Origin("sent", 0, n), f"p{n}", "k", START_MS + n * 9 * HOUR, [1.0, 1.0]),
            Tick({"sent/0": START_MS + n * 9 * HOUR + HOUR}, [], 0),
            LabelEntry(Origin("done", 0, n, 1), f"p{n}", START_MS + n * 9 * HOUR + HOUR, True),
        )
    ]
    job = Job("parcels", None, OPEN, Path("x.csv"), "csv")
    found = list(rows(enumerate(log), OPEN, job.rule))
    assert [(row.label, row.label_at) for row in found] == [(True, START_MS + HOUR), (False, None)]


def test_nothing_is_held_back_longer_than_its_label_takes() -> None:
    """Rows come out while the log is read: what is in memory is bounded by the wait."""
    read: list[int] = []
    source = ((n, entry) for n, entry in enumerate(LOG) if not read.append(n))  # type: ignore[func-returns-value]
    held = [len(read) - row.position for row in rows(source, OPEN, terms())][:-200]
    assert max(held) < 2 * 60 * 4  # of 2 h, at a sample a minute, with labels and ticks between


def test_a_recipe_says_how_long_a_label_may_take() -> None:
    of_file = recipe_of(parcels())
    assert label_rule(of_file) == LabelRule(6 * HOUR, None)
    assert label_rule(RECIPE) == LabelRule(2 * HOUR, None)
    for text in ("", "1 +", "[]", '{"label": {"wait": "soon", "default": null}}', '{"label": 3}'):
        assert label_rule(Recipe("r", [], text)) is None
    job = Job("parcels", None, OPEN, Path("x.csv"), "csv")
    assert job.rule(RECIPE).wait_ms == 2 * HOUR and job.rule(Recipe("r", [], "")).wait_ms == 24 * HOUR
    given = Job("parcels", parcels(), OPEN, Path("x.csv"), "csv", wait_ms=5)
    assert given.rule(RECIPE) == LabelRule(5, None)


def test_a_sample_whose_recipe_is_gone_is_refused_and_taken_with_the_file() -> None:
    with pytest.raises(CannotExport, match="give the definition FILE"):
        survey(enumerate(LOG[1:]), OPEN)
    with pytest.raises(CannotExport, match="2 inputs"):
        survey(enumerate(LOG[1:]), OPEN, RECIPE)
    opening = Recipe("mine", parcels().vector_names, "")
    assert survey(enumerate(LOG[1:]), OPEN, opening).samples == 400
    assert {row.recipe.digest for row in made(LOG[1:], opening=opening)} == {"mine"}


# -- files -----------------------------------------------------------------------------------------------------------------


def job(out: Path, span: Span = OPEN, **options: Any) -> Job:
    return Job("parcels", None, span, out, out.suffix[1:], **options)


TWO_RECIPES: list[Entry] = [
    RECIPE,
    Sample(Origin("sent", 0, 0), "p0", "k,1", START_MS, [1.5, None]),
    LabelEntry(Origin("done", 0, 0, 1), "p0", START_MS + 7, True),
    Sample(Origin("sent", 0, 1), "p1", "k", START_MS + 1, ["x", True]),
    Recipe("r2", ["b", "label", "v.c"], ""),
    Sample(Origin("sent", 0, 2), "p2", "k", START_MS + 2, [2.0, 3.0, 4.0]),
    LabelEntry(Origin("done", 0, 1, 1), "p2", START_MS + 9, False),
]
NAMES = ["event_id", "key", "at", "position", "recipe", "a", "b", "input.label", "v.c", "label", "label_at"]
EXPECTED = [
    ["p0", "k,1", START_MS, 1, "r1", "1.5", None, None, None, True, START_MS + 7],
    ["p1", "k", START_MS + 1, 3, "r1", "x", 1.0, None, None, None, None],
    ["p2", "k", START_MS + 2, 5, "r2", None, 2.0, 3.0, 4.0, False, START_MS + 9],
]


def test_json_lines_hold_every_column_of_every_recipe(tmp_path: Path) -> None:
    done = export(stored(TWO_RECIPES), TOPIC, job(tmp_path / "x.jsonl"))
    found = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [list(row) for row in found] == [NAMES] * 3
    assert [list(row.values()) for row in found] == EXPECTED
    assert (done.rows, done.labelled, done.true, done.waiting) == (3, 2, 1, 1)
    assert done.recipes == {"r1": 2, "r2": 1}


def test_a_sample_that_names_its_recipe_is_written_under_its_names_wherever_it_stands(tmp_path: Path) -> None:
    """A worker of a former definition may append late; its vector may be as long as those around it."""
    late = Sample(Origin("sent", 0, 9), "p9", "k", START_MS + 3, [7.0, 8.0], "r1")
    other = Recipe("r3", ["b", "c"], "")
    export(stored([*TWO_RECIPES, other, late]), TOPIC, job(tmp_path / "x.jsonl"))
    *_, row = (json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines())
    assert (row["recipe"], row["a"], row["b"]) == ("r1", "7.0", 8.0)
    unknown = msgspec.structs.replace(late, recipe="r0")
    with pytest.raises(CannotExport, match="is gone from the log"):
        export(stored([*TWO_RECIPES, other, unknown]), TOPIC, job(tmp_path / "y.jsonl"))


def test_csv_is_the_same_as_text(tmp_path: Path) -> None:
    export(stored(TWO_RECIPES), TOPIC, job(tmp_path / "x.csv"))
    with (tmp_path / "x.csv").open(newline="") as file:
        header, *found = csv.reader(file)
    texts = {None: "", True: "true", False: "false"}
    assert header == NAMES
    assert found == [
        [texts[v] if v is None or isinstance(v, bool) else str(v) for v in row] for row in EXPECTED
    ]


def test_parquet_has_types_and_says_its_recipes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pa, parquet = arrow()
    export(stored(TWO_RECIPES), TOPIC, job(tmp_path / "x.parquet"))
    table = parquet.read_table(tmp_path / "x.parquet")
    time = pa.timestamp("ms", tz="UTC")
    kinds = [pa.string(), pa.string(), time, pa.int64(), pa.string(), pa.string(), *[pa.float64()] * 3]
    assert table.schema.names == NAMES and table.schema.types == [*kinds, pa.bool_(), time]
    found = [list(row.values()) for row in table.to_pylist()]
    for row in found:
        row[2], row[-1] = (None if at is None else round(at.timestamp() * 1000) for at in (row[2], row[-1]))
    assert found == EXPECTED
    about = json.loads(table.schema.metadata[b"penstock"])
    assert about["columns"]["label"] == "input.label" and about["recipes"]["r2"]["inputs"][2] == "v.c"


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([20.5, -1.0], "double"),
        ([3, 7], "int64"),
        (["gold", "lead"], "string"),
        (["gold", True], "string"),
        ([True, False], "bool"),
    ],
)
def test_a_labels_column_is_of_the_labels_own_type(tmp_path: Path, labels: list[Any], kind: str) -> None:
    pytest.importorskip("pyarrow")
    log: list[Entry] = [RECIPE]
    for n, y in enumerate([*labels, None]):
        log.append(Sample(Origin("sent", 0, n), f"p{n}", "k", START_MS + n, [float(n), None]))
        if y is not None:
            log.append(LabelEntry(Origin("done", 0, n, 1), f"p{n}", START_MS + n, y))
    for name in ("x.parquet", "x.jsonl"):
        done = export(stored(log), TOPIC, job(tmp_path / name))
        assert done.true == sum(y is True for y in labels)
    table = arrow()[1].read_table(tmp_path / "x.parquet")
    assert str(table.schema.field("label").type) == kind
    told = ["true" if y is True else y for y in labels] if kind == "string" else labels
    assert table.column("label").to_pylist() == [*told, None]
    lines = (tmp_path / "x.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in lines] == [*labels, None]


def test_a_long_parquet_file_is_written_in_row_groups(tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("penstock.stream.operate.training_files.BATCH_ROWS", 150)
    export(stored(LOG), TOPIC, job(tmp_path / "x.parquet"))
    file = arrow()[1].ParquetFile(tmp_path / "x.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(3)] == [150, 150, 100]
    assert file.read().column("event_id").to_pylist() == [f"p{n}" for n in range(400)]


def test_only_labelled_rows_if_asked(tmp_path: Path) -> None:
    done = export(stored(TWO_RECIPES), TOPIC, job(tmp_path / "x.jsonl", labelled=True))
    found = [json.loads(line)["label"] for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert found == [True, False] and done.left_out == 1


def test_a_range_without_a_row_leaves_no_file_and_says_what_there_is(tmp_path: Path, capsys: Any) -> None:
    done = export(stored(LOG), TOPIC, job(tmp_path / "x.csv", Span(0, 5)))
    assert done.rows == 0 and list(tmp_path.iterdir()) == []
    assert "the log's samples are of 2023-11-14T22:13:20.000Z to" in capsys.readouterr().err


def test_a_failed_export_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("mine")
    broken = [*LOG[:50], Sample(Origin("sent", 0, 999), "p", "k", START_MS, [1.0])]
    with pytest.raises(CannotExport, match="1 values"):
        export(stored(broken), TOPIC, job(tmp_path / "x.csv"))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.csv", "mine")]
    with pytest.raises(FileNotFoundError):
        export(stored(LOG), TOPIC, job(tmp_path / "no folder" / "x.csv"))


def test_what_retention_deleted_is_said(tmp_path: Path, capsys: Any) -> None:
    log = stored(LOG)
    log.trim(TOPIC, 0, 100)
    given = {"given": parcels()}
    first = next(e.at for e in LOG[100:] if isinstance(e, Sample))
    out = tmp_path / "x.csv"
    with pytest.raises(CannotExport, match="records 0 to 99 of parcels.samples are gone, and 2023-11-14T"):
        export(log, TOPIC, Job("parcels", span=Span(START_MS), out=out, form="csv", **given))
    assert export(log, TOPIC, Job("parcels", span=Span(first), out=out, form="csv", **given)).rows > 300
    assert "begins with" not in capsys.readouterr().err
    assert export(log, TOPIC, Job("parcels", span=OPEN, out=out, form="csv", **given)).rows > 300
    assert "records 0 to 99 of parcels.samples are gone: the export begins with" in capsys.readouterr().err


def test_columns_keep_apart_what_has_one_name() -> None:
    columns = Columns(dict.fromkeys([*FIXED, "input.at"], False))
    assert len(set(columns.names)) == len(columns.names) == 2 * len(FIXED) + 1
    assert columns.of_input["at"] == "input.at" and columns.of_input["input.at"] == "input.input.at"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"out": "x.xlsx"}, "ends in none of .parquet .csv .jsonl .ndjson"),
        ({"start": "soon"}, "--from"),
        ({"start": "20", "stop": "20"}, "is not before"),
        ({"wait": "6"}, "--wait"),
        ({"pipeline": "none.py"}, "no such definition file"),
    ],
)
def test_what_cannot_be_asked_is_one_line(changes: dict[str, str], said: str, capsys: Any) -> None:
    asked = {"pipeline": "p", "out": "x.csv", "start": None, "stop": None, "wait": None, "format": None}
    args: Any = SimpleNamespace(**{**asked, "labelled": False, "json": False, **changes})
    try:
        assert run_export(args, Settings(bootstrap="127.0.0.1:1")) == 2
        line = capsys.readouterr().err
    except (ValueError, LogError) as error:
        line = str(error) + "\n"
    assert said in line and line.count("\n") == 1


def test_parquet_without_its_extra_is_refused_with_the_way_out(monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(CannotExport, match="pip install pyarrow.*--format csv or jsonl"):
        arrow()
