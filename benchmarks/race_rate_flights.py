"""The demo's flights with the twelve configurations of `benchmarks.race` as challengers. RACE_CPU is their share of a core."""

import os
from dataclasses import replace

from benchmarks.race import configurations
from penstock.examples import flights

pipeline = replace(
    flights.pipeline, challengers=configurations(), race_cpu=float(os.environ.get("RACE_CPU", "1.0"))
)
