"""What the dashboards show: panels, and what each asks Prometheus.

Laws of this file:
- A panel is a title, what it means, and expressions with their legends; how it looks is `deploy/grafana/make.py`'s.
- Every expression names its pipeline by `of`, so that both variables (the data source, the pipeline) hold everywhere.
- What may not have happened yet is `or_none`: 0, and not "No data".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

RATE = "[$__rate_interval]"
LEARN, FEATURIZE, CONTROL, SERVE = "learn", "featurize", "control", "serve"


def of(series: str, role: str = "") -> str:
    """Series of processes, with the pipeline and the role that they run; those of the chosen pipelines."""
    said = f',role="{role}"' if role else ""
    info = f'penstock_build_info{{pipeline=~"$pipeline"{said}}}'
    return f"({series}) * on (job, instance, process_part) group_left (pipeline, role) {info}"


def or_none(expression: str) -> str:
    """0 where there is nothing yet."""
    return f"({expression}) or on () vector(0)"


def per(labels: str, series: str, role: str = "", by: str = "sum") -> str:
    """Series of the chosen pipelines, added up."""
    return f"{by} by ({labels}) ({of(series, role)})"


class Panel(NamedTuple):
    """One panel: (expression, legend) pairs; `unit` is Grafana's name of it, `kind` its plugin."""

    title: str
    says: str
    asked: Sequence[tuple[str, str]]
    unit: str = "short"
    stacked: bool = False
    kind: str = "timeseries"
    width: int = 8
    most: float | None = None


def loss(which: str = "") -> str:
    """Nats per label."""
    return f"{per('pipeline', f'rate(penstock_{which}log_loss_nats_total{RATE})', LEARN)} / ({JOINED} > 0)"


def quantile(share: float, histogram: str, labels: str, role: str = "", match: str = "") -> str:
    """A quantile of seconds."""
    inner = per(f"{labels}, le", f"rate({histogram}_bucket{match}{RATE})", role)
    return f"histogram_quantile({share}, {inner})"


JOINED = per("pipeline", f'rate(penstock_labels_total{{outcome="joined"}}{RATE})', LEARN)
PREDICTED = per("pipeline", f"rate(penstock_predictions_total{RATE})", LEARN)
AGE = f"time() - max by (pipeline, role) ({of('penstock_newest_event_timestamp_seconds > 0')})"
BEHIND = (
    f"sum by (pipeline, role) ({of('penstock_lag_records')})"
    f" / (sum by (pipeline, role) ({of(f'rate(penstock_records_total{RATE})')}) > 0)"
)
OPEN = "penstock_episodes_open"
REQUESTS = "penstock_request_duration_seconds"
RATIO = f"({loss()}) / ({loss('base_')})"

OVERVIEW = [
    Panel(
        "Ready",
        "1 where some process of the role is ready to work, 0 where none is.",
        [(per("pipeline, role", "penstock_role_ready", by="max"), "{{pipeline}} {{role}}")],
        kind="stat",
        most=1,
    ),
    Panel(
        "Alerts that fire",
        "Of the rules in deploy/prometheus; Prometheus lists them under Alerts.",
        [(or_none('count(ALERTS{alertname=~"Penstock.+",alertstate="firing"})'), "firing")],
        kind="stat",
    ),
    Panel(
        "Episodes open",
        "What is suspected or firing, by the highest severity told of it.",
        [(or_none(per("pipeline, severity", OPEN, LEARN)), "{{pipeline}} {{severity}}")],
        kind="stat",
    ),
    Panel("Age of the newest event", "By its own time.", [(AGE, "{{pipeline}} {{role}}")], "s"),
    Panel(
        "Work that waits",
        "Seconds to work it off at the rate of now.",
        [(BEHIND, "{{pipeline}} {{role}}")],
        "s",
    ),
    Panel(
        "Loss against the base rate",
        "Of the live prediction, per label: 1 is no better than the base rate.",
        [(RATIO, "{{pipeline}}")],
    ),
    Panel(
        "Records",
        "Read and worked on.",
        [(per("pipeline, role", f"rate(penstock_records_total{RATE})"), "{{pipeline}} {{role}}")],
        "reqps",
    ),
    Panel(
        "Labels per prediction",
        "Labels that met their sample, by predictions.",
        [(f"{JOINED} / ({PREDICTED} > 0)", "{{pipeline}}")],
        "percentunit",
    ),
    Panel(
        "Dead letters",
        "Records that could not be used.",
        [(or_none(per("pipeline", f"rate(penstock_dead_letters_total{RATE})", FEATURIZE)), "{{pipeline}}")],
        "reqps",
    ),
    Panel(
        "Waits for a person",
        "Learning that is held, and requests without an answer.",
        [
            (per("pipeline", "penstock_model_held", LEARN, "max"), "{{pipeline}} held"),
            (per("pipeline", "penstock_requests_waiting", CONTROL), "{{pipeline}} requests"),
        ],
    ),
    Panel(
        "Answers on request",
        "By outcome: ok, or the status of what was refused.",
        [
            (
                or_none(per("pipeline, outcome", f"rate({REQUESTS}_count{RATE})", SERVE)),
                "{{pipeline}} {{outcome}}",
            )
        ],
        "reqps",
    ),
    Panel(
        "Time of an answer",
        "99 of 100 answered requests took no longer; those of many rows are among them.",
        [(or_none(quantile(0.99, REQUESTS, "pipeline", SERVE, '{outcome="ok"}')), "{{pipeline}} p99")],
        "s",
    ),
    Panel(
        "What runs",
        "Version by role and process.",
        [
            (
                'count by (pipeline, role, instance, version) (penstock_build_info{pipeline=~"$pipeline"})',
                "{{pipeline}} {{role}} {{instance}} {{version}}",
            )
        ],
        kind="table",
        width=24,
    ),
]

