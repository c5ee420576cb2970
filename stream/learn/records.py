"""What the fold remembers of a sample, what it counts, and what it hands to its shell.

Laws of this file:
- Plain records without behaviour: the fold decides, the shell writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.messages import LiveModel
from penstock.stream.models.version import Version


@dataclass
class Hold:
    """Learning is paused: since which sample, why, and whether the guard has seen clean data again."""

    since_position: int
    since_at: int
    why: str
    by_guard: bool
    over: bool = False


class Pending:
    """A sample that waits for its label: its vector and every prediction made when it arrived."""

    __slots__ = ("anchor", "at", "base", "candidate", "champion", "position", "probation", "x")

    def __init__(self, x: dict[str, Any], at: int, position: int, champion: float, base: float) -> None:
        self.x = x
        self.at = at
        self.position = position
        self.champion = champion
        self.base = base
        self.anchor: tuple[str, float] | None = None
        self.probation: tuple[str, float] | None = None
        self.candidate: tuple[str, float] | None = None


class Predicted(NamedTuple):
    """One prediction to publish."""

    id: str
    key: str
    at: int
    p: float
    version: str
    position: int


class Replay(NamedTuple):
    """What a command needs from outside before it can be stepped.

    `version`'s model, from `payload` or the store, trained on [learn_from, the command) with the join read from `join_from` and
    quarantined intervals left out; with `join_from` negative, as it was stored.
    """

    version: str | None
    payload: bytes | None
    join_from: int
    learn_from: int


class Unusable(NamedTuple):
    """In the place of a prepared model: why it cannot be had. The command that needs it is refused with that."""

    why: str


@dataclass
class FoldCounts:
    """Everything that became of samples and labels."""

    samples: int = 0
    labels: int = 0
    joined: int = 0
    learned: int = 0
    held_back: int = 0
    expired: int = 0
    unmatched: int = 0
    dropped: int = 0
    repeats: int = 0
    duplicate_ids: int = 0
    failed: int = 0
    unreadable: int = 0
    champion_loss: float = 0.0
    base_loss: float = 0.0


@dataclass
class Outputs:
    """What one or more steps produced, in order, for the shell to write."""

    predictions: list[Predicted] = field(default_factory=list)
    versions: list[tuple[Version, bytes]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    live: list[LiveModel] = field(default_factory=list)


LAYOUT = 4  # raise with every change to what a snapshot holds: older ones are then folded anew, not misread


def rules(pipeline: Pipeline, *, guard: bool) -> str:
    """What decides beside the recipe: a fold goes on only under the rules it began with."""
    on = "on" if guard and pipeline.guard else "off"
    return (
        f"fold {LAYOUT}, guard {on}, {pipeline.alarms_per_year:g} alarms a year, cooldown {pipeline.cooldown}"
    )
