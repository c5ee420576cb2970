"""`/metrics`, `/healthz` and `/readyz` of every role, on a small server beside the loop.

Laws of this file:
- Every metric stands in `metric_list`, and no other is told; a role tells those that it can say.
- Reporting costs a loop's turn a few microseconds; what needs more is looked at once a second.
- The server never touches the worker: it reads numbers the loop left behind, so a loop that hangs is a 503
  and not a hanging page.

| Path     | 200                                          | 503                                            |
|----------|----------------------------------------------|------------------------------------------------|
| /metrics | always                                       |                                                |
| /healthz | the loop turned, or waits for Kafka          | neither within `stalled_s`: restart it         |
| /readyz  | it turned in the last seconds, is assigned, … | a line for each that is not; do not restart    |
"""

from __future__ import annotations

import platform
import re
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from penstock.stream.process.bounded_server import BoundedServer
from penstock.stream.process.latency import BatchHistogram, RequestHistogram
from penstock.stream.process.metric_list import METRICS
from penstock.stream.process.shared_metrics import GAUGES, page

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside every counter, which nobody asks for

STALLED_S = 30.0
SILENT_S = 10.0
"""A loop that has not turned for so long is not ready, whatever it said last; it need not be restarted yet."""
MOST_REASONS = 40


def installed_version() -> str:
    """The version of Penstock that is installed; empty for sources that are not."""
    try:
        return version("penstock")
    except PackageNotFoundError:
        return ""


def kind_of(reason: str) -> str:
    """A dead letter's reason without its numbers, short: few kinds, however many records."""
    return re.sub(r"-?\d+", "N", reason)[:80]


