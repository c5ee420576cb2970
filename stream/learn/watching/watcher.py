"""The shape of what watches a stream beside the drift rules' own tests, and what it finds.

Laws of this file:
- A watcher is pure and part of the fold's state: the same log gives the same findings at the same records. It can be pickled.
- It tells, and where its finding says so it has the leading model kept as it was; it never moves a prediction.
- A hook that a watcher does not write costs nothing: only those it writes are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from penstock.monitors.episodes import Transition
from penstock.stream.learn.records import Pending
from penstock.stream.look import Look
from penstock.stream.messages import LabelRecord, Sample


class Finding(NamedTuple):
    """One transition and how it is told: `verb` with the sentence `reason`.

    `forks` asks that the leading model be kept as it was before, so that labels can decide which is believed.
    """

    transition: Transition
    verb: Literal["alert", "warn", "note"]
    reason: str
    forks: bool = False


class Watcher:
    """The hooks; each takes event time (ms) and log position, and gives what it found (almost always nothing)."""

    def sample(self, at: int, position: int, sample: Sample, said: float) -> Sequence[Finding]:
        """A sample, and what was predicted of it as a number (`task.watched`). Called in a hold as well."""
        return ()

    def arrived(self, at: int, position: int, label: LabelRecord) -> Sequence[Finding]:
        """A label came, whether or not a sample waits for it."""
        return ()

    def label(
        self, at: int, position: int, waits: Pending, y: Any, live: float, base: float
    ) -> Sequence[Finding]:
        """A sample met its label; the losses (nats) of the live and the base prediction. Not called in a hold."""
        return ()

    def tick(self, at: int, position: int) -> Sequence[Finding]:
        """The clock of the stream stands at `at`: all sources that are not idle have come so far."""
        return ()

    def look(self, position: int, look: Look) -> Sequence[Finding]:
        """Featurize looked at all fields of one event; the same look may be told again."""
        return ()

    def measures(self) -> dict[str, float]:
        """Running figures to show, by name."""
        return {}


class Watchers:
    """All of a pipeline's, and which of them wants to hear what."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self.all: list[Watcher] = []
        self.of_samples: list[Watcher] = []
        self.of_labels: list[Watcher] = []
        self.of_arrivals: list[Watcher] = []
        self.of_ticks: list[Watcher] = []
        self.of_looks: list[Watcher] = []
        for one in watchers:
            self.listen(one)

    def listen(self, watcher: Watcher) -> None:
        """One more hears what it writes hooks for, from here on; of a replay also one who only looks on."""
        self.all.append(watcher)
        for hook, hearers in (
            ("sample", self.of_samples),
            ("label", self.of_labels),
            ("arrived", self.of_arrivals),
            ("tick", self.of_ticks),
            ("look", self.of_looks),
        ):
            if getattr(type(watcher), hook) is not getattr(Watcher, hook):
                hearers.append(watcher)

    def measures(self) -> dict[str, float]:
        """Their running figures, by name."""
        return {name: value for one in self.all for name, value in one.measures().items()}
