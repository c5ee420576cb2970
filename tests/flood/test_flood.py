"""A flood of spoilt records through featurize and learn in memory: every good one counts, every bad one is a dead letter once."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.stream.definition_file import load
from penstock.stream.formats import reading
from penstock.stream.formats.schemas import Schemas
from penstock.stream.learn import births, suspicion
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out, RecordTooLarge
from penstock.stream.roles.in_memory import MemoryFlow
from tests.flood.flow import GoodOnes, definition
from tests.flood.framed import FORMS
from tests.flood.judge import judge
from tests.flood.stream import PARTITIONS, stream
from tests.stream.formats import paid
from tests.stream.naive_flow import everything

RECORDS, BAD, TURN = 3_000, 1_500, 250
END_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("seed", "engine", "form"),
    [
        *((seed, engine, "json") for seed in (1, 2) for engine in ("native", "python")),
        (3, "native", "avro"),
        (4, "native", "protobuf"),
    ],
)
def test_every_good_record_counts_and_every_bad_one_is_a_dead_letter_once(
    seed: int, engine: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_ENGINE", engine)
    monkeypatch.setattr(reading, "own_schemas", lambda: Schemas(paid.Known()))
    monkeypatch.setattr(births, "is_due", lambda labels: False)
    monkeypatch.setattr(births, "FREEZE_EVERY", 10**9)
    monkeypatch.setattr(suspicion, "CLOCK", 10**9)
    file = tmp_path / "definition.py"
    file.write_text(definition("flood", form))
    now_ms = [0]
    log = MemoryLog(lambda: now_ms[0] / 1000)
    flow = MemoryFlow(load(file), partitions=PARTITIONS, log=log)
    topic = flow.pipeline.predict.name
    for number, made in enumerate(stream(RECORDS, BAD, seed, END_MS, bombs=False, form=form)):
        now_ms[0] = made.timestamp_ms
        try:
            flow.feed([Out(topic, made.key, made.value, tuple(made.headers), made.partition)])
        except RecordTooLarge:
            continue  # no topic takes it, so nobody ever reads it
        now_ms[0] = END_MS
        if number % TURN == 0:
            flow.process_batches()
    flow.settle()
    records = {(topic, one.partition, one.offset): one for one in everything(log, topic)}
    flow.close()
    reference = GoodOnes(flow.pipeline, log)
    good, dead = len(reference.samples), len(reference.dead)
    found = judge(
        reference,
        "flood",
        lambda name: everything(log, name),
        log.topic_id(topic),
        flow.server.data.get,
        records.__getitem__,
    )
    assert found.counts.bad == {}, found.counts.notes
    assert (found.samples, found.predictions, found.dead_letters) == (good, good, dead)
    assert found.kinds.keys() >= {kind for kind, (weight, _) in FORMS[form].kinds.items() if weight > 2}
    still_good = sum(made - bad for made, bad in found.kinds.values())
    assert dead > BAD / 2 and still_good > BAD / 6
