"""How samples and labels find each other: the rule that a label's definition comes down to, in ms of event time.

Laws of this file:
- Pure. A rule says when, and never what an outcome means.
- A rule can be read from the text of a recipe, so that a samples log is joined as its own definition says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.features.define.durations import milliseconds
from penstock.stream.targets import Target


class LabelRule(NamedTuple):
    """When a label is a sample's, and what the sample's label is when none came.

    By id, a label counts up to `wait_ms` after its sample. By key (`keyed`), the first event counts whose time lies `after_ms` or
    more, but at least 1 ms, and at most `wait_ms` after the sample's. Then `absent` is the label (None: there is none), and for
    `corrected_ms` more a label that came late is learned in its place.
    """

    wait_ms: int
    absent: Target | None = None
    corrected_ms: int = 0
    keyed: bool = False
    after_ms: int = 0

    def opens(self, at: int) -> int:
        """The first event time that can label a sample of time `at` by key: never its own."""
        return at + (self.after_ms or 1)

    def closes(self, at: int) -> int:
        """The last event time that can label a sample of time `at`."""
        return at + self.wait_ms


def rule_of(said: Mapping[str, Any]) -> LabelRule:
    """The rule that a recipe's `label` object says; `default` is what `absent` was called.

    >>> rule_of({"wait": "36h", "default": None})
    LabelRule(wait_ms=129600000, absent=None, corrected_ms=0, keyed=False, after_ms=0)

    Raises:
        KeyError, TypeError, ValueError, AttributeError: if it says none.

    """
    absent = said.get("absent", said.get("default"))
    corrected_ms = _ms(said.get("corrected_for"))
    if said.get("key"):
        after_ms = _ms(said.get("after"))
        return LabelRule(after_ms + milliseconds(said["within"]), absent, corrected_ms, True, after_ms)
    return LabelRule(milliseconds(said["wait"]), absent, corrected_ms)


def _ms(text: str | None) -> int:
    return 0 if text is None else milliseconds(text)
