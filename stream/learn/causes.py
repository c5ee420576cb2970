"""What sort of thing a finding is, what it says of its subject in words, and which features follow a field.

Laws of this file:
- What the guards and the watchers of the data's quality find is a cause. What a definition's own detectors find, whose names are
  not known here, is a loss where they watch one, and else has moved.
- Which features follow a field, or a source, is read off the definition: those of views that read the field, or are keyed by it,
  or are of that source. All that is seen of samples follows the predicted source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from penstock.monitors.episodes import Transition
from penstock.stream.definitions import Pipeline
from penstock.stream.quality import SHARES

Sort = Literal["loss", "moved", "alone", "cause"]

GUARDS = {"range": "left its range", "nulls": "has nulls"}
"""The guards, and what each says of its subject."""
SORTS: dict[str, Sort] = {
    "harm": "loss",
    "lead": "loss",
    "adwin": "loss",
    "segment": "loss",
    "psi": "moved",
    **dict.fromkeys(("skill", "failures", "estimate"), "alone"),
    **dict.fromkeys((*GUARDS, *SHARES), "cause"),
}
SEEN = frozenset({*GUARDS, "unseen", "duplicates"})
"""Causes whose onset is the first record that shows them, and not an estimate."""
OF_LOSSES = frozenset({"loss", "error"})
"""What a detector may watch that is a consequence."""

Followers = Mapping[str, tuple[str, ...]]


def sort_of(transition: Transition) -> Sort:
    """A consequence (`loss`), inputs that `moved`, a thing of the model `alone`, or a `cause`."""
    found = SORTS.get(transition.monitor)
    return found or ("loss" if transition.subject in OF_LOSSES else "moved")


def trust_in_onset(transition: Transition) -> int:
    """How far the onset of a finding is believed to be the incident's: of a cause that was seen, one estimated, or no cause."""
    return 2 if transition.monitor in SEEN else int(sort_of(transition) == "cause")


def followers_of(pipeline: Pipeline) -> dict[str, tuple[str, ...]]:
    """By field of an event, and by name of a source, the features that follow it, in the order of the vector."""
    found: dict[str, list[str]] = {}
    for view in pipeline.views:
        for name in view.numeric:
            for field in {view.source.name, *view.key_fields, *view.features[name].reads}:
                found.setdefault(field, []).append(f"{view.name}.{name}")
    found[pipeline.predict.name] = [*pipeline.vector_names, "prediction"]
    return {field: tuple(names) for field, names in found.items()}


def cause_of(transition: Transition, reason: str, followers: Followers) -> str:
    """A finding as a cause, in words: of a guard the field and what follows it, else the finding's own sentence.

    >>> found = Transition("nulls", "delay", "firing", 9.0, 8.0, 0.3, 0, 0, 0, 0)
    >>> cause_of(found, "", {"delay": ("airport.delay_1h", "airport.delay_3h")})
    'delay has nulls (2 features follow it)'
    """
    said = GUARDS.get(transition.monitor)
    if said is None:
        sentence = reason.partition(": the leading model")[0].partition("; ")[0]
        return sentence or f"{transition.monitor} of {transition.subject}"
    many = len(followers.get(transition.subject, ()))
    follow = f" ({many} feature{' follows' if many == 1 else 's follow'} it)" if many else ""
    return f"{transition.subject} {said}{follow}"
