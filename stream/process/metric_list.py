"""All metrics of all roles, as `/metrics` shows them.

Laws of this file:
- Names and units are Prometheus': `penstock_`, what is counted, base units in the plural; a share is a `_ratio`, a moment a
  `_timestamp_seconds` whose age the query takes.
- A label's values are bounded: never an entity's key, never an event's id. Sums over a label mean something, but for `outcome` of
  labels, which overlap, and `figure`, whose units differ.
- A role's page holds what that role can say, and nothing else: a series that is there is one that is true.
"""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

from penstock.stream.process.latency import BatchHistogram, RequestHistogram

ROLES = ("featurize", "learn", "control", "challenge", "serve", "console", "all")


class Metric(NamedTuple):
    """One metric as `/metrics` of these roles shows it (a counter's name ends in `_total` there)."""

    name: str
    kind: type[Counter] | type[Gauge] | type[Histogram] | type[BatchHistogram] | type[RequestHistogram]
    labels: tuple[str, ...]
    help: str
    roles: tuple[str, ...] = ROLES

    @property
    def shown(self) -> str:
        """Its name on the page."""
        return self.name + ("_total" if self.kind is Counter else "")


READERS = ("featurize", "learn", "challenge")

_EVERY = (
    Metric(
        "penstock_build_info",
        Gauge,
        ("version", "python", "role", "pipeline"),
        "1; which Penstock runs in which role for which pipeline, by its name as deployed; several that are served with commas",
    ),
    Metric("penstock_role_ready", Gauge, (), "1 while every condition of readiness holds, as `/readyz` says"),
    Metric("penstock_records", Counter, ("topic",), "records read and worked on", (*READERS, "control")),
    Metric("penstock_turns", Counter, (), "turns of the loop"),
    Metric(
        "penstock_turn_duration_seconds",
        Histogram,
        (),
        "wall time of one turn of the loop, the wait for records included",
    ),
    Metric("penstock_condition", Gauge, ("condition",), "1 where this condition of readiness holds"),
    Metric("penstock_lag_records", Gauge, ("topic",), "records in the log after the position read", READERS),
    Metric(
        "penstock_position",
        Gauge,
        ("topic", "partition"),
        "offset of the next record to work on",
        (*READERS, "control"),
    ),
    Metric(
        "penstock_newest_event_timestamp_seconds",
        Gauge,
        (),
        "event time of the newest event worked on, 0 before the first",
        ("featurize", "learn"),
    ),
)
_FEATURIZE = (
    Metric("penstock_samples", Counter, (), "samples written to the samples log"),
    Metric("penstock_labels_written", Counter, (), "labels written to the samples log"),
    Metric("penstock_dead_letters", Counter, ("reason",), "records that could not be used"),
    Metric(
        "penstock_late_records", Counter, ("source",), "dead letters of events that came after their grace"
    ),
    Metric(
        "penstock_skipped_records",
        Counter,
        ("source",),
        "records older than where the topics took over from files, which hold the truth about that time",
    ),
    Metric(
        "penstock_out_of_order_records",
        Counter,
        ("source",),
        "events behind the newest of their own partition, within the grace: they are counted where they belong",
    ),
    Metric(
        "penstock_event_to_readable_seconds",
        BatchHistogram,
        (),
        "from a record's own Kafka timestamp until the features of its whole batch can be read from Redis; "
        "every record once, but not those read again while state is rebuilt",
    ),
    Metric(
        "penstock_entities_first_seen",
        Counter,
        ("view",),
        "entities whose first state was stored; counted again when they come back or state is rebuilt",
    ),
    Metric(
        "penstock_states_expired",
        Counter,
        ("view",),
        "private states deleted because no window can see their events any more",
    ),
    Metric(
        "penstock_defaults_served",
        Counter,
        ("view",),
        "values in samples' vectors that were read from an entity without any event, or of a null key",
    ),
    Metric("penstock_rebuilding", Gauge, (), "1 while state is rebuilt from Kafka after a loss of Redis"),
)
_LEARN = (
    Metric(
        "penstock_turn_part_seconds",
        Counter,
        ("part",),
        "wall time of the parts of learn's turns: decode (records to entries), fold, write (versions and outputs, and "
        "the wait until those of the batch before are acknowledged), commit (where nothing else comes), snapshot; the wait for "
        "records is none of them",
    ),
    Metric("penstock_predictions", Counter, (), "predictions made"),
    Metric("penstock_pending_labels", Gauge, (), "samples that wait for their label"),
    Metric(
        "penstock_labels",
        Counter,
        ("outcome",),
        "labels by what became of them; outcomes overlap: joined are learned or held_back, absent are expired, too",
    ),
    Metric(
        "penstock_log_loss_nats",
        Counter,
        (),
        "sum of the live prediction's losses over joined labels, in nats",
    ),
    Metric(
        "penstock_base_log_loss_nats",
        Counter,
        (),
        "sum of the base predictor's losses over the same labels, in nats",
    ),
    Metric(
        "penstock_measure", Gauge, ("figure",), "figures of the task over all labels: mae, macro_f1 and so on"
    ),
    Metric("penstock_experts", Gauge, (), "models that predict together; the base rate is not counted"),
    Metric(
        "penstock_expert_weight_ratio",
        Gauge,
        ("kind",),
        "how much the models of a kind count in the live prediction, by labels; all kinds together are 1",
    ),
    Metric("penstock_lead_changes", Counter, (), "how often another model took the lead"),
    Metric("penstock_expert_predictions", Counter, (), "predictions of single models: what CPU goes into"),
    Metric("penstock_expert_learnings", Counter, (), "labels learned by single models: what CPU goes into"),
    Metric(
        "penstock_episode_transitions", Counter, ("kind", "state"), "drift episodes that went into this state"
    ),
    Metric(
        "penstock_episodes_open",
        Gauge,
        ("kind", "severity"),
        "drift episodes suspected or firing now, by the highest severity told of them; untold: nobody was told yet",
    ),
    Metric("penstock_model_held", Gauge, (), "1 while learning is held"),
    Metric(
        "penstock_model_failures", Counter, (), "samples and labels at which the leading model gave no number"
    ),
    Metric("penstock_retrains_running", Gauge, (), "retrain jobs under way"),
    Metric("penstock_retrains", Counter, ("trigger",), "retrains begun, by what set them off"),
    Metric("penstock_retrain_triggers", Counter, ("trigger", "outcome"), "triggers fired, by outcome"),
    Metric(
        "penstock_mlflow_registrations",
        Counter,
        ("outcome",),
        "versions registered at MLflow, and failed attempts to",
    ),
    Metric(
        "penstock_unreadable_records",
        Counter,
        (),
        "records of Penstock's own topics that could not be read",
        ("learn", "control"),
    ),
)
_CHALLENGE = (
    Metric("penstock_challengers", Gauge, ("state",), "challengers that run, and that wait for their turn"),
    Metric(
        "penstock_challenger_weight_ratio",
        Gauge,
        ("challenger",),
        "how much it counts in the race, by labels; the definition's own model and the base rate have the rest",
    ),
    Metric(
        "penstock_challenger_loss_nats",
        Gauge,
        ("challenger",),
        "its mean log loss over the labels it was judged by since it last began to run",
    ),
    Metric("penstock_challengers_entered", Counter, (), "challengers that asked to take part in learn"),
)
_SERVE = (
    Metric(
        "penstock_request_duration_seconds",
        RequestHistogram,
        ("outcome",),
        "from a request to its answer, by outcome: ok, or the status of what was refused",
    ),
    Metric("penstock_rows_answered", Counter, ("pipeline",), "events answered on request"),
    Metric(
        "penstock_arm_answers",
        Counter,
        ("pipeline", "arm"),
        "events answered on request by whose answer it was, champion or challenger, where the definition names a challenger",
    ),
    Metric(
        "penstock_degraded_answers",
        Counter,
        ("pipeline",),
        "events answered on request with null features, because Redis was away",
    ),
    Metric(
        "penstock_served_position", Gauge, ("pipeline",), "samples-log offset that the models answer from"
    ),
    Metric(
        "penstock_served_event_timestamp_seconds",
        Gauge,
        ("pipeline",),
        "event time up to which the models that answer have seen the log",
    ),
)
_CONTROL = (
    Metric("penstock_decisions", Counter, ("verb", "verdict"), "decisions on requests"),
    Metric("penstock_commands_sent", Counter, (), "commands appended to the samples log, repeats included"),
    Metric(
        "penstock_commands_open", Gauge, (), "commands that learn does not show as carried out or refused"
    ),
    Metric("penstock_requests_waiting", Gauge, (), "requests that wait for a person's approval"),
)
_ALL = (
    Metric(
        "penstock_resident_memory_bytes", Gauge, (), "resident memory of a process that runs several roles"
    ),
)


def _of(role: str, metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """These, said by one role unless they name several."""
    return tuple(one._replace(roles=(role,)) if one.roles == ROLES else one for one in metrics)


METRICS = (
    *_EVERY,
    *_of("featurize", _FEATURIZE),
    *_of("learn", _LEARN),
    *_of("challenge", _CHALLENGE),
    *_of("serve", _SERVE),
    *_of("control", _CONTROL),
    *_of("all", _ALL),
)
