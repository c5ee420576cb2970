"""What a definition file needs from the flow."""

from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.grids import grid
from penstock.stream.quality import Quality
from penstock.stream.triggers import OnInputs, OnLabels, OnPerformance, OnSchedule

__all__ = [
    "Label",
    "OnInputs",
    "OnLabels",
    "OnPerformance",
    "OnSchedule",
    "Pipeline",
    "Quality",
    "Source",
    "grid",
]
