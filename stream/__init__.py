"""What a definition file needs from the flow. A name is imported when it is first asked for."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
_HOMES = {
    "definitions": ("Label", "Pipeline", "Source"),
    "detectors": ("Adwin", "Detector", "Kswin", "PageHinkley", "RateRise"),
    "grids": ("grid",),
    "quality": ("Quality",),
    "serving": ("Serving",),
    "triggers": ("OnInputs", "OnLabels", "OnPerformance", "OnSchedule"),
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import what is asked for."""
        for home, names in _HOMES.items():
            if name in names:
                found = globals()[name] = getattr(importlib.import_module(f"penstock.stream.{home}"), name)
                return found
        raise AttributeError(f"module 'penstock.stream' has no attribute {name!r}")
