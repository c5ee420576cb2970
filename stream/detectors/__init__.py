"""Drift detectors that a definition asks for: each entry of `Pipeline(monitors=[...])`."""

from penstock.stream.detectors.check import checked
from penstock.stream.detectors.monitor import ERROR, LOSS, OF_LABELS, PREDICTION, Monitor
from penstock.stream.detectors.named import Adwin, Kswin, PageHinkley, RateRise
from penstock.stream.detectors.own import Detector

__all__ = [
    "ERROR",
    "LOSS",
    "OF_LABELS",
    "PREDICTION",
    "Adwin",
    "Detector",
    "Kswin",
    "Monitor",
    "PageHinkley",
    "RateRise",
    "checked",
]
