"""Blocks of labels: the step at which dependent losses may be judged.

Laws of this file
- Everything is computed from past blocks; the judged block never sets its own scale.
- A block is the smallest of 1, 2, 4, ... base blocks whose means have lag-1 correlation <= 0.2 + m/s, with at
  least `min_blocks` of them in the reference. With that much slack, simulation gives a run length to a false
  alarm within a factor two of the stated one for AR(1) noise; the supermartingale bound itself covers
  uncorrelated blocks.
- z >= -1 always, and E[z] <= 0 when the mean difference is at most the reference's own centre 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLIP_LOW = -2.0
CLIP_HIGH = 8.0
CORRELATION_ALLOWED = 0.2
OUTLIER_SIGMAS = 5.0
MAD_TO_SIGMA = 1.4826
SCALE_FLOOR_MARGINS = 0.5
"""A model compared with its own recent copy differs by nothing; the scale is never below half the margin."""

Floats = NDArray[np.float64]
add = np.add.reduce
"""What `Floats.sum()` calls: the same bits, at a fraction of its overhead on short arrays."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How to read one block mean.

    Attributes:
        multiple: base blocks per judged block.
        scale: standard deviation of past block means, outliers clipped.
        kappa: mean of the clipped standardised past means; corrects the bias of clipping.
        correlation: lag-1 correlation of past block means at this size.
        blocks: how many past blocks it rests on.
    """

    multiple: int
    scale: float
    kappa: float
    correlation: float
    blocks: int

    def standardise(self, difference: float, margin: float) -> float:
        """Turn a block's mean difference into z >= -1 for an e-detector."""
        x = (difference - margin) / self.scale
        return (min(max(x, CLIP_LOW), CLIP_HIGH) - self.kappa) / (self.kappa - CLIP_LOW)


def merge(values: Floats, multiple: int) -> Floats:
    """Means of consecutive groups; an incomplete first group is left out, so that the newest values count."""
    if multiple == 1:
        return values
    usable = len(values) // multiple * multiple
    means: Floats = values[len(values) - usable :].reshape(-1, multiple).mean(axis=1)
    return means


def lag1_correlation(values: Floats) -> float:
    """Lag-1 autocorrelation, 0 for a constant series."""
    centred = values - add(values) / len(values)
    power = float(centred @ centred)
    return float(centred[1:] @ centred[:-1]) / power if power > 0 else 0.0


def robust_scale(values: Floats) -> float:
    """Standard deviation after clipping at 5 robust sigmas from the median.

    Clipping keeps one storm from blinding the test for weeks; 5 sigmas keep ordinary heavy tails in.
    """
    middle = median(values)
    spread = OUTLIER_SIGMAS * MAD_TO_SIGMA * median(np.abs(values - middle))
    if spread > 0:
        values = np.minimum(np.maximum(values, middle - spread), middle + spread)
    centred = values - add(values) / len(values)
    return math.sqrt(float(centred @ centred) / (len(values) - 1))


def median(values: Floats) -> float:
    """Middle value; the same as numpy's, at a fraction of its overhead on short arrays."""
    ordered = values.copy()
    ordered.sort()
    half = len(ordered) // 2
    return float(ordered[half]) if len(ordered) % 2 else float(ordered[half - 1] + ordered[half]) / 2


def calibrate(
    differences: Sequence[float] | Floats, margin: float, min_blocks: int = 24, max_multiple: int = 64
) -> Calibration | None:
    """Choose block size, scale and clip correction from past base-block mean differences, oldest first.

    Returns None while there are fewer than `min_blocks` base blocks. If no size is uncorrelated enough, the
    largest size with `min_blocks` blocks is taken.
    """
    values = np.asarray(differences, dtype=np.float64)
    chosen: tuple[int, float, float, Floats] | None = None
    multiple = 1
    while multiple <= max_multiple and len(values) // multiple >= min_blocks:
        means = merge(values, multiple)
        scale = max(robust_scale(means), SCALE_FLOOR_MARGINS * margin, 1e-9)
        correlation = lag1_correlation(means)
        chosen = (multiple, scale, correlation, means)
        if correlation <= CORRELATION_ALLOWED + margin / scale:
            break
        multiple *= 2
    if chosen is None:
        return None
    multiple, scale, correlation, means = chosen
    standard = (means - add(means) / len(means)) / scale
    kappa = float(add(np.minimum(np.maximum(standard, CLIP_LOW), CLIP_HIGH))) / len(means)
    return Calibration(multiple, scale, kappa, correlation, len(means))
