"""A golden log: some real records kept in a file, and the digests of all that the definition makes of them.

Laws of this file:
- Folding the same records under the same definition gives the same digests, on any machine; those of predictions and of the model
  under the same Python, river and platform. No server is asked, and nothing depends on a clock.
- It is the flow itself: featurize's engine as `Recomputation` runs it, and the fold with its policy as `Attended` does. Each
  source has one partition, so the order of the file is the order within it.
"""

from __future__ import annotations

import gzip
import heapq
import json
import platform
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import river

from penstock.features.redis.keys import states_prefix
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.formats.reading import reader_of
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import TP, Log, Out, Record
from penstock.stream.messages import Entry, LabelRecord, Sample
from penstock.stream.operate.attended import Attended
from penstock.stream.operate.recompute import Recomputation
from penstock.stream.shards import check_one

DIGITS = 32
POLL_RECORDS = 1_000
OF_MODELS = ("predictions", "model")
"""The digests that hold under one Python, river and platform."""


class Line(NamedTuple):
    """One record of a golden log: its `value` is an object, `raw` text that is none, or `base64` bytes that are no text."""

    topic: str
    timestamp: int
    key: bytes | None
    value: Any = None
    raw: str | None = None
    base64: str | None = None

    @property
    def data(self) -> bytes | None:
        """The record's bytes; None of a tombstone."""
        if self.base64 is not None:
            return b64decode(self.base64)
        if self.raw is not None:
            return self.raw.encode()
        return None if self.value is None else json.dumps(self.value, ensure_ascii=False).encode()


class Made(NamedTuple):
    """What a definition made of a golden log: `digests` by name, and `under` what they were made."""

    digests: dict[str, str]
    counts: dict[str, int]
    under: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """As it is kept beside the log."""
        return {"digests": self.digests, "counts": self.counts, "under": self.under}


class _Named(MemoryLog):
    """A log whose topics are told apart by their names, not by chance."""

    now_ms = 0

    def __init__(self) -> None:
        # Half a millisecond more, so that no rounding of seconds takes one away.
        super().__init__(lambda: (self.now_ms + 0.5) / 1000)

    def topic_id(self, topic: str) -> str:
        super().topic_id(topic)
        return topic


def kept_at(log: Path) -> Path:
    """Where the digests of a golden log are kept: beside it."""
    return log.with_name(log.name + ".digests.json")


def here() -> dict[str, str]:
    """Under what models are made here."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {
        "python": python,
        "river": river.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
    }


# -- the file -----------------------------------------------------------------------------------------------------------------


def read(path: Path) -> Iterator[Line]:
    """The records of a golden log. Raises `DefinitionError` for a line that is none, with its number."""
    try:
        opened: Any = (
            gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
        )
        with opened as file:
            for number, text in enumerate(file, start=1):
                yield _line(text, f"{path}, line {number}")
    except OSError as error:
        raise DefinitionError(
            f"{path}: {error.strerror or error}; `penstock golden FILE {path} --keep 5000` makes one"
        ) from None


def _line(text: str, where: str) -> Line:
    try:
        said = json.loads(text)
        key = b64decode(said["key_base64"]) if "key_base64" in said else said.get("key")
        key = key.encode() if isinstance(key, str) else key
        line = Line(
            said["topic"], int(said["timestamp"]), key, said.get("value"), said.get("raw"), said.get("base64")
        )
        _ = line.data
        return line
    except (ValueError, KeyError, TypeError) as error:
        raise DefinitionError(
            f'{where}: not a record ({error!r}); a line is {{"topic": ..., "timestamp": ms, "key": ..., "value": {{...}}}}'
        ) from None


def write(path: Path, records: Iterable[Record]) -> int:
    """Keep these records, a line each; how many."""
    count = 0
    opened: Any = (
        gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else path.open("w", encoding="utf-8")
    )
    with opened as file:
        for one in records:
            file.write(json.dumps(_said(one), ensure_ascii=False) + "\n")
            count += 1
    return count


def _said(one: Record) -> dict[str, Any]:
    said: dict[str, Any] = {"topic": one.topic, "timestamp": one.timestamp_ms}
    if one.key is not None:
        text = _text(one.key)
        said |= {"key_base64": b64encode(one.key).decode()} if text is None else {"key": text}
    if one.value is None:
        return said | {"value": None}
    text = _text(one.value)
    if text is None:
        return said | {"base64": b64encode(one.value).decode()}
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except ValueError:  # no JSON, or none that would be read again
        value = None
    return said | ({"value": value} if isinstance(value, dict) else {"raw": text})


def _text(data: bytes) -> str | None:
    """Bytes as text; None of those that are none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def newest_of(pipeline: Pipeline, log: Log, most: int) -> Iterator[Record]:
    """About the newest `most` records of all sources, each its share of them, in the order of their event times."""
    tps = [(source.name, n) for source in pipeline.sources for n in range(log.partitions(source.name))]
    bounds = log.bounds(tps)
    total = sum(high - low for low, high in bounds.values())
    share = min(1.0, most / total) if total else 0.0
    starts = {tp: high - round((high - low) * share) for tp, (low, high) in bounds.items()}
    each = []
    for number, source in enumerate(pipeline.sources):
        decoder = SourceDecoder(pipeline, source, reader_of(source))
        for tp in (tp for tp in tps if tp[0] == source.name):
            records = _stretch(log, tp, starts[tp], bounds[tp][1])
            each.append([(item.newest_at, number, item.record) for item in decoder.items(records, -1)])
    for _, _, record in heapq.merge(*each, key=lambda one: one[:2]):
        yield record