PIPELINE = [
    Panel(
        "Loss per label",
        "In nats: of the live prediction, and of the base predictor on the same labels.",
        [(loss(), "live"), (loss("base_"), "base")],
        width=12,
    ),
    Panel(
        "Weights of the experts",
        "How much the models of a kind count in the live prediction.",
        [(per("kind", "penstock_expert_weight_ratio", LEARN), "{{kind}}")],
        "percentunit",
        stacked=True,
        width=12,
        most=1,
    ),
    Panel(
        "Episodes open",
        "By kind and by the highest severity told.",
        [(or_none(per("kind, severity", OPEN, LEARN)), "{{kind}} {{severity}}")],
    ),
    Panel(
        "Episodes: what changed",
        "Findings that went into a state, in ten minutes.",
        [
            (
                or_none(per("kind, state", "increase(penstock_episode_transitions_total[10m])", LEARN)),
                "{{kind}} {{state}}",
            )
        ],
    ),
    Panel(
        "What was done",
        "Retrains begun, decisions, and changes of the lead, in ten minutes.",
        [
            (
                or_none(per("trigger", "increase(penstock_retrains_total[10m])", LEARN)),
                "retrain: {{trigger}}",
            ),
            (
                or_none(per("verb, verdict", "increase(penstock_decisions_total[10m])", CONTROL)),
                "{{verb}} {{verdict}}",
            ),
            (per("pipeline", "increase(penstock_lead_changes_total[10m])", LEARN), "another model leads"),
        ],
    ),
    Panel(
        "What goes on",
        "Learning that is held, retrain jobs, commands and requests without an answer.",
        [
            (per("pipeline", "penstock_model_held", LEARN, "max"), "held"),
            (per("pipeline", "penstock_retrains_running", LEARN), "retrains"),
            (per("pipeline", "penstock_commands_open", CONTROL), "commands"),
            (per("pipeline", "penstock_requests_waiting", CONTROL), "requests"),
        ],
    ),
    Panel(
        "Labels",
        "What became of them; outcomes overlap.",
        [(per("outcome", f"rate(penstock_labels_total{RATE})", LEARN), "{{outcome}}")],
        "reqps",
    ),
    Panel(
        "Samples that wait for their label",
        "They are given up after the definition's `wait`.",
        [(per("pipeline", "penstock_pending_labels", LEARN), "waiting")],
    ),
    Panel("Age of the newest event", "By its own time.", [(AGE, "{{role}}")], "s"),
    Panel(
        "Records that wait",
        "In the log after the position read.",
        [(per("role, topic", "penstock_lag_records"), "{{role}} {{topic}}")],
    ),
    Panel(
        "Records",
        "Read and worked on.",
        [(per("role, topic", f"rate(penstock_records_total{RATE})"), "{{role}} {{topic}}")],
        "reqps",
    ),
    Panel(
        "Until features can be read",
        "From a record's Kafka timestamp on.",
        [
            (quantile(0.5, "penstock_event_to_readable_seconds", "pipeline", FEATURIZE), "p50"),
            (quantile(0.99, "penstock_event_to_readable_seconds", "pipeline", FEATURIZE), "p99"),
        ],
        "s",
    ),
    Panel(
        "Dead letters",
        "By reason.",
        [(or_none(per("reason", f"rate(penstock_dead_letters_total{RATE})", FEATURIZE)), "{{reason}}")],
        "reqps",
    ),
    Panel(
        "Late and out of order",
        "Late ones are dead letters; the others are counted where they belong.",
        [
            (per("source", f"rate(penstock_late_records_total{RATE})", FEATURIZE), "{{source}} late"),
            (
                per("source", f"rate(penstock_out_of_order_records_total{RATE})", FEATURIZE),
                "{{source}} out of order",
            ),
        ],
        "reqps",
    ),
    Panel(
        "Values given for unknown entities",
        "Per sample; if it jumps, a key or a feed broke.",
        [
            (
                f"{per('view, pipeline', f'rate(penstock_defaults_served_total{RATE})', FEATURIZE)}"
                " / on (pipeline) group_left () "
                f"({per('pipeline', f'rate(penstock_samples_total{RATE})', FEATURIZE)} > 0)",
                "{{view}}",
            )
        ],
    ),
    Panel(
        "Where learn's time goes",
        "Seconds per second.",
        [(per("part", f"rate(penstock_turn_part_seconds_total{RATE})", LEARN), "{{part}}")],
        stacked=True,
    ),
    Panel(
        "Turns of the loops",
        "99 of 100 took no longer, the wait for records included.",
        [(quantile(0.99, "penstock_turn_duration_seconds", "role"), "{{role}}")],
        "s",
    ),
    Panel(
        "Conditions of readiness",
        "1 where it holds.",
        [(per("role, condition", "penstock_condition", by="max"), "{{role}}: {{condition}}")],
        most=1,
    ),
]
