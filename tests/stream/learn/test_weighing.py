"""The arithmetic of the gate: compiled or not, every bit is the same."""

from __future__ import annotations

import math
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.learn import gate, weighing
from tests.effort import examples

SOURCE = Path(gate.__file__).with_name("weighing.py")


def as_written() -> Any:
    """The module from its source, whatever lies compiled beside it."""
    loader = SourceFileLoader("weighing_as_written", str(SOURCE))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


PURE = as_written()
positive = st.floats(1e-9, 1.0)


@st.composite
def states(draw: st.DrawFn) -> dict[str, Any]:
    many = draw(st.integers(1, 7))
    sized = {"min_size": many, "max_size": many}
    one = st.one_of(st.none(), st.floats(0.0, 1.0), st.just(0.0), st.just(1.0))
    return {
        "weights": [draw(st.lists(positive, **sized)) for _ in range(3)],
        "rates": draw(st.lists(positive, min_size=3, max_size=3)),
        "said": draw(st.lists(one, **sized)),
        "least": draw(st.floats(1e-5, 0.002)),
        "boosted": draw(st.one_of(st.just(()), st.lists(st.booleans(), **sized).map(tuple))),
        "y": draw(st.booleans()),
        "rate": draw(st.floats(0.0, 0.05)),
    }


def through(module: Any, state: dict[str, Any]) -> list[Any]:
    slow, middle, fast = (list(weights) for weights in state["weights"])
    said, least, boosted, y = state["said"], state["least"], state["boosted"], state["y"]
    p, rates = module.mix(slow, middle, fast, state["rates"], said, least, boosted, 4.0)
    mixed = [math.log(q) if y else math.log(1.0 - q) for q in rates]
    charged: list[float] = []
    module.charge(slow, middle, fast, said, mixed, least, y, state["rate"], boosted, 4.0, 1e-4, 0.7, charged)
    return [p, rates, slow, middle, fast, charged, module.totals(slow, middle, fast, state["rates"])]


@settings(max_examples=examples(300))
@given(states())
def test_compiled_or_not_every_bit_is_the_same(state: dict[str, Any]) -> None:
    assert through(weighing, state) == through(PURE, state)


def test_where_nobody_is_awake_a_half_is_said_and_nobodys_weight_moves_but_by_sharing() -> None:
    for module in (weighing, PURE):
        assert module.mix(
            [0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.2, 0.3, 0.5], [None, None], 0.002, (), 4.0
        ) == (
            0.5,
            (0.5, 0.5, 0.5),
        )
        slow, middle, fast = [0.9, 0.1], [0.8, 0.2], [0.7, 0.3]
        charged: list[float] = []
        mixed = [math.log(0.5)] * 3
        module.charge(slow, middle, fast, [None, None], mixed, 0.002, True, 0.05, (), 4.0, 0.0, 0.7, charged)
        assert charged == [0.7, 0.7]
        for found, before in zip((slow, middle, fast), (0.9, 0.8, 0.7), strict=True):
            assert found[0] == before or abs(found[0] - before) < 1e-15


def by_hand(state: dict[str, Any], rates: Any, p: float) -> list[Any]:
    """A label as it was settled in plain Python before: the rates' losses, then the experts, then the rates' weights."""
    slow, middle, fast = (list(weights) for weights in state["weights"])
    said, least, boosted, y = state["said"], state["least"], state["boosted"], state["y"]
    mixed = [math.log(q) if y else math.log(1.0 - q) for q in rates]
    p = min(max(p, least), 1.0 - least)
    live = -math.log(p if y else 1.0 - p)
    charged: list[float] = []
    PURE.charge(slow, middle, fast, said, mixed, least, y, state["rate"], boosted, 4.0, 1e-4, live, charged)
    a, b, c = (w * math.exp(0.1 * gain) for w, gain in zip(state["rates"], mixed, strict=True))
    keep, part = (1.0 - 1e-3) / (a + b + c), 1e-3 / 3
    losses = [one + two for one, two in zip(range(len(charged)), charged, strict=True)]
    return [live, slow, middle, fast, [a * keep + part, b * keep + part, c * keep + part], losses]


@settings(max_examples=examples(300))
@given(states())
def test_a_label_is_settled_as_by_hand_to_the_last_bit(state: dict[str, Any]) -> None:
    for module in (weighing, PURE):
        slow, middle, fast = (list(weights) for weights in state["weights"])
        outer, said, least, boosted = list(state["rates"]), state["said"], state["least"], state["boosted"]
        p, rates = module.mix(slow, middle, fast, outer, said, least, boosted, 4.0)
        charged: list[float] = []
        live = module.settle(
            slow, middle, fast, outer, said, rates, p, least, state["y"], state["rate"], boosted, 4.0, 1e-4, 0.1, 1e-3, charged
        )  # fmt: skip
        losses = [float(place) for place in range(len(charged))]
        module.add(losses, charged)
        assert [live, slow, middle, fast, outer, losses] == by_hand(state, rates, p)
