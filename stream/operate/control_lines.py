"""Control messages → lines for a person who was just woken up: what, since when, how badly, and what happens now.

Laws of this file:
- Pure: bytes in, lines out. A message that cannot be read becomes a line that says so.
- What others wrote stands in a line as text alone: whatever a terminal would obey is escaped.
- Event time and wall time are never mixed: event times say "event time", the time in front is when the broker got the message.
"""

from __future__ import annotations

from datetime import UTC, datetime

from penstock.stream.messages import ControlData, ControlEvent, Decision, LiveModel, OperatorRequest
from penstock.stream.operate.control_topics import Message, pipeline_of
from penstock.stream.operate.expert_lines import others, who_predicts
from penstock.stream.process.terminal import printable
from penstock.stream.story_records import EpisodeSummary
from penstock.stream.trigger_records import TriggerFired
from penstock.stream.triggers import in_words

EVIDENCE = frozenset({"harm", "lead", "rollback", "promotion"})
"""Kinds whose statistic is evidence that grew with every label, not a size anybody knows: the reason tells the losses. The last
two are those of former versions, whose events may still lie in the topics."""
_MARKS = {"critical": "!!", "warning": "! ", "info": "  "}


def moment(at_ms: int | None) -> str:
    """A time for people, in UTC."""
    if at_ms is None:
        return "?"
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%d %b %Y %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms"


def tell(message: Message, wall_ms: int) -> list[str]:
    """The message in lines: the first says what, the others what an operator asks next."""
    if isinstance(message, ControlEvent):
        mark, head, more = _event(message)
    elif isinstance(message, Decision):
        mark, head, more = _decision(message)
    elif isinstance(message, OperatorRequest):
        mark, head, more = _request(message)
    else:
        mark, head, more = _live(message)
    indent = " " * 24
    lines = [f"{moment(wall_ms)} {mark} {pipeline_of(message)}: {head}", *(indent + line for line in more)]
    return [printable(line) for line in lines]


def _event(event: ControlEvent) -> tuple[str, str, list[str]]:
    data = event.data
    if data.summary is not None:
        return _MARKS[data.severity], f"OVER: {data.reason}", _summary(data, data.summary)
    asks = {
        "retrain": "RETRAIN wanted",
        "rollback": "ROLLBACK wanted",
        "promote": "promotion wanted",
        "hold": "HOLD taken",
    }
    calm = "note" if data.severity == "info" else "ALERT"
    wants = asks.get(data.suggested_action, calm)
    if data.trigger is not None and data.trigger.proposes and data.suggested_action == "retrain":
        wants = "RETRAIN proposed"
    head = f"{wants}: {data.reason}"
    found, since = data.detected_at, data.since
    if "offset" in since:  # dead letters: no events, so they have their records' own times and places
        lines = [
            f"since {moment(since.get('at'))}, found {moment(found.get('at'))} (the records' own time); "
            f"partition {since.get('partition')} from offset {since.get('offset')}; `penstock dead-letters` shows them"
        ]
    else:
        lines = [
            f"since {moment(since.get('at'))}, found {moment(found.get('at'))} (event time); "
            f"positions {since.get('position')} and {found.get('position')}"
        ]
    measured = [crossed(data)] if crossed(data) else []
    if data.effect is not None:
        measured.append(f"effect {data.effect:+.4g}")
    if measured:
        lines.append(", ".join(measured) + f"  ({data.state}, episode {data.episode})")
    if data.trigger is not None:
        lines.append(_fired(data.trigger))
    for name, psi, share in data.top_features[:3]:
        lines.append(f"{name}: PSI {psi:.3g}, {share:.0%} of it")
    names = ", ".join(f"{role} {version}" for role, version in data.model.items() if version)
    if names:
        lines.append(
            f"models: {names}" + (f"; would commit {data.target_version}" if data.target_version else "")
        )
    if data.command:
        lines.append(f"by hand: {data.command}")
    return _MARKS[data.severity], head, lines


def crossed(data: ControlData) -> str:
    """The statistic and what it is held against; empty where it is not said."""
    if data.statistic is None or data.threshold is None:
        return ""
    what = "evidence" if data.kind in EVIDENCE else data.kind
    return f"{what} {_number(data.statistic)} against {_number(data.threshold)}"


def _summary(data: ControlData, summary: EpisodeSummary) -> list[str]:
    """When it was, and each thing that was done."""
    until = summary.until
    lines = [
        f"from {moment(data.since.get('at'))} to {moment(until.get('at'))} (event time); positions {data.since.get('position')} "
        f"to {until.get('position')}  (episode {data.episode})"
    ]
    return lines + [f"{moment(deed.at)}  {deed.what} (by {deed.by})" for deed in summary.done]


def _fired(fired: TriggerFired) -> str:
    """A trigger's evidence."""
    last = f"the last retrain ({fired.after})" if fired.after is not None else "the beginning"
    parts = [
        f"trigger {fired.rule}",
        f"{fired.labels:,} labels since {last}",
        f"learns {in_words(fired.window)}",
    ]
    if fired.due_at is not None:
        missed = f", {fired.missed:,} missed before it" if fired.missed else ""
        parts.insert(1, f"due {moment(fired.due_at)} (event time){missed}")
    return "; ".join(parts)


def _number(value: float) -> str:
    """Four digits, without an exponent where people would have to count zeros."""
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:.4g}"


def _decision(decision: Decision) -> tuple[str, str, list[str]]:
    head = f"{decision.verb} {decision.verdict}: {decision.why}"
    lines = [f"decided for {decision.by}, request {decision.request}"]
    if decision.command is not None:
        lines.append(f"sent as {decision.command.id}")
    return ("! " if decision.verdict == "waits for approval" else "  "), head, lines


def _request(request: OperatorRequest) -> tuple[str, str, list[str]]:
    more = [f"version {request.version}"] if request.version else []
    more += [f"from position {request.from_position}"] if request.from_position is not None else []
    more += [f"learning {in_words(request.window)}"] if request.window else []
    more += ["pinned: it keeps its place whatever labels say"] if request.pin else []
    return "  ", f"{request.by} asks to {request.verb}: {request.reason}", [", ".join(more)] if more else []


def _live(live: LiveModel) -> tuple[str, str, list[str]]:
    head = f"live is {live.version}: {live.why}"
    if live.change:
        head = f"{live.change}; live is {live.version} ({live.why})"
    beside = others(live)
    known = [
        who_predicts(live),
        f"beside it {beside}" if beside else "",
        f"at {moment(live.at)} (event time)",
    ]
    lines = ["; ".join(part for part in known if part)]
    if live.held:
        lines.append(
            f"LEARNING IS HELD since {moment(live.held_since)} (event time); `penstock resume` or a rollback ends it"
        )
    if live.refused:
        command, why = list(live.refused.items())[-1]
        lines.append(f"last refused: {command}: {why}")
    return ("!!" if live.held else "  "), head, lines
