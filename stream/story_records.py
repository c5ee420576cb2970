"""What is told of an incident that is over: how long it was, what it cost, and what was done.

Laws of this file:
- Parts of the messages (`stream.messages`), under their laws: every field that is added has a default, none is renamed.
"""

from __future__ import annotations

import msgspec


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done in an incident, in words; `by` is a person, `policy`, or `rule` for what follows by itself.

    `at` is event time (ms) and `position` the samples-log offset at which it was done.
    """

    what: str
    by: str
    at: int = 0
    position: int = 0


class EpisodeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An incident from its onset to the end of the last finding told in it.

    `until` is that end (event time in ms, samples-log offset), `length_ms` event time, `records` those of the samples log, and
    `labels` those that were judged. `excess_nats` is what the live prediction lost in them beyond what was expected, `error_nats`
    the standard error of that; both are None where too little was seen before to expect anything. What is expected is
    `clean_ratio` times the base predictor's loss on the same labels: the ratio of the two losses over clean labels before the
    onset. `findings` are (kind, subject) in the order told, `segments` those that findings named. `number` is above 1 where
    something more was found to belong to it after a summary.
    """

    until: dict[str, int]
    length_ms: int
    records: int
    labels: int
    number: int = 1
    excess_nats: float | None = None
    excess_per_label: float | None = None
    error_nats: float | None = None
    live_loss: float | None = None
    clean_ratio: float | None = None
    findings: list[tuple[str, str]] = []
    segments: list[str] = []
    done: list[Deed] = []
