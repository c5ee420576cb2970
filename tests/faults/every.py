"""Every fault, in the order of importance."""

from __future__ import annotations

from tests.faults import kills, points
from tests.faults.fault import Fault

FAULTS: list[Fault] = [*kills.FAULTS, *points.FAULTS]
