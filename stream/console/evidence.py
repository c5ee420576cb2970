"""Findings of an episode as evidence: what was found, since when, how late, how large, and how sure that is.

Laws of this file:
- Pure, of what the events carry. Where an event carries nothing to say how sure its effect is, nothing is said.
- Intervals of shares are Wilson's, 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, NamedTuple

from penstock.stream.console.episodes import SUMMED
from penstock.stream.messages import ControlEvent
from penstock.stream.operate.control_lines import crossed
from penstock.stream.operate.reporting.incidents import SEVERITIES

NATS = frozenset({"harm", "lead", "adwin", "segment", "skill", "rollback", "promotion"})
SHARES = frozenset({"range", "nulls", "unseen", "stuck", "dead-letters", "failures"})
Z = 1.959964


class Finding(NamedTuple):
    """One finding of an episode, from its first telling to its newest. Times are event times (ms), positions log offsets.

    `first` told it as more than a suspicion, where it was that. `crossed`, `effect` and `spread` are in words; `parts` are the
    bins that moved most, `told` the figures that its detector gave.
    """

    kind: str
    subject: str
    state: str
    severity: str
    first: ControlEvent
    newest: ControlEvent
    since: int | None
    position: int | None
    found: int | None
    found_position: int | None
    crossed: str
    effect: str
    spread: str
    parts: Sequence[tuple[str, float, float]]
    told: Sequence[tuple[str, str]]

    @property
    def late_ms(self) -> int | None:
        """How long after its onset it was found."""
        return None if self.since is None or self.found is None else self.found - self.since


def findings(events: Sequence[ControlEvent]) -> list[Finding]:
    """What was found in an episode, in the order told."""
    by: dict[tuple[str, str], list[ControlEvent]] = {}
    for event in events:
        if event.data.kind != SUMMED:
            by.setdefault((event.data.kind, event.subject), []).append(event)
    return [_finding(kind, subject, told) for (kind, subject), told in by.items()]


def _finding(kind: str, subject: str, told: list[ControlEvent]) -> Finding:
    first = next((one for one in told if one.data.state == "firing"), told[0])
    data, newest = first.data, told[-1]
    return Finding(
        kind,
        subject,
        newest.data.state,
        max((one.data.severity for one in told), key=SEVERITIES.index),
        first,
        newest,
        data.since.get("at"),
        data.since.get("position", data.since.get("offset")),
        data.detected_at.get("at"),
        data.detected_at.get("position", data.detected_at.get("offset")),
        crossed(data),
        effect(first),
        spread(first),
        data.top_features,
        _told(data.detector.get("params")),
    )


def effect(event: ControlEvent) -> str:
    """How large it is, with its unit; empty where it is not said."""
    size, kind = event.data.effect, event.data.kind
    if size is None:
        return ""
    if kind in SHARES:
        return f"{size:.1%} of the records"
    if kind in NATS:
        return f"{size:+.3f} nats a label"
    return f"PSI {size:.3g}" if kind == "psi" else f"{size:+.3g}"


def spread(event: ControlEvent) -> str:
    """How sure the effect is, by what the event carries; empty where it carries nothing of that."""
    params = event.data.detector.get("params")
    if not isinstance(params, dict):
        return ""
    hits, samples = _number(params, "violations"), _number(params, "samples")
    if hits is not None and samples:
        low, high = wilson(hits, samples)
        return f"{hits:,.0f} of {samples:,.0f} records: {low:.1%} to {high:.1%} (95 % interval)"
    beside = _number(params, "reference_samples")
    if samples and beside and event.data.statistic is not None:
        return f"p {event.data.statistic:.2g}; {samples:,.0f} samples beside {beside:,.0f}"
    scale, block = _number(params, "scale"), _number(params, "block_labels")
    if scale is not None and block:
        what = f"the mean of {block:,.0f} labels" if block > 1 else "one step"
        return f"{what} usually strays by ± {scale:.3g}"
    return ""


def wilson(hits: float, samples: float) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson's score.

    >>> [round(one, 3) for one in wilson(3, 12)]
    [0.089, 0.532]
    """
    share, z2 = hits / samples, Z * Z
    middle = (share + z2 / (2 * samples)) / (1 + z2 / samples)
    reach = (
        Z * sqrt(max(share * (1 - share), 0.0) / samples + z2 / (4 * samples * samples)) / (1 + z2 / samples)
    )
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def _number(params: dict[str, Any], name: str) -> float | None:
    value = params.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _told(params: Any) -> list[tuple[str, str]]:
    """A detector's figures, as (name, value in words)."""
    if not isinstance(params, dict):
        return []
    return [(name.replace("_", " "), _shown(value)) for name, value in params.items() if value is not None]


def _shown(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(one) for one in value)
    return str(value)
