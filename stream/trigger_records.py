"""What is told of a retrain's triggers: one that has set a retrain off, and each as it stands.

Laws of this file:
- Parts of the messages (`stream.messages`), under their laws: every field that is added has a default, none is renamed.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Word = Annotated[str, msgspec.Meta(max_length=200)]


class TriggerFired(msgspec.Struct, frozen=True, kw_only=True):
    """What set a retrain off, with its evidence: one line of the definition (`rule`), and what it counted.

    `kind` is schedule, labels, performance or inputs; `window` what the model is to learn from. `labels` were learned since the
    last retrain began, which is `after` (its command, None before the first) at position `after_position`. `due_at` is the
    schedule's time (event time, ms); `missed` counts its due times before that one which were passed in the same step, and
    `why_missed` says why. `joins` names what was under way already: nothing more is asked for. `proposes` leaves it to a person.
    """

    kind: Word
    rule: Word
    window: Word
    labels: int = 0
    after: str | None = None
    after_position: int = 0
    due_at: int | None = None
    missed: int = 0
    why_missed: str = ""
    joins: str | None = None
    proposes: bool = False


class TriggerShown(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger of the definition as it stands: its next due time (event time, ms), or the labels still missing for it."""

    kind: str
    rule: str
    window: str
    due_at: int | None = None
    labels_missing: int | None = None
    proposes: bool = False
