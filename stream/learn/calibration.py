"""Probabilities that mean what they say: the live prediction, corrected by what came of earlier ones.

Laws of this file:
- The correction is a line on the log odds, `slope * odds + offset`, fitted to the labels as they come, old ones forgotten at
  `KEPT` a label (Platt, 1999, made online by Newton's steps on the weighted log loss).
- What is said is the mixture of the prediction as it was and as corrected, by their likelihoods, so the correction costs at most
  ln 2 nats in all and a little after changes, whatever the stream does (`gate` says why).
- A function of what it was told.
"""

from __future__ import annotations

from math import exp, log

LEAST = 1e-4
KEPT = 0.9999
"""Of the weight of former labels, kept at each label: 10,000 count."""
BELIEF = 100.0
"""As many labels' weight is given to no correction at all."""
SHARE = 1e-4


def odds(p: float) -> float:
    """The log odds of a probability, which is kept `LEAST` away from 0 and 1."""
    p = min(max(p, LEAST), 1.0 - LEAST)
    return log(p / (1.0 - p))


class Calibration:
    """The correction as it stands.

    Example:
        >>> timid = Calibration()
        >>> for number in range(20_000):  # it says 0.6 where 0.9 is right, and 0.4 where 0.1 is
        ...     p, y = (0.6, number % 20 > 1) if number % 2 else (0.4, number % 20 < 2)
        ...     timid.add(p, y)
        >>> round(timid.corrected(0.6), 1), round(timid.corrected(0.4), 1)
        (0.9, 0.1)
    """

    __slots__ = ("aa", "ab", "bb", "offset", "slope", "trust")

    def __init__(self) -> None:
        self.slope, self.offset = 1.0, 0.0
        self.aa, self.ab, self.bb = BELIEF, 0.0, BELIEF
        self.trust = 0.5

    def line(self, p: float) -> float:
        """The prediction as corrected, without regard to whether the correction is any good."""
        z = self.slope * odds(p) + self.offset
        return 1.0 / (1.0 + exp(-max(min(z, 30.0), -30.0)))

    def corrected(self, p: float) -> float:
        """What to say instead of `p`."""
        return p + self.trust * (self.line(p) - p)

    def add(self, p: float, y: bool) -> None:
        """The label of a prediction `p`."""
        z, q = odds(p), self.line(p)
        own, other = (q, p) if y else (1.0 - q, 1.0 - p)
        own, other = self.trust * max(own, LEAST), (1.0 - self.trust) * max(other, LEAST)
        self.trust = SHARE + (1.0 - 2.0 * SHARE) * own / (own + other)
        weight, wrong = max(q * (1.0 - q), LEAST), q - y
        self.aa = KEPT * self.aa + (1.0 - KEPT) * BELIEF + weight * z * z
        self.ab = KEPT * self.ab + weight * z
        self.bb = KEPT * self.bb + (1.0 - KEPT) * BELIEF + weight
        by = self.aa * self.bb - self.ab * self.ab
        self.slope -= (self.bb * z - self.ab) * wrong / by
        self.offset -= (self.aa - self.ab * z) * wrong / by
