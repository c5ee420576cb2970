"""What came of a flood, against the reference: everything once, in its order, with its values, and the dead letters.

Laws of this file:
- It reads topics and documents alone, and each topic once, from its start to its end, so that a million records fit in memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.stream.log.protocol import Record
from tests.faults.checker import entry, same
from tests.faults.counts import Counts
from tests.faults.reference import NaiveLearner
from tests.flood.flow import GoodOnes
from tests.stream.naive_flow import alike, dead_place

OURS = {f"penstock-{name}" for name in ("reason", "topic", "partition", "offset", "id")}
MOST_KEPT_BYTES = 880_000
WHOLE_FRAME_BYTES = 20_000


@dataclass
class Found:
    """What was counted: what is wrong, and dead letters by reason and by how their records were spoilt."""

    counts: Counts = field(default_factory=Counts)
    reasons: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, tuple[int, int]] = field(default_factory=dict)
    samples: int = 0
    labels: int = 0
    predictions: int = 0
    dead_letters: int = 0


def judge(
    flow: GoodOnes,
    name: str,
    read: Callable[[str], Iterable[Record]],
    topic_id: str,
    document: Callable[[str], bytes | None],
    sent: Callable[[tuple[str, int, int]], Record] | None = None,
) -> Found:
    """Everything at the end. `read` gives a topic's records; `sent` the record at a place, for whoever still has it."""
    found = Found()
    dead = len(flow.dead)
    check_dead_letters(flow, read(f"{name}.dead-letters"), sent, found)
    expected = check_samples(flow, read(f"{name}.samples"), topic_id, found)
    check_predictions(expected, read(f"{name}.predictions"), found)
    for wrong in flow.wrong_documents(document):
        found.counts.add("wrong", wrong)
    assert dead == len(flow.dead)
    return found


def check_dead_letters(
    flow: GoodOnes,
    letters: Iterable[Record],
    sent: Callable[[tuple[str, int, int]], Record] | None,
    found: Found,
) -> None:
    """One dead letter for each bad record and for no other; its bytes are the record's own."""
    seen: set[tuple[str, int, int]] = set()
    for letter in letters:
        found.dead_letters += 1
        place = dead_place(letter)
        if place in seen:
            found.counts.add("repeated", f"{place} is a dead letter again")
        seen.add(place)
        if place not in flow.dead:
            found.counts.add("wrong", f"{place} is a dead letter, and is good: {_reason(letter)}")
        reason = _reason(letter)
        found.reasons[_without_numbers(reason)] += 1
        if not reason:
            found.counts.add("wrong", f"{place} is a dead letter without a reason")
        if sent is not None and not _is_of(letter, sent(place)):
            found.counts.add("torn", f"the dead letter of {place} is not what was sent")
    for place in flow.dead - seen:
        found.counts.add("lost", f"{place} is no dead letter")
    made = Counter(flow.kinds.values())
    dead = Counter(kind for place, kind in flow.kinds.items() if place in flow.dead)
    found.kinds = {kind: (made[kind], dead[kind]) for kind in sorted(made)}


def _is_of(letter: Record, record: Record) -> bool:
    """Whether a dead letter holds its record, cut only where that is large, and its headers before our own."""
    frame = len(record.key or b"") + sum(len(name) + len(value or b"") for name, value in record.headers)
    value = None if record.value is None else record.value[:MOST_KEPT_BYTES]
    whole = frame > WHOLE_FRAME_BYTES or (
        letter.key == record.key and letter.headers[: len(record.headers)] == record.headers
    )
    return letter.value == value and whole and {name for name, _ in letter.headers[-5:]} == OURS


def _reason(letter: Record) -> str:
    return (dict(letter.headers).get("penstock-reason") or b"").decode()


def _without_numbers(reason: str) -> str:
    words = [
        "n" if any(c.isdigit() for c in word) else word
        for word in reason.split(" (byte", maxsplit=1)[0].split()
    ]
    text = " ".join(words)
    return text if len(text) < 78 else text[:77] + "…"


def check_samples(
    flow: GoodOnes, records: Iterable[Record], topic_id: str, found: Found
) -> dict[str, tuple[int, float]]:
    """Each sample and label once, as the events give it; what a naive learner predicts at each, by event id."""
    topic, counts, learner = flow.pipeline.predict.name, found.counts, None
    expected: dict[str, tuple[int, float]] = {}
    newest: dict[int, tuple[int, int]] = {}
    for record in records:
        says = entry(record)
        if says["tag"] == "recipe":
            learner = learner or NaiveLearner(
                says["inputs"], flow.pipeline.model, flow.pipeline.label_rule.wait_ms
            )
        if says["tag"] not in ("sample", "label"):
            continue
        origin = says["origin"]
        here = (origin["offset"], origin["sub"])
        if origin["topic_id"] != topic_id or newest.get(origin["partition"], (-1, 0)) >= here:
            counts.add("repeated", f"{origin} stands at {record.offset} again, or out of order")
            continue
        newest[origin["partition"]] = here
        _one(flow, (topic, origin["partition"], origin["offset"]), says, found)
        assert learner is not None
        if says["tag"] == "sample":
            p = learner.sample(record.offset, says["id"], says["at"], says["x"])
            expected[says["id"]] = (record.offset, p)
        else:
            learner.label(says["id"], says["at"], says["y"])
    for what, left in (("sample", flow.samples), ("label", flow.labels)):
        for place in left:
            counts.add("lost", f"{place} gave no {what}")
    return expected


def _one(flow: GoodOnes, place: tuple[str, int, int], says: Mapping[str, Any], found: Found) -> None:
    if says["tag"] == "sample":
        found.samples += 1
        wanted: Any = flow.samples.pop(place, None)
        right = wanted is not None and wanted[:2] == (says["id"], says["at"]) and alike(wanted[2], says["x"])
    else:
        found.labels += 1
        wanted = flow.labels.pop(place, None)
        right = wanted == (says["id"], says["at"], says["y"])
    if not right:
        found.counts.add("wrong", f"{place} gave {dict(says)}, not {wanted}")


def check_predictions(
    expected: dict[str, tuple[int, float]], records: Iterable[Record], found: Found
) -> None:
    """One prediction for each sample, the naive one."""
    for record in records:
        says = json.loads(record.value or b"")
        found.predictions += 1
        wanted = expected.pop(says["id"], None)
        if wanted is None:
            found.counts.add("repeated", f"{says['id']} was predicted again, or is of nobody")
        elif wanted[0] != says["position"] or not same(wanted[1], says["prediction"]):
            found.counts.add("wrong", f"{says['id']} was predicted as {says['prediction']}, not {wanted}")
    for event_id in expected:
        found.counts.add("lost", f"{event_id} was not predicted")


def table(found: Found) -> str:
    """The counts, for people."""
    lines = [f"{'how it was spoilt':24} {'records':>9} {'still good':>11} {'dead':>9}"]
    for kind, (made, dead) in found.kinds.items():
        lines.append(f"{kind:24} {made:9,} {made - dead:11,} {dead:9,}")
    lines += ["", f"{'dead letters by reason':78} {'letters':>9}"]
    lines += [f"{reason:78} {number:9,}" for reason, number in found.reasons.most_common()]
    return "\n".join(lines)
