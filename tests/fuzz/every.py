"""Every target."""

from __future__ import annotations

from tests.fuzz import asked, events, formats, stored
from tests.fuzz.target import Target

TARGETS: list[Target] = [*events.TARGETS, *formats.TARGETS, *stored.TARGETS, *asked.TARGETS]
