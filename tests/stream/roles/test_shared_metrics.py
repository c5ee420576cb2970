"""Metrics of several processes on one page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from penstock.stream.process.shared_metrics import page

WORKER = """
import sys
from penstock.stream.process import shared_metrics
folder, number, rows, position = sys.argv[1:]
shared_metrics.share(folder, int(number))
from penstock.stream.process.health_page import Health
health = Health("serve", shared=folder)
health.rows_answered.labels("cards").inc(float(rows))
health.request_duration_seconds.labels("ok").observe(0.004)
health.served_position.labels("cards").set(float(position))
print(health.status("/metrics")[2].decode())
"""


def told(folder: Path, number: int, rows: int, position: int) -> dict[str, float]:
    """The page, as a process of this number tells it after it has counted."""
    command = [sys.executable, "-c", WORKER, str(folder), str(number), str(rows), str(position)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_counters_and_histograms_are_summed_and_of_gauges_the_least_is_told(tmp_path: Path) -> None:
    first = told(tmp_path, 0, 3, 90)
    rows, position = (
        'penstock_rows_answered_total{pipeline="cards"}',
        'penstock_served_position{pipeline="cards"}',
    )
    assert (first[rows], first[position]) == (3, 90)
    (tmp_path / "counter_7.db").touch()  # of a process that has just begun
    both = told(tmp_path, 1, 4, 80)
    assert (both[rows], both[position]) == (7, 80)
    assert both['penstock_request_duration_seconds_count{outcome="ok"}'] == 2
    assert both['penstock_request_duration_seconds_bucket{le="0.005",outcome="ok"}'] == 2


def test_a_process_that_is_started_again_counts_on_and_needs_no_more_files(tmp_path: Path) -> None:
    rows = 'penstock_rows_answered_total{pipeline="cards"}'
    told(tmp_path, 0, 3, 90)
    files = sorted(tmp_path.iterdir())
    assert told(tmp_path, 0, 2, 95)[rows] == 5 and sorted(tmp_path.iterdir()) == files


def test_only_metrics_that_are_asked_for_are_told(tmp_path: Path) -> None:
    told(tmp_path, 0, 3, 90)
    assert page(str(tmp_path), ()) == b""
    assert b"penstock_served_position" in page(str(tmp_path), ["penstock_served_position"])
