"""What the demo prints at its end, and what it writes with --json.

Laws of this file:
- Numbers come from the run and its proofs; nothing here computes a result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from penstock.stream.demo.episode_rows import episode_lines, episodes
from penstock.stream.demo.explained import explained_lines
from penstock.stream.demo.measure import Month
from penstock.stream.demo.verify import Proof
from penstock.stream.messages import ControlEvent, Decision, LiveModel
from penstock.stream.task_kind import Kind


@dataclass
class Report:
    """Everything the demo has to say.

    `incident` holds the comparison with a run without it, when one was played; `explained` one prediction and why it was that.
    """

    backend: str
    redis: str
    incident_name: str
    guard: bool
    task: Kind = "binary"
    events: int = 0
    outcomes: int = 0
    samples: int = 0
    labels_joined: int = 0
    labels_expired: int = 0
    labels_pending: int = 0
    held_back: int = 0
    dead_letters: int = 0
    predictions: int = 0
    entities: int = 0
    seconds: float = 0.0
    records: int = 0
    roc_auc: float | None = 0.0
    loss: float = 0.0
    baseline_loss: float = 0.0
    passive_loss: float = 0.0
    restart_loss: float | None = None
    months: list[Month] = field(default_factory=list)
    control_events: list[ControlEvent] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    live: LiveModel | None = None
    proofs: dict[str, Proof] = field(default_factory=dict)
    incident: dict[str, Any] = field(default_factory=dict)
    definition: str = ""
    explained: dict[str, Any] | None = None

    @property
    def events_per_s(self) -> float:
        """Source records per second through the whole flow."""
        return self.records / self.seconds if self.seconds else 0.0


def as_json(report: Report) -> dict[str, Any]:
    """The object of `--json`."""
    return {
        "backend": report.backend,
        "redis": report.redis,
        "incident": report.incident_name,
        "guard": report.guard,
        "events": report.events,
        "outcomes": report.outcomes,
        "samples": report.samples,
        "labels_joined": report.labels_joined,
        "labels_expired": report.labels_expired,
        "labels_pending": report.labels_pending,
        "labels_held_back": report.held_back,
        "dead_letters": report.dead_letters,
        "predictions": report.predictions,
        "entities": report.entities,
        "events_per_s": round(report.events_per_s, 1),
        "seconds": round(report.seconds, 2),
        "task": report.task,
        **_losses(report),
        "months": [asdict(month) for month in report.months],
        "episodes": episodes(report.control_events),
        "control_events": [event_row(event) for event in report.control_events],
        "decisions": [decision_row(decision) for decision in report.decisions],
        "versions": report.versions,
        "live": None if report.live is None else {"version": report.live.version, "why": report.live.why},
        "incident_effect": report.incident,
        "explained": report.explained,
        "verified": {name: proof.holds for name, proof in report.proofs.items()},
    }


def _losses(report: Report) -> dict[str, float | None]:
    """The run's losses, named by what they are."""
    if report.task == "regression":
        return {
            "mae": report.loss,
            "baseline_mae": report.baseline_loss,
            "passive_mae": report.passive_loss,
            "restart_mae": report.restart_loss,
        }
    return {
        "roc_auc": report.roc_auc,
        "log_loss": report.loss,
        "baseline_log_loss": report.baseline_loss,
        "passive_log_loss": report.passive_loss,
    }


def event_row(event: ControlEvent) -> dict[str, Any]:
    """A control event, the parts a program compares."""
    data = event.data
    return {
        "id": event.id,
        "type": event.type,
        "episode": data.episode,
        "kind": data.kind,
        "subject": event.subject,
        "state": data.state,
        "reason": data.reason,
        "since": data.since,
        "detected_at": data.detected_at,
        "statistic": data.statistic,
        "threshold": data.threshold,
        "target_version": data.target_version,
        "command": data.command,
    }


def decision_row(decision: Decision) -> dict[str, Any]:
    """A decision, the parts a program compares."""
    return {
        "request": decision.request,
        "verb": decision.verb,
        "verdict": decision.verdict,
        "why": decision.why,
        "by": decision.by,
    }


