"""Scoring a file: the same rows in the same order, each with the prediction that the flow itself makes of it, or a reason."""

from __future__ import annotations

import csv
import gzip
import json
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import count as numbers
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import state_key
from penstock.features.redis.store import connect
from penstock.stream import cli, topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Rejected
from penstock.stream.files import reading
from penstock.stream.files.reading import CannotUse, form_of, open_table
from penstock.stream.learn.replica import Replica, standing_of
from penstock.stream.learn.snapshot import take
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Sample, decode_entry
from penstock.stream.models.version import BadEnvelope
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from penstock.stream.score.models import Live, One, Stored, replica_of, scorer
from penstock.stream.score.refusal import CannotScore
from penstock.stream.score.run import Job, Summary, score
from penstock.stream.score.vectors import Given
from tests.effort import examples, first_here
from tests.stream.generated import (
    DELIVERED,
    PAID,
    SENT,
    START_MS,
    card_events,
    cards,
    outs,
    parcel_events,
    parcels,
)
from tests.stream.learn.task_courses import pipeline_of
from tests.stream.naive_flow import everything

ADDED = ["prediction", "model_version", "position", "recipe", "error"]


def flow_of(pipeline: Pipeline, events: Iterable[Any]) -> MemoryFlow:
    wall = numbers(1_700_000_000_000, 10)
    flow = MemoryFlow(pipeline, clock=lambda: next(wall))
    flow.feed(outs(events))
    flow.settle()
    return flow


@pytest.fixture(scope="module")
def flow() -> MemoryFlow:
    return flow_of(parcels(), parcel_events(300))


def live(flow: MemoryFlow) -> Live:
    """The models of a flow, by way of a snapshot."""
    assert flow.learn.fold is not None
    return Live(replica_of(flow.pipeline, take(flow.learn.fold, "t")))


def samples(flow: MemoryFlow) -> list[Sample]:
    log = everything(flow.log, topology.samples(flow.pipeline.name))
    found = [decode_entry(record.value or b"") for record in log]
    return [entry for entry in found if isinstance(entry, Sample)]


