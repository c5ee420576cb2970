"""The schemas that a process has asked for, so that each is asked for once.

Laws of this file:
- Nothing is asked of the registry for a record: `learn` is told the ids of a batch, and asks for those that are new.
- An id that the registry does not know is asked for again after `UNKNOWN_S`: a schema may be registered behind its first record.
- A registry that is away is asked again after half a second, then a second, and so on up to `MOST_RETRY_MS`; a batch with many
  new ids goes on later, with what is known by then, after `MOST_ASKING_S`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cache

from penstock.stream.definitions import Pipeline
from penstock.stream.formats.registry import HttpRegistry, Registry, Schema
from penstock.stream.formats.unread import RegistryUnavailable, Unreadable
from penstock.stream.process.settings import Settings

UNKNOWN_S = 60.0
MOST_UNKNOWN = 100_000
MOST_ASKING_S = 10.0
FIRST_RETRY_MS = 500
MOST_RETRY_MS = 30_000


class Schemas:
    """What is known of a registry's schemas. `waiting` is whether it did not answer when it was asked last."""

    def __init__(self, registry: Registry, now_s: Callable[[], float] = time.monotonic) -> None:
        self.registry, self.now_s = registry, now_s
        self.known: dict[int, Schema] = {}
        self.unknown: dict[int, float] = {}
        self.asked = self.failures = 0
        self.learned_s = 0.0

    @property
    def waiting(self) -> bool:
        """Whether the registry is waited for."""
        return self.failures > 0

    def learn(self, numbers: Iterable[int]) -> None:
        """Ask for the schemas with these ids that are not known yet. Raises `RegistryUnavailable`."""
        began_s = self.now_s()
        for number in numbers:
            if number in self.known or self._is_unknown(number, began_s):
                continue
            if self.now_s() - began_s > MOST_ASKING_S:
                raise RegistryUnavailable(
                    "the schema registry has been asked for many schemas, and goes on being asked", 0
                )
            self._ask(number)
        self.learned_s = self.now_s()

    def _is_unknown(self, number: int, now_s: float) -> bool:
        """Whether the registry said so lately, or for the batch that is still being learned, however long that takes."""
        said_s = self.unknown.get(number)
        return said_s is not None and (now_s - said_s < UNKNOWN_S or said_s > self.learned_s)

    def _ask(self, number: int) -> None:
        self.asked += 1
        try:
            found = self.registry.schema(number)
        except RegistryUnavailable as error:
            error.retry_ms = min(FIRST_RETRY_MS << min(self.failures, 10), MOST_RETRY_MS)
            self.failures += 1
            raise
        self.failures = 0
        if found is None:
            if len(self.unknown) >= MOST_UNKNOWN:
                self.unknown.clear()
            self.unknown[number] = self.now_s()
        else:
            self.unknown.pop(number, None)
            self.known[number] = found

    def of(self, number: int) -> Schema:
        """The schema with this id, which was asked for. Raises `Unreadable` if the registry knows none."""
        found = self.known.get(number)
        if found is None:
            raise Unreadable(f"the registry knows no schema {number}")
        return found


def schemas_for(pipeline: Pipeline, settings: Settings) -> Schemas | None:
    """The schemas of the settings' registry; None where no source of the pipeline names any.

    Raises `SettingError` where one does and there is no address.
    """
    return Schemas(HttpRegistry(settings)) if any(one.by_id for one in pipeline.sources) else None


@cache
def own_schemas() -> Schemas:
    """Those of the registry that this process's environment names: one memory for everything that a command reads.

    Raises `SettingError` where it names none.
    """
    return Schemas(HttpRegistry(Settings.from_env()))