def lines(report: Report) -> list[str]:
    """The report as a person reads it."""
    out = ["", f"What ran        {report.backend}", f"                {report.redis}"]
    guard = "on" if report.guard else "off"
    out.append(f"Incident        {report.incident_name} (guard {guard})")
    out.append(
        f"Through Kafka   {report.records:,} records in {report.seconds:.1f} s = {report.events_per_s:,.0f} records/s"
        if "memory" not in report.backend
        else f"In memory       {report.records:,} records in {report.seconds:.1f} s = {report.events_per_s:,.0f} records/s"
    )
    out.append(
        f"Events          {report.events:,} departures, {report.outcomes:,} arrivals, {report.dead_letters} dead letters, "
        f"{report.entities:,} entities with features"
    )
    out.append(
        f"Samples         {report.samples:,} predicted; {report.labels_joined:,} labels joined, {report.labels_expired:,} "
        "expired, "
        f"{report.labels_pending:,} still awaited, {report.held_back:,} held back from learning"
    )
    out += _month_lines(report)
    out += ["", "Drift episodes (event time, UTC)"]
    rows = episodes(report.control_events)
    out += [line for row in rows for line in episode_lines(row)] or ["  none"]
    out += ["", "Decisions on what was asked for"]
    out += [f"  {d.verb:<9} {d.verdict:<10} {d.why}" for d in report.decisions] or ["  nothing was asked for"]
    out += _incident_lines(report.incident)
    if report.live is not None:
        out += [
            "",
            f"Live            {report.live.version}, {len(report.versions)} versions kept; why: {report.live.why}",
        ]
    out += ["", "Proofs"]
    for proof in report.proofs.values():
        out.append(
            f"  {'holds' if proof.holds else 'FAILS':<6} {proof.name} ({proof.compared:,} compared, {proof.different} differ)"
        )
        out += [f"         {text}" for text in proof.differences]
    if report.explained is not None:
        out += explained_lines(report.explained, report.definition, bool(report.incident))
    return out


def _month_lines(report: Report) -> list[str]:
    """The losses by month, and of the whole."""
    if report.task == "regression":
        head = "Month      labels   mean absolute error: live   base predictor   no actions   begun anew"
        rows = [
            (one.month, one.labels, one.live_loss, one.base_loss, one.passive_loss, one.restart_loss or 0.0)
            for one in report.months
        ]
        rows.append(
            (
                "the whole",
                report.labels_joined,
                report.loss,
                report.baseline_loss,
                report.passive_loss,
                report.restart_loss or 0.0,
            )
        )
        return ["", head] + [
            f"{month:<9} {labels:>7,}                     {live:>7.3f}"
            f"          {base:>7.3f}      {passive:>7.3f}      {anew:>7.3f}"
            for month, labels, live, base, passive, anew in rows
        ]
    out = ["", "Month      labels   log loss: live   base rate   no actions   ROC AUC: live   no actions"]
    out += [
        f"{month.month}   {month.labels:>7,}           {month.live_loss:.4f}      {month.base_loss:.4f}       "
        f"{month.passive_loss:.4f}           {_auc(month.live_auc)}       {_auc(month.passive_auc)}"
        for month in report.months
    ]
    out.append(
        f"the whole                     {report.loss:.4f}      {report.baseline_loss:.4f}       "
        f"{report.passive_loss:.4f}           {_auc(report.roc_auc)}"
    )
    return out


def _auc(value: float | None) -> str:
    return "     -" if value is None else f"{value:.4f}"


def _incident_lines(incident: dict[str, Any]) -> list[str]:
    if not incident:
        return []
    out = ["", "The incident, against a run of the same year without it"]
    for row in incident.get("rollbacks", []):
        out.append(
            f"  committed {row['version']}, {row['labels_after_end']:,} labels after its end; "
            f"over the {row['labels']:,} labels predicted after it: "
            f"loss {row['live']:.4f}, "
            f"without the incident {row['clean']:.4f} (ratio {row['ratio_to_clean']:.3f}), with actions off {row['passive']:.4f} "
            f"(ratio {row['passive_ratio_to_clean']:.2f})"
        )
    weeks = incident.get("weeks_live", []), incident.get("weeks_passive", [])
    out.append(
        "  loss / clean by week from its first day   live        "
        + " ".join(f"{value:5.2f}" for value in weeks[0])
    )
    out.append(
        "                                            no actions  "
        + " ".join(f"{value:5.2f}" for value in weeks[1])
    )
    return out
