"""What a checker counts, and what it saw where it counted."""

from __future__ import annotations

from dataclasses import dataclass, field

KINDS = ("lost", "repeated", "reordered", "torn", "wrong", "stuck", "ended")
MOST_NOTES = 25


@dataclass
class Counts:
    """How many of each kind; `notes` says what the first ones were, `known_repeats` how many a reader recognises by their id.

    `lost` should be there and is not; `repeated` was done twice, and cannot be told from what is done once; `reordered` is there
    in another order than it happened; `torn` are parts of two truths; `wrong` is anything else that differs from the reference;
    `stuck` did not come to an end, or was not harmed at all; `ended` is how often a role ended by itself that was to go on.

    `events_back` is how far behind the newest of its partition that sample or label stood which was furthest behind of those
    appended again, in offsets of the source; `positions_back` the same of predictions, in positions of the samples log.
    """

    lost: int = 0
    repeated: int = 0
    reordered: int = 0
    torn: int = 0
    wrong: int = 0
    stuck: int = 0
    ended: int = 0
    known_repeats: int = 0
    events_back: int = 0
    positions_back: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, note: str) -> None:
        """One more of a kind."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.notes) < MOST_NOTES:
            self.notes.append(f"{kind}: {note}")

    @property
    def bad(self) -> dict[str, int]:
        """Every kind of which there is any."""
        return {kind: getattr(self, kind) for kind in KINDS if getattr(self, kind)}

    def __iadd__(self, other: Counts) -> Counts:
        for kind in (*KINDS, "known_repeats"):
            setattr(self, kind, getattr(self, kind) + getattr(other, kind))
        self.events_back = max(self.events_back, other.events_back)
        self.positions_back = max(self.positions_back, other.positions_back)
        self.notes = [*self.notes, *other.notes][:MOST_NOTES]
        return self
