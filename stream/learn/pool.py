"""What several experts say of one vector, and what they learn from one label: by their engines, or all at once in C.

Laws of this file:
- The compiled form (`linear_pool.pxi`) asks and teaches the same models in the same order, with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from penstock.stream.learn.engine import compiled, plain
from penstock.stream.learn.expert import IDLE, Expert

Seen = dict[str, Any]


def _ask(
    experts: list[Expert], x: Seen, inside: Seen, asleep: Sequence[bool], answers: list[Any], /
) -> tuple[int, bool]:
    return ask_by(lambda engine, seen: engine.said(seen), experts, x, inside, asleep, answers)


def _teach(experts: list[Expert], x: Seen, inside: Seen, y: Any, /) -> tuple[int, bool]:
    return teach_by(lambda engine, seen, y: engine.learn(seen, y), experts, x, inside, y)


def ask_by(
    said: Callable[[Any, Seen], Any], experts: list[Expert], x: Seen, inside: Seen, asleep: Sequence[bool],
    answers: list[Any],
) -> tuple[int, bool]:  # fmt: skip
    """Append what `said` gives for all experts but the first, None for one that is `asleep`.

    Returns how many said something, and whether one that was asked did not.

    The careful one sees `inside` in the place of `x`.
    """
    asked, silent = 0, False
    for place in range(1, len(experts)):
        if asleep and asleep[place]:
            answers.append(None)
            continue
        one = experts[place]
        p = said(one.engine, inside if one.kind == "careful" else x)
        answers.append(p)
        if p is None:
            one.failures += 1
            silent = True
            continue
        asked += 1
        if one.failures:
            one.failures = 0
    return asked, silent


def teach_by(
    learn: Callable[[Any, Seen, Any], bool], experts: list[Expert], x: Seen, inside: Seen, y: Any
) -> tuple[int, bool]:
    """One label for every expert that learns: how many learned it, and whether one of them did not."""
    taught, dull = 0, False
    for one in experts:
        if one.kind not in IDLE:
            if learn(one.engine, inside if one.kind == "careful" else x, y):
                one.unlearned = 0
                taught += 1
            else:
                one.unlearned += 1
                dull = True
            one.taught += 1
    return taught, dull


_linear = compiled()
ask: Callable[[list[Expert], Seen, Seen, Sequence[bool], list[Any]], tuple[int, bool]]
teach: Callable[[list[Expert], Seen, Seen, Any], tuple[int, bool]]
ask, teach = (_ask, _teach) if _linear is None else (_linear.ask, _linear.teach)
"""By the experts' own engines, of true or false; see `ask_by` and `teach_by`."""


def asking(said: Callable[[Any, Seen], Any]) -> Callable[[Any, Seen], Any]:
    """A task's way to ask a model, as a way to ask an engine."""
    return lambda engine, x: said(plain(engine), x)


def teaching(learn: Callable[[Any, Seen, Any], bool]) -> Callable[[Any, Seen, Any], bool]:
    """A task's way to teach a model, as a way to teach an engine."""
    return lambda engine, x, y: learn(plain(engine), x, y)
