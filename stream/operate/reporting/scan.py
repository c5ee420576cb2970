"""One look through the samples log before it is folded: what it holds, when, and every command.

Laws of this file:
- Pure: (position, entry) pairs in. What a crash repeated counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from penstock.stream.learn.learner import Seen
from penstock.stream.messages import Command, Entry, LabelRecord, Sample
from penstock.stream.operate.reporting.moments import Placed


@dataclass
class Scanned:
    """What a samples log holds. Event times in ms: `first_at` of samples, `newest_at` of labels too. `recipes` counts samples.

    `places` are (position, the event time reached before it), one for every `EVERY` records.
    """

    samples: int = 0
    labels: int = 0
    first_at: int | None = None
    newest_at: int | None = None
    placed: list[Placed] = field(default_factory=list)
    recipes: Counter[str] = field(default_factory=Counter)
    places: list[tuple[int, int]] = field(default_factory=list)

    def stop_position(self, at: int, end: int) -> int:
        """A position (`end` at most) before which every record lies that came before event time `at` was reached."""
        return next((position for position, reached in self.places if reached >= at), end)


EVERY = 256


def scan(entries: Iterable[tuple[int, Entry]]) -> Scanned:
    """Look through a log."""
    found, seen, at = Scanned(), Seen(), 0
    commands: set[str] = set()
    for position, entry in entries:
        if position % EVERY == 0:
            found.places.append((position, at))
        if isinstance(entry, Sample):
            if seen.is_repeat(entry.origin):
                continue
            at = max(at, entry.at)
            found.samples += 1
            found.first_at = entry.at if found.first_at is None else min(found.first_at, entry.at)
            found.recipes[entry.recipe] += 1
        elif isinstance(entry, LabelRecord):
            if not seen.is_repeat(entry.origin):
                at = max(at, entry.at)
                found.labels += 1
        elif isinstance(entry, Command) and entry.id not in commands:
            commands.add(entry.id)
            found.placed.append(Placed(position, at, entry))
    found.newest_at = at if found.samples else None
    return found
