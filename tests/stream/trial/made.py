"""Events and files for the tests of trials."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.stream.generated import MINUTE, START_MS

DEFINITION = """\
from river import linear_model

from penstock import Label, Pipeline, Source, View, count, mean

paid = Source("cards.paid", id="payment", time="paid_at", key="card")
pipeline = Pipeline(
    "cards",
    views=[View("card", paid, key="card", features=dict(paid_1h=count("1h"), mean_1d=mean("amount", "1d")))],
    predict=paid,
    inputs=["amount"],
    label=Label(paid, "fraud", wait="1h"),
    model=linear_model.LogisticRegression(),
)
"""


def payment(number: int, card: str = "c1", **more: Any) -> dict[str, Any]:
    """One payment, a minute after the one before."""
    made = {"payment": f"p{number}", "paid_at": START_MS + number * MINUTE, "card": card}
    return {**made, "amount": 10.0 * number, "fraud": False, **more}


def lines(events: Iterable[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps({'value': event})}\n" for event in events)


class Folder:
    """A definition with its events and what is expected of them, in one folder."""

    def __init__(self, path: Path, events: Iterable[dict[str, Any]] = ()) -> None:
        self.path = path
        self.definition, self.events, self.expect = (
            path / name for name in ("cards.py", "events.jsonl", "expected.jsonl")
        )
        self.definition.write_text(DEFINITION)
        self.events.write_text(lines(events or [payment(1), payment(2, fraud=True), payment(3, "c2")]))

    @property
    def command(self) -> list[str]:
        """The command that compares."""
        return ["test", str(self.definition), "--events", str(self.events), "--expect", str(self.expect)]

    def expected(self) -> Iterator[dict[str, Any]]:
        """The lines of the expected file."""
        for line in self.expect.read_text().splitlines():
            if not line.startswith("#"):
                yield json.loads(line)

    def rewrite(self, found: Iterable[dict[str, Any]]) -> None:
        """Expect these lines instead."""
        self.expect.write_text("".join(f"{json.dumps(line)}\n" for line in found))
