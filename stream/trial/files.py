"""An events file and an expected file → a trial: what came, what differs, what leaks. For `penstock test` and the pytest plugin.

Laws of this file:
- Reading changes nothing. The expected file is written only with `update`, and then whole, with the comments that it began with.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.operate.tells_alone import tells_alone
from penstock.stream.trial.compare import (
    ALWAYS,
    TOLERANCE,
    Difference,
    Got,
    as_text,
    differences,
    never_compared,
)
from penstock.stream.trial.flow import TrialFlow
from penstock.stream.trial.leaks import MOST_SAMPLES, Looked, look
from penstock.stream.trial.wire import KINDS, BadLine, Expected, events, expected

#: How `--also` names the kinds that are compared where they are expected, and in which order a file has all of them.
ALSO = {"predictions": "prediction_of", "documents": "document"}


class Asked(NamedTuple):
    """What is to be tried: `expect` None compares nothing, `leaks` is the most samples to look for leaks in (0: none)."""

    events: Path
    expect: Path | None = None
    update: bool = False
    also: Collection[str] = ()
    tolerance: float = TOLERANCE
    leaks: int = MOST_SAMPLES


class Tried(NamedTuple):
    """What came of it. `written` says that the expected file was; `looked` is None where no leaks were looked for.

    `tellers` are features that say every label by themselves: no proof of a leak, and worth a question.
    """

    asked: Asked
    fed: int
    found: list[Got]
    wanted: list[Expected]
    different: list[Difference]
    unnamed: list[str]
    looked: Looked | None
    written: bool
    tellers: list[str]

    @property
    def right(self) -> bool:
        """Whether everything is as expected, and nothing leaks."""
        return not self.different and not (self.looked and self.looked.leaks)

    def count(self, kind: str) -> int:
        """How many lines of this kind came."""
        return sum(one.kind == kind for one in self.found)


def tried(pipeline: Pipeline, asked: Asked) -> Tried:
    """Try it. Raises `BadLine` for a line that cannot be used, `OSError` for a file."""
    flow = TrialFlow(pipeline)
    flow.feed(events(_text(asked.events), asked.events.name, flow.feeding))
    there = asked.expect is not None and asked.expect.exists()
    wanted: list[Expected] = []
    if asked.expect is not None and (there or not asked.update):
        wanted = expected(_text(asked.expect), asked.expect.name)
    kinds = [kind for kind in KINDS if kind in {*ALWAYS, *(ALSO[name] for name in asked.also)}]
    kinds += [kind for kind in dict.fromkeys(one.kind for one in wanted) if kind not in kinds]
    found = flow.got(*kinds)
    flow.close()
    different: list[Difference] = []
    if asked.expect is not None and asked.update:
        write(asked.expect, found)
    elif asked.expect is not None:
        different = differences(wanted, found, asked.tolerance)
    looked = look(flow.pipeline, flow.fed, asked.leaks) if asked.leaks else None
    written = asked.expect is not None and asked.update
    unnamed = [] if written else never_compared(wanted, found)
    tellers = _tellers(found) if asked.leaks else []
    return Tried(asked, len(flow.fed), found, wanted, different, unnamed, looked, written, tellers)


def _tellers(found: Sequence[Got]) -> list[str]:
    """Features that say every label by themselves."""
    samples = [one.line for one in found if one.kind == "sample" and one.line.get("label") is not None]
    names = list(samples[0]["features"]) if samples else []
    labels = [one["label"] for one in samples]
    return [name for name in names if tells_alone([one["features"][name] for one in samples], labels)]


def write(path: Path, found: Sequence[Got]) -> None:
    """Write an expected file that expects exactly this, under the comments that the file begins with."""
    before = _text(path).splitlines() if path.exists() else []
    first = next((n for n, line in enumerate(before) if not line.lstrip().startswith("#")), len(before))
    lines = [*before[:first], *(json.dumps(one.line, ensure_ascii=False) for one in found)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadLine(f"{path}: not UTF-8: {error}") from None


def told(one: Tried) -> list[str]:
    """What is wrong, for people; nothing when nothing is."""
    asked = one.asked
    lines = [] if asked.expect is None else as_text(one.different, asked.expect.name, asked.events.name)
    if one.looked is not None:
        lines += [f"leak  {leak.sentence(asked.events.name)}" for leak in one.looked.leaks]
    return lines
