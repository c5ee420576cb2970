"""Which watchers a definition asks for."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.watching.detectors import detectors_of
from penstock.stream.learn.watching.estimate import Estimate
from penstock.stream.learn.watching.quality import DataQuality
from penstock.stream.learn.watching.schema import Schema
from penstock.stream.learn.watching.segment_flow import SegmentFlow
from penstock.stream.learn.watching.watcher import Watcher, Watchers
from penstock.stream.quality import OFF


def watchers_of(pipeline: Pipeline, names: Sequence[str]) -> Watchers:
    """The watchers of a pipeline whose vectors hold `names`."""
    chosen: list[Watcher] = []
    if pipeline.labelled and pipeline.kind == "binary":
        chosen.append(Estimate(pipeline.alarms_per_year))
    if pipeline.asked_quality != OFF:
        whole = DataQuality(pipeline)
        chosen.append(whole)
        if pipeline.segments:
            chosen.append(SegmentFlow(pipeline, whole))
    if pipeline.asked_quality.schema != "off":
        chosen.append(Schema(pipeline))
    return Watchers([*chosen, *detectors_of(pipeline, names)])