def vectors(flow: MemoryFlow) -> list[dict[str, Any]]:
    names = flow.pipeline.vector_names
    return [
        {"note": f"n {n}, x", "event_id": one.id, **dict(zip(names, one.x, strict=True))}
        for n, one in enumerate(samples(flow))
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    """The rows in the format that the name says."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            lines = csv.DictWriter(file, columns)
            lines.writeheader()
            lines.writerows(rows)
    return str(path)


def read(path: str) -> list[dict[str, Any]]:
    """The rows of a file, as each format has them."""
    if path.endswith(".parquet"):
        return pyarrow.parquet.read_table(path).to_pylist()
    if path.endswith(".jsonl"):
        return [json.loads(line) for line in Path(path).read_text().splitlines()]
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def run(
    flow: MemoryFlow, source: str, out: str | Path, features: Any = "columns", by: Any = None, **more: Any
) -> Summary:
    job = Job(flow.pipeline, source, str(out), features, more.pop("now_ms", 0))
    given_: dict[str, Any] = {
        "log": flow.log,
        "reads": None,
        "progress": lambda what, done, total: None,
        **more,
    }
    return score(job, by or live(flow), **given_)


# -- files -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("came", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("goes", ["parquet", "csv", "jsonl"])
def test_rows_keep_their_order_and_columns_and_get_the_live_prediction(
    flow: MemoryFlow, tmp_path: Path, came: str, goes: str
) -> None:
    rows = vectors(flow)
    source, out = write(tmp_path / f"in.{came}", rows), str(tmp_path / f"out.{goes}")
    done = run(flow, source, out)
    found = read(out)
    assert (done.rows, done.predicted, len(found)) == (300, 300, 300)
    assert list(found[0]) == [*rows[0], *ADDED]
    assert [row["note"] for row in found] == [row["note"] for row in rows]
    models = live(flow)
    for row, one in zip(found, samples(flow), strict=True):
        said = models.answer(one.id, one.at, one.x)
        assert float(row["prediction"]) == said.prediction
        assert (row["model_version"], int(row["position"]), row["recipe"]) == (
            said.model.version,
            flow.learn.fold.position,  # type: ignore[union-attr]
            flow.pipeline.digest,
        )
        assert not row["error"]
    if goes == came == "parquet":
        assert (
            pyarrow.parquet.read_schema(out).names[: len(rows[0])]
            == pyarrow.parquet.read_schema(source).names
        )
        about = json.loads(pyarrow.parquet.read_schema(out).metadata[b"penstock"])
        assert about["features"] == "columns" and about["recipe"] == flow.pipeline.digest


def test_what_is_not_needed_comes_through_as_it_stands(flow: MemoryFlow, tmp_path: Path) -> None:
    names = flow.pipeline.vector_names
    zip_code, nested = "00712", '{"a": [1,  2.50, null], "b": 12345678901234567890}'
    source = tmp_path / "in.csv"
    source.write_text(",".join(["zip", *names]) + "\n" + ",".join([zip_code, *["1.50"] * len(names)]) + "\n")
    run(flow, str(source), tmp_path / "out.csv")
    assert read(str(tmp_path / "out.csv"))[0]["zip"] == zip_code
    assert read(str(tmp_path / "out.csv"))[0][names[0]] == "1.50"
    line = json.dumps(dict.fromkeys(names, 1.5))[:-1] + f', "x": {nested} }}'
    (tmp_path / "in.jsonl").write_text(line + "\n")
    run(flow, str(tmp_path / "in.jsonl"), tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text().startswith(line.rstrip("} ").rstrip())


def test_a_column_of_the_name_of_an_added_one_stays_and_the_added_one_is_called_otherwise(
    flow: MemoryFlow, tmp_path: Path
) -> None:
    rows = [{**row, "position": n, "recipe": "old"} for n, row in enumerate(vectors(flow)[:5])]
    for form in ("parquet", "csv", "jsonl"):
        out = str(tmp_path / f"out.{form}")
        run(flow, write(tmp_path / f"in.{form}", rows), out)
        found = read(out)
        assert [int(row["position"]) for row in found] == list(range(5))
        assert {row["recipe"] for row in found} == {"old"}
        assert {row["scored.recipe"] for row in found} == {flow.pipeline.digest}
        assert list(found[0])[-5:] == [
            "prediction",
            "model_version",
            "scored.position",
            "scored.recipe",
            "error",
        ]


def test_a_row_that_cannot_be_scored_says_why_and_the_others_are_scored(
    flow: MemoryFlow, tmp_path: Path
) -> None:
    rows = vectors(flow)[:4]
    rows[1]["weight"] = "heavy"
    (tmp_path / "in.jsonl").write_text("\n".join([*map(json.dumps, rows), "[1]", "{broken"]) + "\n")
    done = run(flow, str(tmp_path / "in.jsonl"), tmp_path / "out.jsonl")
    found = read(str(tmp_path / "out.jsonl"))
    assert (done.rows, done.predicted, sorted(done.errors)) == (6, 3, [1, 4, 5])
    assert "column 'weight' is 'heavy', and the model takes a finite number" in found[1]["error"]
    assert (
        found[1]["prediction"] is None
        and found[1]["model_version"] is None
        and found[1]["note"] == rows[1]["note"]
    )
    assert [row["error"] for row in found[4:]] == ["the line is no JSON object"] * 2
    assert all(row["prediction"] is not None and row["error"] is None for row in (found[0], *found[2:4]))
    names = flow.pipeline.vector_names
    (tmp_path / "in.csv").write_text(",".join(names) + "\n" + ",".join(["1"] * len(names)) + "\n1,2\n")
    done = run(flow, str(tmp_path / "in.csv"), tmp_path / "out.csv")
    assert done.errors == {1: f"the row has 2 values and the header {len(names)}"} and done.rows == 2


def test_missing_values_are_missing_in_every_format(flow: MemoryFlow, tmp_path: Path) -> None:
    rows = [{**row, "weight": None, "street.late": float("nan")} for row in vectors(flow)[:2]]
    said = live(flow).answer(
        "", 0, [None if n in ("weight", "street.late") else rows[0][n] for n in flow.pipeline.vector_names]
    )
    for form in ("parquet", "csv"):
        rows_of = [{**row, "street.late": None} for row in rows] if form == "csv" else rows
        run(flow, write(tmp_path / f"in.{form}", rows_of), tmp_path / "out.jsonl")
        assert read(str(tmp_path / "out.jsonl"))[0]["prediction"] == said.prediction


def test_text_may_be_compressed_and_any_fsspec_address_does(flow: MemoryFlow, tmp_path: Path) -> None:
    plain = write(tmp_path / "in.csv", vectors(flow)[:10])
    with fsspec.open("memory://in.csv.gz", "wb", compression="gzip") as file:
        file.write(Path(plain).read_bytes())
    run(flow, "memory://in.csv.gz", "memory://out.jsonl.gz")
    run(flow, plain, tmp_path / "out.jsonl")
    with fsspec.open("memory://out.jsonl.gz", "rb", compression="gzip") as file:
        assert file.read() == (tmp_path / "out.jsonl").read_bytes()
    assert not fsspec.filesystem("memory").exists("/out.jsonl.gz.part")


def test_a_parquet_at_an_fsspec_address_is_read_and_written_whole_or_not_at_all(
    flow: MemoryFlow, tmp_path: Path
) -> None:
    memory = fsspec.filesystem("memory")
    rows = vectors(flow)
    plain = write(tmp_path / "in.parquet", rows)
    memory.pipe_file("/rows.parquet", Path(plain).read_bytes())
    run(flow, plain, tmp_path / "out.parquet")
    run(flow, "memory://rows.parquet", "memory://scored.parquet")
    assert memory.cat_file("/scored.parquet") == (tmp_path / "out.parquet").read_bytes()

    def cut(what: str, done: int, total: int | None) -> None:
        raise Cut

    with pytest.raises(Cut):
        run(flow, plain, "memory://scored.parquet", progress=cut)
    assert memory.cat_file("/scored.parquet") == (tmp_path / "out.parquet").read_bytes()
    assert not memory.exists("/scored.parquet.part")


def test_a_parquet_has_row_groups_of_many_batches(
    flow: MemoryFlow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.stream.files.reading.BATCH_ROWS", 10)
    run(flow, write(tmp_path / "in.parquet", vectors(flow)), tmp_path / "out.parquet")
    found = pyarrow.parquet.ParquetFile(tmp_path / "out.parquet").metadata
    assert [found.row_group(n).num_rows for n in range(found.num_row_groups)] == [80, 80, 80, 60]


@pytest.mark.long
def test_a_long_parquet_is_not_kept_in_memory(tmp_path: Path) -> None:
    source, schema = tmp_path / "in.parquet", pyarrow.schema([("amount", pyarrow.float64())])
    with pyarrow.parquet.ParquetWriter(source, schema, compression=None) as file:
        for group in range(100):
            amounts = [float(group * 20_000 + n) for n in range(20_000)]
            file.write_table(pyarrow.table([amounts], schema=schema))
    tracemalloc.start()  # what is read of an fsspec file lies in Python's memory
    try:
        for _ in open_table(str(source)).batches(["amount"]):
            pass
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < source.stat().st_size / 2


NUMBERS = st.one_of(st.none(), st.floats(width=32), st.integers(-(2**31), 2**31 - 1))
KINDS = [pyarrow.float64(), pyarrow.float32(), pyarrow.int64(), pyarrow.bool_(), pyarrow.string()]


@settings(max_examples=examples(60), deadline=None)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=2),
    cells=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12),
)
def test_columns_of_numbers_are_read_as_a_row_at_a_time_is(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[Any], cells: list[tuple[Any, Any]]
) -> None:
    def as_kind(kind: Any, value: Any) -> Any:
        if value is None or pyarrow.types.is_floating(kind):
            return None if value is None else float(value)
        if pyarrow.types.is_integer(kind):
            return int(value) if -(2**63) <= value < 2**63 else None  # what the column's type holds
        return bool(value) if kind == pyarrow.bool_() else str(value)

    columns = [pyarrow.array([as_kind(kind, row[n]) for row in cells], kind) for n, kind in enumerate(kinds)]
    path = tmp_path_factory.mktemp("columns") / "in.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns, names=["amount", "tip"]), path)
    table = open_table(str(path))
    of = Given(cards(inputs=["amount", "tip"], views=[], segments=[]), table)
    for batch in table.batches(of.wanted):
        assert len(batch.rows) == len(cells)
        slowly: list[Any] = []
        for row in pyarrow.parquet.read_table(path).to_pylist():
            try:
                slowly.append(of.vector(row))
            except Rejected as error:
                slowly.append(str(error))
        assert [one if isinstance(one, str) else list(one) for one in of.vectors(batch)] == slowly


def test_an_empty_file_gives_an_empty_file_with_the_columns(flow: MemoryFlow, tmp_path: Path) -> None:
    names = flow.pipeline.vector_names
    (tmp_path / "in.csv").write_text(",".join(names) + "\n")
    assert run(flow, str(tmp_path / "in.csv"), tmp_path / "out.parquet").rows == 0
    assert pyarrow.parquet.read_schema(tmp_path / "out.parquet").names == [*names, *ADDED]


def test_what_cannot_be_read_or_written_is_said_in_a_sentence(flow: MemoryFlow, tmp_path: Path) -> None:
    rows = vectors(flow)[:2]
    source = write(tmp_path / "in.csv", rows)
    for there, goes, why in (
        (source, source, "--out is --in"),
        (source, tmp_path / "out.xls", "--out .*its name must end in"),
        (source, tmp_path / "nowhere" / "out.csv", "cannot be written"),
        (str(tmp_path / "none.csv"), tmp_path / "out.csv", "cannot be read"),
        (write(tmp_path / "few.csv", [{"weight": 1}]), tmp_path / "out.csv", "has no column depot.late_3h, "),
    ):
        with pytest.raises(CannotUse, match=why):
            run(flow, there, goes)
    with pytest.raises(CannotUse, match="must name every column"):
        (tmp_path / "twice.csv").write_text("a,a\n1,2\n")
        open_table(str(tmp_path / "twice.csv"))
    (tmp_path / "no.parquet").write_bytes(b"PAR1")
    with pytest.raises(CannotUse, match="cannot be read"):
        open_table(str(tmp_path / "no.parquet"))
    torn = gzip.compress(b"a,b\n" + b"1,2\n" * 9_000)[:-9]
    for name, held in (("torn.csv.gz", torn), ("bad.csv", b"weight\n\xff\n"), ("torn.jsonl.gz", torn)):
        (tmp_path / name).write_bytes(held)
        with pytest.raises(CannotUse, match="cannot be read"):
            list(open_table(str(tmp_path / name)).batches([]))
    assert form_of("x.NDJSON", "--in") == "jsonl"
    with pytest.raises(CannotUse):
        form_of("x.parquet.gz", "--in")


class Cut(Exception):
    """What ends a scoring in the middle."""


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_what_ends_in_the_middle_leaves_the_former_file_or_none(
    flow: MemoryFlow, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.stream.files.reading.BATCH_ROWS", 50)
    source, out = write(tmp_path / "in.csv", vectors(flow)), tmp_path / f"out.{form}"

    def cut(what: str, done: int, total: int | None) -> None:
        if done >= 150:
            raise Cut

    for before in (None, b"the former file"):
        if before is not None:
            out.write_bytes(before)
        with pytest.raises(Cut):
            run(flow, source, out, progress=cut)
        assert (out.read_bytes() if out.exists() else None) == before
        assert not out.with_name(out.name + ".part").exists()
    out.with_name(out.name + ".part").write_bytes(b"left by one that was killed")
    run(flow, source, out)
    assert len(read(str(out))) == 300 and not out.with_name(out.name + ".part").exists()


def until_killed(source: str, out: str) -> None:
    """Score until the middle, say so, and wait for the end."""
    pipeline = parcels()

    def wait(what: str, done: int, total: int | None) -> None:
        if done >= 150:
            print("in the middle", flush=True)
            sys.stdin.read()

    reading.BATCH_ROWS = 50
    score(Job(pipeline, source, out, "columns"), Heard(pipeline), log=None, reads=None, progress=wait)


@pytest.mark.parametrize("form", first_here(["parquet", "csv"]))
def test_who_is_killed_in_the_middle_leaves_the_former_file_and_the_next_one_scores_all(
    flow: MemoryFlow, tmp_path: Path, form: str
) -> None:
    source, out = write(tmp_path / "in.csv", vectors(flow)), tmp_path / f"out.{form}"
    out.write_bytes(b"the former file")
    code = f"from tests.stream.score.test_score import until_killed; until_killed({source!r}, {str(out)!r})"
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    with child:
        assert child.stdout is not None and child.stdout.readline() == b"in the middle\n"
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert out.read_bytes() == b"the former file"
    run(flow, source, out)
    assert len(read(str(out))) == 300 and sorted(path.name for path in tmp_path.iterdir()) == [
        "in.csv",
        out.name,
    ]


# -- features as of the row's own time -----------------------------------------------------------------------------------------


def events_of(flow: MemoryFlow) -> list[dict[str, Any]]:
    """The predicted events of a flow, as their topic holds them."""
    return [json.loads(record.value or b"") for record in everything(flow.log, flow.pipeline.predict.name)]


def unlabelled(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "fraud"} for row in rows]


class Heard(One):
    """Keeps the vectors that it is asked about; the prediction is the first input."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(pipeline, "v0", task_model(pipeline), 0)
        self.vectors: dict[str, list[Any]] = {}

    def answer(self, id_: str, at: int, values: Any) -> Any:
        self.vectors[id_] = list(values)
        return super().answer(id_, at, values)


def task_model(pipeline: Pipeline) -> Any:
    return pipeline.model.clone()


@pytest.mark.parametrize("made", [parcels, cards])
def test_rows_that_are_events_of_the_topic_get_the_vectors_of_their_samples(
    made: Callable[[], Pipeline], tmp_path: Path
) -> None:
    events = parcel_events(250) if made is parcels else card_events(250)
    flow = flow_of(made(), events)
    rows = unlabelled(events_of(flow))
    heard = Heard(flow.pipeline)
    done = run(flow, write(tmp_path / "in.jsonl", rows[::-1]), tmp_path / "out.jsonl", "history", by=heard)
    assert done.predicted == len(rows) == 250
    assert heard.vectors == {one.id: one.x for one in samples(flow)}
    found = read(str(tmp_path / "out.jsonl"))
    assert [{name: row[name] for name in rows[0]} for row in found] == rows[::-1], "in the file's order"


@settings(max_examples=16)
@given(
    at=st.integers(0, 250 * 60_000),
    depot=st.sampled_from(["d0", "d1", "never seen"]),
    seed=st.integers(0, 3),
    tied=st.booleans(),
)
def test_a_row_that_was_never_published_gets_the_vector_that_it_would_have_had(
    tmp_path_factory: pytest.TempPathFactory, at: int, depot: str, seed: int, tied: bool
) -> None:
    tmp_path = tmp_path_factory.mktemp("score")
    events = list(parcel_events(150, seed))
    sent_at, street = START_MS + at, "s 1|"
    if tied:  # at the very moment of a delivery there, which it does not see
        there = [event for topic, _, event in events if topic == DELIVERED.name]
        one = there[at % len(there)]
        sent_at, depot, street = one["done_at"], one["depot"], one["street"]
    row = {
        "parcel": "asked",
        "sent_at": sent_at,
        "van": "van1",
        "depot": depot,
        "street": street,
        "weight": 2.0,
    }
    flow = flow_of(parcels(), events)
    heard = Heard(flow.pipeline)
    run(flow, write(tmp_path / "in.jsonl", [row]), tmp_path / "out.jsonl", "history", by=heard)
    assume(all(event.get("sent_at") != row["sent_at"] for _, _, event in events))  # partitions break ties
    # Published last of its moment, among those that were there.
    place = next(
        (n for n, (topic, _, event) in enumerate(events) if event.get("sent_at", event.get("done_at")) > row["sent_at"]
         or (topic == DELIVERED.name and event["done_at"] >= row["sent_at"])),
        len(events),
    )  # fmt: skip
    published = flow_of(parcels(), [*events[:place], (SENT.name, "van1", row), *events[place:]])
    assert heard.vectors["asked"] == next(one.x for one in samples(published) if one.id == "asked")


def test_a_row_that_the_topic_would_not_take_says_so_in_its_words(flow: MemoryFlow, tmp_path: Path) -> None:
    good = events_of(flow)[0]
    rows = [good, {**good, "sent_at": "yesterday"}, {**good, "weight": "much"}, {**good, "depot": None}]
    done = run(flow, write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", "history")
    found = read(str(tmp_path / "out.jsonl"))
    assert (
        "neither milliseconds since the epoch nor RFC 3339" in found[1]["error"]
        and "weight" in found[2]["error"]
    )
    assert done.predicted == 2 and found[3]["prediction"] is not None, (
        "an event of no entity has the defaults"
    )
    with pytest.raises(CannotScore, match="has no column depot, street"):
        rows = [{name: good[name] for name in ("parcel", "sent_at", "van", "weight")}]
        run(flow, write(tmp_path / "few.jsonl", rows), tmp_path / "out.jsonl", "history")


def test_events_that_retention_took_away_are_said(tmp_path: Path) -> None:
    flow = flow_of(parcels(), parcel_events(60))
    flow.log.trim(SENT.name, 0, 5)
    source = write(tmp_path / "in.jsonl", events_of(flow)[-3:])
    done = run(flow, source, tmp_path / "out.csv", "history", by=Heard(flow.pipeline))
    assert done.notes == [f"records 0 to 4 of {SENT.name}/0 are gone: no feature has seen them"]


def test_a_csv_and_a_parquet_of_events_are_read_as_the_topic_is(flow: MemoryFlow, tmp_path: Path) -> None:
    rows = events_of(flow)[:60]
    run(flow, write(tmp_path / "in.jsonl", rows), tmp_path / "one.jsonl", "history")
    wanted = [row["prediction"] for row in read(str(tmp_path / "one.jsonl"))]
    run(flow, write(tmp_path / "in.csv", rows), tmp_path / "two.jsonl", "history")
    assert [row["prediction"] for row in read(str(tmp_path / "two.jsonl"))] == wanted
    table = pyarrow.Table.from_pylist(rows)
    times = pyarrow.array(table["sent_at"].to_pylist(), pyarrow.timestamp("ms", tz="UTC"))
    place = table.column_names.index("sent_at")
    pyarrow.parquet.write_table(table.set_column(place, "sent_at", times), tmp_path / "in.parquet")
    run(flow, str(tmp_path / "in.parquet"), tmp_path / "three.jsonl", "history")
    assert [row["prediction"] for row in read(str(tmp_path / "three.jsonl"))] == wanted


# -- features as of now --------------------------------------------------------------------------------------------------------


class Held:
    """Private states as `FeatureReader` gives them, from a flow's own memory."""

    def __init__(self, flow: MemoryFlow) -> None:
        self.flow = flow
        self.views = {view.name: CompiledView(view) for view in flow.pipeline.views}
        self.tasks = ["0", "1"] if flow.pipeline.partitioned else ["all"]

    def compiled(self, view: str) -> CompiledView:
        return self.views[view]

    def states(self, wanted: Any) -> list[Any]:
        found = []
        for view, entity in wanted:
            version, data = self.views[view].view.version, self.flow.server.data
            keys = [state_key(self.flow.pipeline.name, task, view, version, entity) for task in self.tasks]
            held = [self.views[view].decode(data[key]) for key in keys if key in data]
            found.append(max(held, key=lambda state: state.newest, default=None))
        return found


@pytest.mark.parametrize("made", [parcels, cards])
def test_as_of_now_a_row_gets_the_vector_that_it_has_when_it_is_published_next(
    made: Callable[[], Pipeline], tmp_path: Path
) -> None:
    events = list(parcel_events(200) if made is parcels else card_events(200))
    flow = flow_of(made(), events)
    newest = max(one.at for one in samples(flow)) + 7_200_000
    source = flow.pipeline.predict
    row = {name: value for name, value in events_of(flow)[-1].items() if name not in (source.id, source.time)}
    heard = Heard(flow.pipeline)
    given_ = {"reads": Held(flow), "now_ms": newest}
    done = run(
        flow,
        write(tmp_path / "in.jsonl", unlabelled([row])),
        tmp_path / "out.jsonl",
        "now",
        by=heard,
        **given_,
    )
    assert done.predicted == 1
    key = row[source.key_fields[0]]
    event = {**row, source.id: "next", source.time: newest}
    flow.feed([Out(source.name, key.encode(), json.dumps(event).encode())])
    flow.settle()
    assert heard.vectors == {"row 0": next(one.x for one in samples(flow) if one.id == "next")}


# -- models --------------------------------------------------------------------------------------------------------------------


def test_the_live_models_are_those_that_answer_next(flow: MemoryFlow) -> None:
    fold = flow.learn.fold
    assert fold is not None
    own = Replica(standing_of(fold), flow.pipeline.vector_names, lambda: fold.experts)
    mine, x = live(flow), samples(flow)[-1].x
    before = mine.replica.digest()
    assert mine.answer("a", 1, x) == own.ask("a", 1, x).prediction
    assert mine.replica.digest() == before


def stored(flow: MemoryFlow) -> Stored:
    return Stored(flow.store("learn"), flow.models, flow.deployed, SECRET)


def test_a_version_answers_by_itself_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    flow = flow_of(parcels(), parcel_events(200))
    with pytest.raises(CannotScore, match="learn has stored no models"):
        scorer(parcels(name="others"), stored(flow)._replace(deployed="others"), None)
    flow.close()  # a stop takes a snapshot
    assert isinstance(scorer(flow.pipeline, stored(flow), None), Live)
    with pytest.raises(CannotScore, match="--models: there is no version 'v99'"):
        scorer(flow.pipeline, stored(flow), "v99")
    with pytest.raises(BadEnvelope, match="stored under definition"):
        scorer(parcels(inputs=[]), stored(flow), None)
    version = flow.models.versions()
    if version:
        by = scorer(flow.pipeline, stored(flow), version[0].id)
        done = run(flow, write(tmp_path / "in.jsonl", vectors(flow)[:20]), tmp_path / "out.jsonl", by=by)
        assert done.predicted == 20
        assert {row["model_version"] for row in read(str(tmp_path / "out.jsonl"))} == {version[0].id}
        with pytest.raises(CannotScore, match="was made under definition"):
            scorer(parcels(inputs=[]), stored(flow), version[0].id)


@pytest.mark.parametrize("case", ["multiclass", "regression", "unlabelled", "anomaly"])
def test_predictions_of_every_task_have_their_columns(case: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"interval": 0.9} if case in ("multiclass", "regression") else {}
    more |= {"calibrate": True} if case == "anomaly" else {}
    flow = flow_of(pipeline_of(case, **more), parcel_events(120))
    rows, models = vectors(flow), live(flow)
    for form in ("jsonl", "parquet", "csv"):
        done = run(flow, write(tmp_path / "in.parquet", rows), tmp_path / f"out.{form}")
        found = read(str(tmp_path / f"out.{form}"))
        assert done.rows == 120 and len(found) == 120
    added = [name for name in found[0] if name not in rows[0]]
    assert (
        added
        == {
            "multiclass": ["prediction", "probability", "classes", "set", *ADDED[1:]],
            "regression": ["prediction", "interval_low", "interval_high", *ADDED[1:]],
            "unlabelled": ["prediction", "rank", "alert", *ADDED[1:]],
            "anomaly": ["prediction", "calibrated", *ADDED[1:]],
        }[case]
    )
    shown = read(str(tmp_path / "out.jsonl"))
    for row, one in zip(shown, samples(flow), strict=True):
        assert row["prediction"] == models.answer(one.id, one.at, one.x).prediction


def test_inputs_that_are_called_otherwise_in_an_export_are_found(flow: MemoryFlow, tmp_path: Path) -> None:
    pipeline = cards(inputs=["amount", "key"], views=[])
    table = open_table(write(tmp_path / "in.csv", [{"key": "k", "amount": 1, "input.key": 2}]))
    assert Given(pipeline, table).column_of == {"amount": "amount", "key": "input.key"}
    assert PAID.name


# -- the command -----------------------------------------------------------------------------------------------------------------

DEFINITION = """\
from penstock import Label, Pipeline, Source, View, count, mean
from river import linear_model, preprocessing

paid = Source("cards.paid", id="payment", time="paid_at", key="card")
pipeline = Pipeline(
    "cards", predict=paid, inputs=["amount"],
    views=[View("card", paid, key="card", features={"paid_1h": count("1h"), "mean_1d": mean("amount", "1d")})],
    label=Label(paid, lambda e: e["fraud"], wait="1h", fields=("fraud",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
"""


def test_the_command_scores_by_the_models_and_the_features_in_redis(
    tmp_path: Path,
    valkey: Any,
    valkey_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "definition.py"
    file.write_text(DEFINITION)
    wall = numbers(1_700_000_000_000, 10)
    flow = MemoryFlow(load(str(file)), client=connect(valkey_url), clock=lambda: next(wall))
    flow.feed(outs(card_events(200)))
    flow.settle()
    fold = flow.learn.fold
    assert fold is not None
    flow.close()
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("PENSTOCK_SECRET", SECRET)
    monkeypatch.delenv("PENSTOCK_PREFIX", raising=False)
    rows = vectors(flow)[:30]
    for features, given_ in (("columns", rows), ("now", unlabelled(events_of(flow))[:30])):
        source, out = write(tmp_path / "in.jsonl", given_), str(tmp_path / f"{features}.jsonl")
        asked = ["score", str(file), "--in", source, "--out", out, "--features", features, "--json"]
        assert cli.main(asked) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["rows"], said["predicted"], said["position"]) == (30, 30, fold.position)
        assert {row["recipe"] for row in read(out)} == {flow.pipeline.digest}
    assert [row["prediction"] for row in read(str(tmp_path / "columns.jsonl"))] == [
        live(flow).answer(one.id, one.at, one.x).prediction for one in samples(flow)[:30]
    ]
    (tmp_path / "in.jsonl").write_text(json.dumps(rows[0]) + "\nno row\n")
    assert cli.main(["score", str(file), "--in", source, "--out", str(tmp_path / "some.csv")]) == 1
    assert "row 2     the line is no JSON object" in capsys.readouterr().out
    assert (
        cli.main(["score", str(file), "--in", source, "--out", str(tmp_path / "x.csv"), "--version", "v99"])
        == 2
    )
    assert "there is no version 'v99'" in capsys.readouterr().err


def test_the_command_reads_history_from_the_source_topics(
    flow: MemoryFlow,
    tmp_path: Path,
    valkey_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("PENSTOCK_SECRET", SECRET)
    heard = Heard(parcels())
    monkeypatch.setattr("penstock.stream.cli.score.load", lambda file: parcels())
    monkeypatch.setattr("penstock.stream.roles.start.open_log", lambda settings: flow.log)
    monkeypatch.setattr("penstock.stream.cli.score.scorer", lambda *given_: heard)
    source, out = write(tmp_path / "in.csv", events_of(flow)), tmp_path / "out.parquet"
    asked = [
        "score",
        "x.py",
        "--in",
        source,
        "--out",
        str(out),
        "--features",
        "history",
        "--models",
        "live-now",
    ]
    assert cli.main(asked) == 0
    assert "rows      300, 300 predicted" in capsys.readouterr().out
    assert heard.vectors == {one.id: one.x for one in samples(flow)}
