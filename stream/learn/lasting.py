"""Whether an expert is better than the committed one for good, and not only on the labels by which that was found worse.

Laws of this file:
- What made a test fire was picked for being bad, and what passes is over soon after. So only labels that come after it count: at
  least `LASTS` times as many as there were from the onset until the test fired, at most twice that, and always the newest.
- With once as many, simulated models of equal skill whose errors wander were committed three times as often as with twice.
- Each expert is judged by its own losses. Who has most of the weight changes with luck, and the luckiest at each moment together
  are better than any one of them.
"""

from __future__ import annotations

from collections.abc import Mapping

LASTS = 2


class Lasting:
    """What each expert had lost when the test fired, and each time a window of labels had come again.

    Args:
        found: labels from the onset until the test fired.
        labels: how many had come by then.
        lost: what each expert had lost by then (nats), by number.
    """

    def __init__(self, found: int, labels: int, lost: Mapping[int, float]) -> None:
        self.window = max(LASTS * found, 1)
        self.marks = [(labels, dict(lost))]

    def gain(self, one: int, committed: int, labels: int, lost: Mapping[int, float]) -> float | None:
        """What expert `one` lost less than the committed one (nats a label); None while that is too early to say.

        It is too early for an expert that was born since as well.
        """
        since, then = self.marks[0]
        found = None
        if labels - since >= self.window and one in then and committed in then:
            found = ((lost[committed] - then[committed]) - (lost[one] - then[one])) / (labels - since)
        if labels - self.marks[-1][0] >= self.window:
            self.marks = [*self.marks[-1:], (labels, dict(lost))]
        return found
