"""A stretch of parcels whose labels turn round, as the roles would have told it: there is something to see."""

from __future__ import annotations

import pytest

from penstock.stream.console.state import States
from tests.stream.console.year import Line, lines_of, status_of, stepped
from tests.stream.generated import entries, parcels

LOOKED_MS = 1_700_000_000_000


@pytest.fixture(scope="session")
def lines() -> list[Line]:
    """Every record of the history and control topics."""
    return lines_of(parcels(), entries(9_000, invert=range(6_000, 9_000)))


@pytest.fixture
def states(lines: list[Line]) -> States:
    """The state after all of them, and a look."""
    found = stepped(["parcels"], lines)
    found.looked("parcels", status_of(found, "parcels"), LOOKED_MS)
    return found
