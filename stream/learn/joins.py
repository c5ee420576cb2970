"""Which join a rule asks for."""

from __future__ import annotations

from collections.abc import Callable

from penstock.stream.label_rule import LabelRule
from penstock.stream.learn.join import Join, JoinCounts, W
from penstock.stream.learn.join_by_id import JoinById
from penstock.stream.learn.join_by_key import JoinByKey


def join_of(
    rule: LabelRule,
    counts: JoinCounts | None = None,
    most: int | None = None,
    on_gone: Callable[[W], None] | None = None,
) -> Join[W]:
    """The join by id or by key, as the rule says."""
    kind = JoinByKey if rule.keyed else JoinById
    return kind(rule, counts, most, on_gone)
