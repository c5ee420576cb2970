"""What does not pass, and why: the tests hold every line to be still true, and the page shows them.

Laws of this file:
- A reason is what a user reads: a plain sentence. What passes again fails its test until its line is gone.
"""

from __future__ import annotations

_SEVERAL = "It predicts several targets at once. Make a pipeline for each of them."
_TARGET = "It scores a target that must be known beforehand, and in a stream the target comes later."

REFUSED: dict[str, str] = {
    "active.EntropySampler": "It chooses the labels to ask for; here every label that comes is learned. Take the classifier "
    "that it wraps.",
    "anomaly.GaussianScorer": _TARGET,
    "anomaly.PredictiveAnomalyDetection": _TARGET,
    "anomaly.StandardAbsoluteDeviation": _TARGET,
    "multioutput.ClassifierChain": _SEVERAL,
    "multioutput.MonteCarloClassifierChain": _SEVERAL,
    "multioutput.MultiClassEncoder": _SEVERAL,
    "multioutput.PerOutputClassifier": _SEVERAL,
    "multioutput.PerOutputRegressor": _SEVERAL,
    "multioutput.ProbabilisticClassifierChain": _SEVERAL,
    "multioutput.RegressorChain": _SEVERAL,
    "tree.ISOUPTreeRegressor": _SEVERAL,
}
"""What a definition may not have: loading it says so in one line."""

OTHER_DIGEST: dict[str, str] = {
    "rules.AMRules": "Its answers are river's to the last bit, also after a snapshot and in a replay. But it names its rules by "
    "addresses in memory, so two models that say the same have different digests.",
}
"""Whose answers pass and whose digests do not."""

UNTRIED: dict[str, str] = {
    "misc.ZstdClassifier": "River has it on Python 3.14 and later only; the tests run on 3.11.",
}
