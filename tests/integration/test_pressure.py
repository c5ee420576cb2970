"""What is slow or away costs time and nothing else: a short run of `make pressure`, without its bounds on time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.servers import Servers, servers
from tests.pressure.rows import MOST_MB, run
from tests.pressure.ways import WAYS

RECORDS = 6_000
SHORT = ("model slow", "kafka away")
"""What was mended for, each for another half of it; `make pressure` has all."""


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    with servers() as found:
        yield found


@pytest.mark.long
@pytest.mark.parametrize(
    "pressure", [one for one in WAYS if one.name in SHORT], ids=lambda one: one.name.replace(" ", "-")
)
def test_under_pressure_roles_hold_little_end_when_told_and_lose_nothing(
    pressure: object, started: Servers
) -> None:
    row = run(pressure, started, RECORDS, 3)  # type: ignore[arg-type]
    assert (row["lost"], row["repeated"], row["wrong"]) == (0, 0, 0), row["notes"]
    assert {*row["roles"]} == {"featurize", "learn"}
    for name, role in row["roles"].items():
        assert role["exit"] in (None, 0), (name, role)
        assert role["unhealthy"] == 0, (name, role)
        assert 0 < role["rss_mb"] <= MOST_MB, (name, role)
    assert not [one for one in row["bad"] if "ended by itself" in one], row["bad"]