class Health:
    """The health page of one role; its server runs inside a `with` block.

    Metrics are attributes without the prefix: `health.records.labels("departures").inc(12)`; those of other roles are there, and
    not shown. `pipeline` names what it runs. `port` 0 takes any free one, which is then `health.port`. With `shared`, a folder,
    /metrics is that of every process that shares it.

    Example:
        >>> with Health("learn", "127.0.0.1", 0) as health:
        ...     health.turned()
        ...     health.ready({"assigned": True})
        ...     health.status("/readyz")[0]
        200

    Raises:
        OSError: the port is taken (on entering the block).

    """

    build_info: Gauge
    role_ready: Gauge
    records: Counter
    turns: Counter
    turn_duration_seconds: Histogram
    condition: Gauge
    lag_records: Gauge
    position: Gauge
    newest_event_timestamp_seconds: Gauge
    samples: Counter
    labels_written: Counter
    dead_letters: Counter
    late_records: Counter
    skipped_records: Counter
    out_of_order_records: Counter
    event_to_readable_seconds: BatchHistogram
    entities_first_seen: Counter
    states_expired: Counter
    defaults_served: Counter
    rebuilding: Gauge
    turn_part_seconds: Counter
    predictions: Counter
    pending_labels: Gauge
    labels: Counter
    log_loss_nats: Counter
    base_log_loss_nats: Counter
    measure: Gauge
    experts: Gauge
    expert_weight_ratio: Gauge
    lead_changes: Counter
    expert_predictions: Counter
    expert_learnings: Counter
    episode_transitions: Counter
    episodes_open: Gauge
    model_held: Gauge
    model_failures: Counter
    retrains_running: Gauge
    retrains: Counter
    retrain_triggers: Counter
    mlflow_registrations: Counter
    unreadable_records: Counter
    challengers: Gauge
    challenger_weight_ratio: Gauge
    challenger_loss_nats: Gauge
    challengers_entered: Counter
    request_duration_seconds: RequestHistogram
    rows_answered: Counter
    arm_answers: Counter
    degraded_answers: Counter
    served_position: Gauge
    served_event_timestamp_seconds: Gauge
    decisions: Counter
    commands_sent: Counter
    commands_open: Gauge
    requests_waiting: Gauge
    resident_memory_bytes: Gauge

    def __init__(
        self,
        role: str,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        pipeline: str = "",
        stalled_s: float = STALLED_S,
        shared: str = "",
    ) -> None:
        self.shared = shared
        self.role, self.host, self.port, self.stalled_s = role, host, port, stalled_s
        self.registry = CollectorRegistry()
        not_shown = CollectorRegistry()
        for metric in METRICS:
            registry = self.registry if role in metric.roles else not_shown
            more: Any = {"multiprocess_mode": GAUGES} if metric.kind is Gauge else {}
            made = metric.kind(metric.name, metric.help, metric.labels, registry=registry, **more)
            setattr(self, metric.name.removeprefix("penstock_"), made)
        self.build_info.labels(installed_version(), platform.python_version(), role, pipeline).set(1)
        self.conditions: dict[str, bool] = {"started": False}
        self.turned_s = time.monotonic()
        self.waited_s = 0.0
        self._server: BoundedServer | None = None
        self._reasons: set[str] = set()

    # -- what the loop says ----------------------------------------------------------------------------------

    def turned(self) -> None:
        """The loop has come round."""
        now = time.monotonic()
        self.turns.inc()
        self.turn_duration_seconds.observe(now - self.turned_s)
        self.turned_s = now

    def waits(self) -> None:
        """The loop stands because it waits for Kafka, as it is to: it is not ready, and a restart would mend nothing."""
        self.waited_s = time.monotonic()

    def ready(self, conditions: Mapping[str, bool]) -> None:
        """Say which conditions of readiness hold; the role is ready when all do."""
        if conditions != self.conditions:
            self.conditions = dict(conditions)
            self.role_ready.set(all(conditions.values()))
            for name, holds in conditions.items():
                self.condition.labels(name).set(holds)

    def dead(self, reason: str, count: float = 1) -> None:
        """Count dead letters. Numbers in a reason are left out, and reasons past the fortieth are one: labels are bounded."""
        if not count:
            return
        kind = kind_of(reason)
        if kind not in self._reasons:
            if len(self._reasons) >= MOST_REASONS:
                kind = "other"
            self._reasons.add(kind)
        self.dead_letters.labels(kind).inc(count)

    # -- what the page says ----------------------------------------------------------------------------------

    def status(self, path: str) -> tuple[int, str, bytes]:
        """Status code, content type and body of a path."""
        text = "text/plain; charset=utf-8"
        if path == "/metrics":
            names = {metric.name for metric in METRICS if self.role in metric.roles}
            told = page(self.shared, names) if self.shared else generate_latest(self.registry)
            return 200, CONTENT_TYPE_LATEST, told
        if path == "/healthz":
            silent_s = time.monotonic() - self.turned_s
            turning = min(silent_s, time.monotonic() - self.waited_s) <= self.stalled_s
            return (
                (200 if turning else 503),
                text,
                f"{self.role}: the loop turned {silent_s:.1f} s ago\n".encode(),
            )
        if path == "/readyz":
            missing = [name for name, holds in self.conditions.items() if not holds]
            silent_s = time.monotonic() - self.turned_s
            if silent_s > min(self.stalled_s, SILENT_S):  # what it last said of itself may be true no more
                missing.append(f"turning: the loop turned {silent_s:.0f} s ago")
            lines = (
                [f"{self.role} is ready"]
                if not missing
                else [f"{self.role} is not ready", *(f"not {name}" for name in missing)]
            )
            return (503 if missing else 200), text, ("\n".join(lines) + "\n").encode()
        return 404, text, b"/metrics, /healthz and /readyz are here\n"

    def __enter__(self) -> Self:
        health = self

        class Page(BaseHTTPRequestHandler):
            timeout = 10
            server_version, sys_version = "penstock", ""

            def do_GET(self) -> None:
                code, kind, body = health.status(self.path.split("?")[0])
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = BoundedServer((self.host, self.port), Page)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="health", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
