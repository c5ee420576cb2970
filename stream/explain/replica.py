"""An answer on request explained, beside the answer: by the replica's own models and weights.

Laws of this file:
- The replica is what it was: nothing learns, and no weight moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.stream.explain.explanation import Explanation
from penstock.stream.explain.mixture import live
from penstock.stream.learn.replica import Answered, Replica


def answered(
    replica: Replica, found: Answered, *, background: Mapping[str, Any] | None = None, of: str | None = None
) -> Explanation:
    """Why `replica` answered what it `found`; `background` and `of` are those of `mixture.live`. Raises `CannotExplain`."""
    standing = replica.standing
    experts = standing.experts
    if replica.forked is not None and replica.forked.numbers == found.answer.asked:
        experts = replica.forked  # a value far outside its range made one more model
    alone = experts.committed if standing.alone else None
    how: dict[str, Any] = {"alone": alone, "background": background, "names": replica.names, "of": of}
    return live(experts, found.x, found.answer, outside=found.outside, **how)
