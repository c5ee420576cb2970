"""What the health page is told of a task's items: counts that only grow, from 0 whenever a worker loads its state anew."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counts:
    """What became of the items stepped so far."""

    items: int = 0
    samples: int = 0
    labels: int = 0
    dead_letters: dict[str, int] = field(default_factory=dict)
    late: Counter[str] = field(default_factory=Counter)  # by source
    # records of the topics that are older than where these take over from files, by source
    before: Counter[str] = field(default_factory=Counter)
    # samples that read an entity without events, by view
    defaults: Counter[int] = field(default_factory=Counter)
    entities: Counter[int] = field(default_factory=Counter)  # entities with their first state, by view

    def bury(self, kind: str) -> None:
        """Count a dead letter of this kind."""
        self.dead_letters[kind] = self.dead_letters.get(kind, 0) + 1
