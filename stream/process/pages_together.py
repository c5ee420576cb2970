"""One health page for several roles of several pipelines that share a process.

Laws of this file:
- Each role of each pipeline counts on a page of its own, which nobody serves; this page shows them all. A series of a part has
  the label `process_part`, such as `flights/learn`, and so has its `penstock_build_info`: whoever joins a series to the pipeline
  and role of its process joins on that label as well. Elsewhere nothing has it.
- The process is ready when every part is, and healthy while its one loop turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from penstock.stream.process.health_page import Health
from penstock.stream.process.resources import resident_bytes

PART = "process_part"


class HealthTogether(Health):
    """The page of a process that runs several roles. `part` gives each its own to report to."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, pipeline: str = "") -> None:
        super().__init__("all", host, port, pipeline=pipeline)
        self.parts: dict[str, Health] = {}
        self.shown = CollectorRegistry()
        self.shown.register(_Shown(self.registry, self.parts))

    def part(self, role: str, pipeline: str) -> Health:
        """The page of one role of one pipeline, by its name as deployed."""
        made = self.parts[f"{pipeline}/{role}"] = Health(role, pipeline=pipeline)
        return made

    def status(self, path: str) -> tuple[int, str, bytes]:
        """See `Health.status`. What is not ready is told with the part that it is missing in."""
        if path in ("/metrics", "/readyz"):
            self.look()
        if path == "/metrics":
            self.resident_memory_bytes.set(resident_bytes())
            return 200, CONTENT_TYPE_LATEST, generate_latest(self.shown)
        return super().status(path)

    def look(self) -> bool:
        """Whether every part is ready; what is missing is a condition of this page from now on."""
        missing = {
            f"{name}: {condition}": False
            for name, part in self.parts.items()
            for condition, holds in part.conditions.items()
            if not holds
        }
        self.ready(missing)
        return not missing

    def ready(self, conditions: Mapping[str, bool]) -> None:
        """See `Health.ready`. Conditions stand with the parts, under names that are theirs."""
        self.conditions = dict(conditions)
        self.role_ready.set(all(conditions.values()))


class _Shown(Collector):
    """The metrics of the process and of every part, family by family."""

    def __init__(self, own: CollectorRegistry, parts: Mapping[str, Health]) -> None:
        self.own, self.parts = own, parts

    def collect(self) -> Iterator[Metric]:
        families = {family.name: family for family in self.own.collect()}
        for name, part in list(self.parts.items()):
            for family in part.registry.collect():
                if family.name not in families:
                    families[family.name] = Metric(family.name, family.documentation, family.type)
                for sample in family.samples:
                    labels = {**sample.labels, PART: name}
                    families[family.name].add_sample(sample.name, labels, sample.value)
        yield from families.values()
