"""Any model at all, asked with one input after the other: it needs nothing but answers.

Laws of this file:
- From the background to the vector, one input at a time in their order, and once more in the reverse order; a contribution is the
  mean of the two changes. It adds up whatever the model is, and an input that changes nothing gets 0.
- Where inputs work together at most two at a time these are the exact Shapley values; else they depend on the inputs' order.
- The model is asked twice per input. Whoever asks sees to it that asking changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penstock.stream.explain.explanation import CannotExplain

Says = Callable[[dict[str, Any]], float | None]


def walked(says: Says, x: Mapping[str, Any], background: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
    """(what it says of the background, each input's contribution). An input that the background lacks is left out there.

    Raises `CannotExplain` where the model answers nothing on the way.

    >>> walked(lambda x: 2.0 * x.get("a", 0.0) * x.get("b", 0.0), {"a": 1.0, "b": 3.0}, {"b": 1.0})
    (0.0, {'a': 4.0, 'b': 2.0})
    """
    names = list(x)
    start = {name: background[name] for name in names if name in background}
    base = _asked(says, start, "every input")
    there = _asked(says, dict(x), "no input")
    given = dict.fromkeys(names, 0.0)
    for order in (names, names[::-1]):
        now, said = dict(start), base
        for place, name in enumerate(order):
            now[name] = x[name]
            last = place == len(order) - 1
            further = (
                there if last else _asked(says, {one: now[one] for one in names if one in now}, "some inputs")
            )
            given[name] += 0.5 * (further - said)
            said = further
    return base, given


def _asked(says: Says, x: dict[str, Any], what: str) -> float:
    said = says(x)
    if said is None:
        raise CannotExplain(
            f"the model gives no answer when {what} {'is' if what.endswith('input') else 'are'} left out, so that nothing says "
            "what an input adds: give typical values for the inputs as the background"
        )
    return said
