"""What a label's function gave → a target, or the reason why the record is a dead letter."""

from __future__ import annotations

from typing import Any

from penstock.stream.featurize.dead_letters import shown
from penstock.stream.featurize.decode import Rejected
from penstock.stream.targets import TAKEN, Kind, Target, target_of


def label_of(outcome: Any, kind: Kind) -> Target | None:
    """The target that an outcome is, None for no label; raises `Rejected`, naming the outcome, for what is none."""
    try:
        return target_of(outcome, kind)
    except ValueError:
        raise Rejected(f"the outcome is no label: {shown(outcome)}; it must be {TAKEN[kind]}") from None
