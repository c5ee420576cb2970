"""How sure a prediction is: sets and intervals that hold the label as often as asked, probabilities that mean what they say.

Laws of this file:
- What is said of a prediction is said when it is made, and kept with the sample: its label is judged by that and nothing later.
- Every prediction that gets its label counts, whether anybody learned from it or not: coverage is a promise to who reads it.
- Without `interval` and `calibrate` in the definition there is no such object, and nothing of this costs anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isinf
from typing import Any, NamedTuple

from penstock.stream.learn.calibration import Calibration
from penstock.stream.learn.conformal import ClassSets, Interval
from penstock.stream.learn.tasks.multiclass import text
from penstock.stream.task_kind import Kind

BINS = 20
LEARNED_LABELS = 100
"""How odd labels were to a model that had learned fewer says nothing of it later. Where labels came a thousand samples late the
first bounds rested on such, and ends were infinite for most of 20,000 labels to make up for it (94 of 100; 11 since)."""


class Issued(NamedTuple):
    """What was said of one prediction: the corrected probability, and the bounds of its set or interval. None: not asked for.

    `early` is what was said before `LEARNED_LABELS` labels: it holds everything, and how odd its label is is not remembered.
    """

    calibrated: float | None
    bounds: Any
    early: bool = False


class Reliability:
    """The expected calibration error: how far what was said lies from what came of it, over `BINS` bins of probability.

    >>> said = Reliability()
    >>> for number in range(100):
    ...     said.add(0.8, number % 2 == 0)
    >>> round(said.error(), 3)
    0.3
    """

    def __init__(self) -> None:
        self.labels = 0
        self.said, self.came = [0.0] * BINS, [0] * BINS

    def add(self, p: float, y: bool) -> None:
        """One probability of true, and its label."""
        place = min(int(p * BINS), BINS - 1)
        self.labels += 1
        self.said[place] += p
        self.came[place] += y

    def error(self) -> float:
        """The mean distance over all labels; 0 before the first."""
        apart = sum(abs(said - came) for said, came in zip(self.said, self.came, strict=True))
        return apart / max(self.labels, 1)


class Uncertainty:
    """For one fold. `interval` is the share of labels that sets or intervals must hold, None for none."""

    def __init__(self, kind: Kind, interval: float | None, calibrate: bool) -> None:
        self.kind = kind
        self.calibration = Calibration() if calibrate else None
        self.raw, self.corrected = Reliability(), Reliability()
        wrong = None if interval is None else 1.0 - interval
        self.sets = None if wrong is None or kind == "regression" else ClassSets(wrong)
        self.interval = None if wrong is None or kind != "regression" else Interval(wrong)
        self.seen = self.judged = self.held = self.open = 0
        self.size = 0.0

    # -- at the sample -----------------------------------------------------------------------------------------------------

    def issue(self, p: Any) -> Issued:
        """What to say of the live prediction `p`, as its task has it."""
        q = None if self.calibration is None else self.calibration.corrected(p)
        early = self.seen < LEARNED_LABELS
        if self.interval is not None:
            return Issued(q, (inf, inf) if early else self.interval.issue(), early)
        if self.sets is None:
            return Issued(q, None)
        classes = self._classes(p, q)
        return Issued(q, dict.fromkeys(classes, inf) if early else self.sets.issue(classes), early)

    def _classes(self, p: Any, q: float | None) -> Mapping[str, float]:
        """The probability of every class by name."""
        if isinstance(p, Mapping):
            return p
        true = p if q is None else q
        return {"true": true, "false": 1.0 - true}

    def shown(self, p: Any, issued: Issued) -> dict[str, Any]:
        """The fields of a published prediction. A null end of an interval is infinite: nothing can be left out there yet."""
        found: dict[str, Any] = {} if issued.calibrated is None else {"calibrated": issued.calibrated}
        if self.interval is not None:
            below, above = issued.bounds
            found["interval"] = (None if isinf(below) else p - below, None if isinf(above) else p + above)
        elif self.sets is not None:
            said = self._classes(p, issued.calibrated)
            found["set"] = [name for name, share in said.items() if 1.0 - share <= issued.bounds[name]]
        return found

    # -- at the label ------------------------------------------------------------------------------------------------------

    def label(self, p: Any, issued: Issued, y: Any) -> None:
        """The label of a prediction, with what was said of it."""
        if self.calibration is not None and issued.calibrated is not None:
            self.raw.add(p, y)
            self.corrected.add(issued.calibrated, y)
            self.calibration.add(p, y)
        self.seen += 1
        if self.interval is not None:
            below, above = issued.bounds
            self.judged += 1
            self.held += True if issued.early else self.interval.add(p, y, issued.bounds)
            if isinf(below + above):
                self.open += 1
            else:
                self.size += below + above
        elif self.sets is not None:
            name, said = text(y), self._classes(p, issued.calibrated)
            self.judged += 1
            bound = issued.bounds.get(name)
            self.held += name in said if issued.early else self.sets.add(name, said.get(name, 0.0), bound)
            self.size += sum(1.0 - share <= issued.bounds[one] for one, share in said.items())

    def measures(self) -> dict[str, float]:
        """Coverage; the mean size of sets, or width of intervals with two ends and the share of the others; calibration error."""
        found: dict[str, float] = {}
        if self.judged:
            found["coverage"] = self.held / self.judged
            if self.interval is None:
                found["set_size"] = self.size / self.judged
            else:
                found["open_intervals"] = self.open / self.judged
                if self.open < self.judged:
                    found["interval_width"] = self.size / (self.judged - self.open)
        if self.corrected.labels:
            found |= {"calibration_error": self.corrected.error(), "raw_calibration_error": self.raw.error()}
        return found
