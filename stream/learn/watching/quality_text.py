"""What people read of a finding about data quality: plain sentences from a transition's numbers."""

from __future__ import annotations

from math import exp
from typing import Any

from penstock.monitors.episodes import Transition
from penstock.stream.messages import rfc3339

FORKED = "the leading model as it was before is kept, and labels decide which is believed"


def reason_of(change: Transition, *, forks: bool) -> str:
    """The sentence of one transition; `forks` says that a model is kept because of it.

    >>> change = Transition("duplicates", "cards.payments", "firing", 1e5, 1e4, 0.5, 0, 0, 60_000, 9, {"samples": 12, "hits": 6})
    >>> reason_of(change, forks=False)
    'cards.payments sends events twice: 6 of 12 have an id that was there already'
    """
    if change.state == "resolved":
        why = change.detail.get("reason")
        return f"{_BACK[change.monitor].format(subject=change.subject)}{f': {why}' if why else ''}"
    said = _SAID[change.monitor](change, change.detail)
    return f"{said}: {FORKED}" if forks else said


def length(ms: float) -> str:
    """A length of time in two units at most.

    >>> length(4_000), length(5_400_000), length(200_000_000)
    ('4 s', '1 h 30 min', '2 d 7 h')
    """
    seconds = round(ms / 1000)
    if seconds < 60:
        return f"{seconds} s"
    parts = [("d", 86_400), ("h", 3_600), ("min", 60)]
    found: list[str] = []
    for name, size in parts:
        many, seconds = divmod(seconds, size)
        if many or found:
            found.append(f"{many} {name}")
    return " ".join(one for one in found[:2] if not one.startswith("0 "))


def _times(effect: float) -> str:
    """A logarithm of a ratio in words.

    >>> _times(-0.7), _times(0.7)
    ('50% of', '2.0 times')
    """
    return f"{exp(effect):.0%} of" if effect < 0 else f"{exp(effect):.1f} times"


def _volume(change: Transition, detail: dict[str, Any]) -> str:
    if detail["side"] == "silent":
        return f"{change.subject} is silent: {detail['expected_since']:.0f} events should have come since"
    return f"{change.subject} brings {_times(change.effect)} what is usual at these hours"


def _label_rate(change: Transition, detail: dict[str, Any]) -> str:
    if detail["side"] == "silent":
        return f"no labels come from {change.subject}: {detail['expected_since']:.0f} should have come since"
    return f"{change.subject} brings {_times(change.effect)} the labels that its samples should have"


def _label_delay(change: Transition, detail: dict[str, Any]) -> str:
    usual = "" if detail["usual_s"] is None else f", usually {length(1000 * detail['usual_s'])}"
    which = "later" if change.effect > 0 else "sooner"
    return f"labels of {change.subject} come {which}: half of them after {length(1000 * detail['median_s'])}{usual}"


def _duplicates(change: Transition, detail: dict[str, Any]) -> str:
    return f"{change.subject} sends events twice: {detail['hits']} of {detail['samples']} have an id that was there already"


def _unseen(change: Transition, detail: dict[str, Any]) -> str:
    values = ", ".join(repr(value) for value in detail["values"])
    return f"{change.subject} has values never seen before, in {detail['hits']} of {detail['samples']} samples: {values}"


def _stuck(change: Transition, detail: dict[str, Any]) -> str:
    return (
        f"{change.subject} is {detail['value']!r} in {detail['share']:.0%} of samples, "
        f"usually in {detail['usual_share']:.1%}: it may be stuck"
    )


def _schema(change: Transition, detail: dict[str, Any]) -> str:
    """Which fields, and what of them.

    >>> change = Transition("schema", "sent: new", "firing", 1e5, 1e4, 1.0, 0, 0, 0, 9, {"fields": {"x": ["text", "null"]}})
    >>> reason_of(change, forks=False)
    "sent: new field 'x' (text, null)"
    """
    topic, _, kind = change.subject.rpartition(": ")
    fields = detail["fields"]
    if kind == "new":
        said = [f"{name!r} ({', '.join(types)})" for name, types in fields.items()]
        return f"{topic}: new field{'s' * (len(said) > 1)} {', '.join(said)}"
    if kind == "lost":
        since = rfc3339(change.since_ms)
        said = [
            f"field {name!r} ({usual}) is {'gone' if how == 'absent' else 'null'}"
            for name, (usual, how) in fields.items()
        ]
        share = "" if change.effect > 0.9 else f", in {change.effect:.0%} of the events looked at"
        return f"{topic}: {', '.join(said)} since {since}{share}"
    said = [f"field {name!r} was {was}, is now {' or '.join(now)}" for name, (was, *now) in fields.items()]
    return f"{topic}: {', '.join(said)}"


_SAID = {
    "volume": _volume,
    "label_rate": _label_rate,
    "label_delay": _label_delay,
    "duplicates": _duplicates,
    "unseen": _unseen,
    "stuck": _stuck,
    "schema": _schema,
}
_BACK = {
    "volume": "{subject} brings as much as usual again",
    "label_rate": "labels of {subject} come as usual again",
    "label_delay": "labels of {subject} take as long as usual again",
    "duplicates": "{subject} no longer sends events twice",
    "unseen": "{subject} has only known values again",
    "stuck": "{subject} moves again",
    "schema": "what was told of fields ({subject}) is over",
}
