"""What a worker asks of its source topics: partitions, ends, and whether they are still those that it began with.

Laws of this file:
- Nobody tells of partitions that are added, nor of a topic that is made anew: a group hears within minutes, and who reads given
  partitions never does. So a worker looks itself, every `LOOK_EVERY_MS`: a request or two for each source, and nothing per batch.
- A broker that does not answer ends nothing, and nobody waits for it here: only what it says ends a worker.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.partitions import PartitionsChanged
from penstock.stream.featurize.position import TopicRecreated
from penstock.stream.log.protocol import TP, Log, LogError, Member

logger = logging.getLogger("penstock.featurize")

LOOK_EVERY_MS = 5_000
Look = Callable[[], None]


def source_partitions(pipeline: Pipeline, log: Log) -> int:
    """How many partitions each source has. Raises `DefinitionError` where one has more than another."""
    counts = {source.name: log.partitions(source.name) for source in pipeline.sources}
    if len(set(counts.values())) > 1:
        raise DefinitionError(
            f"sources must have equal partition counts, these have {counts}: recreate the smaller topic"
        )
    return next(iter(counts.values()))


def at_end(member: Member, log: Log, heads: Mapping[TP, Head], *, idle: bool) -> set[Head]:
    """The heads whose reading position is at the broker's high watermark. Asked of the broker itself when nothing came."""
    positions, watermarks = member.positions(), member.high_watermarks()
    if idle and (unsure := [tp for tp in heads if tp not in watermarks]):
        watermarks = {**watermarks, **{tp: bounds[1] for tp, bounds in log.bounds(unsure).items()}}
    return {head for tp, head in heads.items() if tp in watermarks and positions.get(tp, 0) >= watermarks[tp]}


def at_once(look: Look) -> None:
    """Look now."""
    look()


def beside(look: Look) -> None:
    """Look in a thread of its own, which nobody waits for: it may take long, and the process may end meanwhile."""
    threading.Thread(target=look, name="featurize-look", daemon=True).start()


class SourceTopics:
    """The source topics as a worker found them when it began: their ids, and how many `partitions` each has.

    `do` has a look done, now or beside the caller.
    """

    def __init__(
        self, pipeline: Pipeline, log: Log, partitions: int, do: Callable[[Look], None] = at_once
    ) -> None:
        self.pipeline, self.log, self.partitions, self.do = pipeline, log, partitions, do
        self.ids = self._ids()
        self.looked_ms, self.looking = 0, False
        self.found: Exception | None = None

    def _ids(self) -> dict[str, str]:
        return {source.name: self.log.topic_id(source.name) for source in self.pipeline.sources}

    def look_again(self, wall_ms: int) -> None:
        """Have `look` done where the last time was some seconds ago; raises what it found since. The clock may jump."""
        if not self.looking and abs(wall_ms - self.looked_ms) >= LOOK_EVERY_MS:
            self.looked_ms, self.looking = wall_ms, True
            self.do(self._look)
        if self.found is not None:
            raise self.found

    def _look(self) -> None:
        try:
            self.look()
        except Exception as error:
            self.found = error
        finally:
            self.looking = False

    def look(self) -> None:
        """Raise what a worker that began now would end with.

        `TopicRecreated` for a topic that is another one by now, `PartitionsChanged` where all sources have more partitions,
        `DefinitionError` where some have. Of a topic that is missing, or cannot be asked about, whoever reads it tells.
        """
        try:
            ids, partitions = self._ids(), source_partitions(self.pipeline, self.log)
        except LogError as error:
            logger.debug("the source topics cannot be looked at: %s", error)
            return
        for topic, found in ids.items():
            if found != self.ids[topic]:
                raise TopicRecreated(topic)
        if partitions != self.partitions:
            raise PartitionsChanged(self.partitions, partitions)
