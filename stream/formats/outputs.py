"""Predictions in Avro where the definition asks for them: what learn appends in JSON is written under their registered schema.

Laws of this file:
- The schema is registered once, before the first prediction, under `<topic>-value`. Nothing is asked of the registry after that.
- Every other topic, and everything that is read, is as the log has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.formats.registry import HttpRegistry
from penstock.stream.log.protocol import Log, Out
from penstock.stream.prediction import decode_prediction
from penstock.stream.prediction_avro import SCHEMA, encoded
from penstock.stream.process.settings import Settings


def outputs_of(pipeline: Pipeline, settings: Settings, log: Log) -> Log:
    """The log as the learn role of this pipeline writes it.

    Raises `SettingError` where predictions are to be in Avro and no registry is named, `RegistryUnavailable` where it is away.
    """
    if pipeline.output_format == "json":
        return log
    topic = topology.predictions(pipeline.name, settings.prefix)
    number = HttpRegistry(settings).register(f"{topic}-value", "AVRO", SCHEMA)
    return cast(Log, PredictionsInAvro(log, topic, number))


class PredictionsInAvro:
    """A log on which one topic's records are written in Avro; `number` is the id of the schema."""

    def __init__(self, log: Log, topic: str, number: int) -> None:
        self.log, self.topic, self.number = log, topic, number

    def append(self, outs: Sequence[Out]) -> None:
        """As `Log.append`."""
        self.log.append([self._written(out) if out.topic == self.topic else out for out in outs])

    def _written(self, out: Out) -> Out:
        return out._replace(value=encoded(self.number, decode_prediction(out.value or b"")))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)