def _stretch(log: Log, tp: TP, start: int, stop: int) -> list[Record]:
    found: list[Record] = []
    if start >= stop:
        return found
    reader = log.reader({tp: start})
    try:
        while reader.positions().get(tp, start) < stop:
            found += [one for one in reader.poll(POLL_RECORDS, 1.0) if one.offset < stop]
    finally:
        reader.close()
    return found


# -- what comes of it -----------------------------------------------------------------------------------------------------------


def made(pipeline: Pipeline, lines: Iterable[Line]) -> Made:
    """The digests of all that this definition makes of a golden log. Raises `DefinitionError` for a topic that is none of its."""
    check_one(pipeline, "a golden log is folded into")
    log, records = _filled(pipeline, lines)
    again, learned = Recomputation(pipeline, log), Attended(pipeline)
    sums = {name: blake2b(digest_size=DIGITS // 2) for name in ("samples", "labels", "predictions")}
    counts = dict.fromkeys(("records", "samples", "labels", "dead letters"), 0) | {"records": records}
    for entry in again.entries():
        said = learned.step(entry)
        _add(sums, counts, entry, said)
    for task in again.tasks:
        counts["dead letters"] += sum(task.featurize.counts.dead_letters.values())
    digests = {f"view {view}": digest for view, digest in _of_states(pipeline, again).items()}
    digests |= {name: one.hexdigest() for name, one in sums.items()} | {"model": learned.fold.digest()}
    return Made(digests, counts, {"recipe": pipeline.digest, **here()})


def _filled(pipeline: Pipeline, lines: Iterable[Line]) -> tuple[_Named, int]:
    """A log in memory that holds these records, and how many there are."""
    log, records, names = _Named(), 0, [source.name for source in pipeline.sources]
    for name in names:
        log.create(name, 1)
    for one in lines:
        if one.topic not in names:
            raise DefinitionError(
                f"the golden log has records of {one.topic!r}, which is no source of {pipeline.name!r}"
            )
        log.now_ms = one.timestamp
        log.append([Out(one.topic, one.key, one.data, (), 0)])
        records += 1
    return log, records


def _add(sums: Mapping[str, Any], counts: dict[str, int], entry: Entry, said: Any) -> None:
    """Count an entry, and add what it says, without where it came from."""
    if isinstance(entry, Sample):
        counts["samples"] += 1
        sums["samples"].update(
            repr((entry.id, entry.key, entry.at, entry.x, entry.label_key, entry.segments)).encode()
        )
        sums["predictions"].update(repr((entry.id, said)).encode())
    elif isinstance(entry, LabelRecord):
        counts["labels"] += 1
        sums["labels"].update(repr((entry.id, entry.at, entry.y, entry.key)).encode())


def _of_states(pipeline: Pipeline, again: Recomputation) -> dict[str, str]:
    """The digest of every view's states at the end; their encoding is canonical."""
    sums = {view.name: blake2b(digest_size=DIGITS // 2) for view in pipeline.views}
    for task in again.tasks:
        prefix = states_prefix(pipeline.name, task.featurize.task)
        for key, value in sorted(again.server.data.items()):
            if key.startswith(prefix):
                view, _, entity = key.removeprefix(prefix).partition("@")
                sums[view].update(repr((entity.partition(":")[2], value)).encode())
    return {view: one.hexdigest() for view, one in sums.items()}


def differences(kept: Mapping[str, Any], now: Made) -> list[str]:
    """What is not as it was kept, a line each; what cannot be compared here is left out (`incomparable`)."""
    was: Mapping[str, str] = kept["digests"]
    left = OF_MODELS if incomparable(kept, now) else ()
    names = [name for name in {**was, **now.digests} if name not in left]
    return [
        f"{name}: {was.get(name, 'not there')} → {now.digests.get(name, 'not there')}"
        for name in names
        if was.get(name) != now.digests.get(name)
    ]


def incomparable(kept: Mapping[str, Any], now: Made) -> str:
    """Why models cannot be compared here; empty where they can."""
    under: Mapping[str, str] = kept["under"]
    other: Sequence[str] = [
        f"{name} {under.get(name)}, here {now.under[name]}"
        for name in here()
        if under.get(name) != now.under[name]
    ]
    return "; ".join(other)
