"""Keeps the stored versions what the fold says they are: new ones put, those kept no longer deleted.

Laws of this file:
- A version is deleted only after a snapshot covers the record that dropped it: a worker that goes on from an older snapshot still
  finds every version that a command after it may name.
- What the fold does not know (other recipes' versions, products of retrains nobody adopted) is bounded too: the newest
  `MOST_VERSIONS` of them stay, and all that people gave a name. They are looked through once after each taking up, when the fold
  has caught up.
"""

from __future__ import annotations

import logging

from penstock.stream.learn.fold import Fold
from penstock.stream.models.retention import MOST_VERSIONS
from penstock.stream.models.store import ModelStore
from penstock.stream.models.version import NAMED, BadEnvelope

logger = logging.getLogger("penstock.learn")


class StoredVersions:
    """The versions of one fold in their store."""

    def __init__(self, models: ModelStore) -> None:
        self.models = models
        self.due: list[str] = []
        self.swept = False
        self.stored: set[str] = set()

    def taken_up(self, fold: Fold) -> None:
        """Another fold goes on: what it dropped before may lie there still."""
        self.due, self.swept = list(fold.retention.gone), False

    def put(self, fold: Fold) -> None:
        """Store what the fold made since the last call, and note what it dropped."""
        for version, payload in fold.outputs.versions:
            self.models.put(version, payload)
            self.stored.add(version.id)
        self.due += fold.outputs.dropped
        fold.outputs.versions.clear()
        fold.outputs.dropped.clear()

    def covered(self, fold: Fold, *, caught_up: bool) -> set[str]:
        """A snapshot of the fold as it is was stored: delete what it keeps no longer; the ids stored since the last one."""
        due = [version for version in self.due if version not in fold.retention.born]
        if due:
            self.models.delete(due)
        self.due = []
        if caught_up and not self.swept:
            self.swept = True
            try:
                self._sweep(fold)
            except OSError as error:  # the folder's, for a time: nothing depends on it
                logger.warning(
                    "versions that this fold does not know are left until the next start: %s", error
                )
        stored, self.stored = self.stored, set()
        return stored

    def _sweep(self, fold: Fold) -> None:
        """Delete the oldest of what the fold does not know, beyond `MOST_VERSIONS`."""
        waited_for = {f"retrain-{job}" for job in fold.open_jobs}
        known = {*fold.retention.born, *fold.in_use(), *waited_for}
        unknown = {one for one in self.models.ids() - known if not one.startswith(NAMED)}
        if len(unknown) <= MOST_VERSIONS:
            return
        born: list[tuple[int, str]] = []
        for version_id in unknown:
            try:
                found = self.models.get(version_id)
            except BadEnvelope as error:
                logger.warning("version %s is left where it is: %s", version_id, error)
            else:
                if found is not None:
                    born.append((found[0].position, version_id))
        oldest = [version_id for _, version_id in sorted(born)[:-MOST_VERSIONS]]
        logger.info("deleting %d versions that this fold does not know", len(oldest))
        self.models.delete(oldest)
