# cython: annotation_typing=False
"""The arithmetic of the gate on plain lists of floats, compiled where there is a C compiler: it runs at every sample and label.

Laws of this file:
- It is one source for both: `weighing.pxd` only says which names hold C numbers. Compiled or not, every bit is the same: the same
  operations in the same order, and none that a compiler may reorder.
- The rates are 1, 4 and 20 times `rate`; `boosted` experts count `boost` times over at the first two.
"""

import math
from collections.abc import Sequence


def mix(
    slow: list[float], middle: list[float], fast: list[float], rate_weights: list[float], said: Sequence[float | None],
    least: float, boosted: Sequence[bool], boost: float,
) -> tuple[float, tuple[float, float, float]]:  # fmt: skip
    """(prediction, mixture of each rate): the means of what was said, the rates' clipped to [least, 1 - least]."""
    most = 1.0 - least
    many = len(boosted)
    a = b = c = raw_a = raw_b = raw_c = all_a = all_b = all_c = 0.0
    for i in range(len(said)):
        one = said[i]
        if one is None:
            continue
        p = one
        x, v, z = slow[i], middle[i], fast[i]
        if many and boosted[i]:
            x *= boost
            v *= boost
        all_a += x
        all_b += v
        all_c += z
        raw_a += x * p
        raw_b += v * p
        raw_c += z * p
        if p < least:
            p = least
        elif not p <= most:
            p = most
        a += x * p
        b += v * p
        c += z * p
    if not (all_a > 0.0 and all_b > 0.0 and all_c > 0.0):
        return 0.5, (0.5, 0.5, 0.5)
    p = (
        rate_weights[0] * (raw_a / all_a)
        + rate_weights[1] * (raw_b / all_b)
        + rate_weights[2] * (raw_c / all_c)
    )
    return (0.0 if p < 0.0 else 1.0 if p > 1.0 else p), (a / all_a, b / all_b, c / all_c)


def charge(
    slow: list[float], middle: list[float], fast: list[float], said: Sequence[float | None], mixed: Sequence[float],
    least: float, y: bool, rate: float, boosted: Sequence[bool], boost: float, share: float, live: float,
    charged: list[float],
) -> None:  # fmt: skip
    """Change the three lists of weights by one label, and append to `charged` what each expert lost by it, in nats.

    `mixed` is the log likelihood that each rate's mixture gave the label; who slept is charged `live`.
    """
    most = 1.0 - least
    many = len(boosted)
    count = len(said)
    first, second, third = mixed[0], mixed[1], mixed[2]
    all_a = all_b = all_c = 0.0
    for i in range(count):
        one = said[i]
        x, v, z = slow[i], middle[i], fast[i]
        if one is None:
            charged.append(live)
        else:
            p = one
            if p < least:
                p = least
            elif not p <= most:
                p = most
            gain = math.log(p) if y else math.log(1.0 - p)
            charged.append(-gain)
            times = rate * boost if many and boosted[i] else rate
            x *= math.exp(times * (gain - first))
            v *= math.exp(4.0 * times * (gain - second))
            z *= math.exp(20.0 * rate * (gain - third))
            slow[i], middle[i], fast[i] = x, v, z
        all_a += x
        all_b += v
        all_c += z
    keep, part = 1.0 - share, share / count
    all_a, all_b, all_c = keep / all_a, keep / all_b, keep / all_c
    for i in range(count):
        x, v, z = slow[i], middle[i], fast[i]
        slow[i] = x * all_a + part
        middle[i] = v * all_b + part
        fast[i] = z * all_c + part


def settle(
    slow: list[float], middle: list[float], fast: list[float], rate_weights: list[float], said: Sequence[float | None],
    rates: Sequence[float], p: float, least: float, y: bool, rate: float, boosted: Sequence[bool], boost: float,
    share: float, outer_rate: float, outer_share: float, charged: list[float],
) -> float:  # fmt: skip
    """One label: `charge` it to all, and to the rates by what the mixture of each was; what the prediction `p` lost by it."""
    most = 1.0 - least
    if p < least:
        p = least
    elif p > most:
        p = most
    live = -math.log(p if y else 1.0 - p)
    a, b, c = rates[0], rates[1], rates[2]
    if y:
        a, b, c = math.log(a), math.log(b), math.log(c)
    else:
        a, b, c = math.log(1.0 - a), math.log(1.0 - b), math.log(1.0 - c)
    charge(slow, middle, fast, said, (a, b, c), least, y, rate, boosted, boost, share, live, charged)
    x = rate_weights[0] * math.exp(outer_rate * a)
    v = rate_weights[1] * math.exp(outer_rate * b)
    z = rate_weights[2] * math.exp(outer_rate * c)
    keep, part = (1.0 - outer_share) / (x + v + z), outer_share / 3.0
    rate_weights[0], rate_weights[1], rate_weights[2] = x * keep + part, v * keep + part, z * keep + part
    return live


def add(losses: list[float], charged: Sequence[float]) -> None:
    """Add to each of `losses` what was charged, in place."""
    for i in range(len(losses)):
        x = losses[i]
        v = charged[i]
        losses[i] = x + v


def totals(
    slow: list[float], middle: list[float], fast: list[float], rate_weights: list[float]
) -> list[float]:
    """The weight of every expert over all rates."""
    a, b, c = rate_weights[0], rate_weights[1], rate_weights[2]
    found = []
    for i in range(len(slow)):
        x, v, z = slow[i], middle[i], fast[i]
        found.append(a * x + b * v + c * z)
    return found
