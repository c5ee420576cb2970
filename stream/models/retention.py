"""Which versions are kept: the newest ones, for a while, and whatever is in use.

Laws of this file:
- A function of what it was told, in order, and so of the samples log: live and replayed alike, the same versions are gone at the
  same record. The shell deletes them from the stores later, when a snapshot covers that record.
- A version in use (every model that takes part, the leader and the committed one among them) is never dropped, however old.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

MOST_VERSIONS = 32
KEPT_FOR_MS = 180 * 86_400_000
REMEMBERED_GONE = 512


class Retention:
    """The versions that are kept, oldest first, and the newest ids that no longer are.

    Args:
        most: how many versions are kept beside those in use.
        kept_for_ms: how long after its birth, in event time, a version is kept that is not in use.
    """

    def __init__(self, most: int = MOST_VERSIONS, kept_for_ms: int = KEPT_FOR_MS) -> None:
        self.most, self.kept_for_ms = most, kept_for_ms
        self.born: dict[str, int] = {}
        self.gone: deque[str] = deque(maxlen=REMEMBERED_GONE)

    def add(self, version: str, at: int) -> None:
        """A version was born at this event time."""
        self.born.pop(version, None)
        self.born[version] = at

    def drop(self, at: int, in_use: Collection[str]) -> list[str]:
        """The versions that are kept no longer as of this event time, oldest first; each is named once."""
        idle = [version for version in self.born if version not in in_use]
        dropped = [
            version
            for number, version in enumerate(idle)
            if number < len(idle) - self.most or self.born[version] < at - self.kept_for_ms
        ]
        for version in dropped:
            del self.born[version]
        self.gone.extend(dropped)
        return dropped

    def why_gone(self, version: str) -> str | None:
        """Why a version can no longer be had, if it was dropped."""
        if version not in self.gone or version in self.born:
            return None
        days = self.kept_for_ms // 86_400_000
        return (
            f"version {version!r} is no longer kept: beside those in use the newest {self.most} are, for {days} days of event "
            "time; name a newer one, or retrain"
        )
