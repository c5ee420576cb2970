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

LAST_BIT: dict[str, str] = {
    "tree.HoeffdingAdaptiveTreeClassifier": "For true and false it passes. Of several classes it adds up probabilities in the "
    "order of a set, which a model restored from a snapshot need not keep: they may then differ in their last bit.",
}
"""What passes but for a fold of several classes that was restored."""

STEPS: dict[str, str] = {
    "compose.Select": "With several names it hands them on in the order of a set, which a copy or a restored model need not "
    "keep. A sum over them, as in a linear model, may then differ in its last bit. Leave names out with `compose.Discard`, or "
    "choose with `compose.SelectType` or `inputs`: these keep the order.",
}
"""Steps before an estimator that spoil what it would keep."""

UNTRIED: dict[str, str] = {
    "misc.ZstdClassifier": "River has it on Python 3.14 and later only; the tests run on 3.11.",
}
