"""What a definition file needs from the flow."""

from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.detectors import Adwin, Detector, Kswin, PageHinkley, RateRise
from penstock.stream.grids import grid
from penstock.stream.quality import Quality
from penstock.stream.serving import Serving
from penstock.stream.triggers import OnInputs, OnLabels, OnPerformance, OnSchedule

__all__ = [
    "Adwin",
    "Detector",
    "Kswin",
    "Label",
    "OnInputs",
    "OnLabels",
    "OnPerformance",
    "OnSchedule",
    "PageHinkley",
    "Pipeline",
    "Quality",
    "RateRise",
    "Serving",
    "Source",
    "grid",
]
