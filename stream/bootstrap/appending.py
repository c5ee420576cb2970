"""What the rows gave, appended to the samples log and the dead letters once, whenever a run was stopped.

Laws of this file:
- The files give the same entries in the same order whenever they are read. So what stands in the samples log behind the last
  checkpoint is what this run makes first: it is compared, entry by entry, and not appended again.
- A dead letter may be repeated, under the same id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.stream.bootstrap.plan import CannotBootstrap
from penstock.stream.learn.entries import entry_of
from penstock.stream.log.protocol import Log, Out
from penstock.stream.messages import Command, Tick

POLL_RECORDS = 5_000


class Appending:
    """Appends to a log whose topic `samples` was written up to `ends`, an offset for each of its partitions, at the least.

    What is neither for it nor for `dead_letters` is left out: nobody is to be alerted to what is long past.

    `skipped` counts entries that stood there already. Used from one thread.
    """

    def __init__(self, log: Log, samples: str, dead_letters: str, ends: Sequence[int]) -> None:
        self.log, self.samples, self.ends = log, samples, list(ends)
        self.kept = {samples, dead_letters}
        bounds = log.bounds([(samples, shard) for shard in range(len(ends))])
        self.tails = [self._tail(shard, bounds[(samples, shard)][1]) for shard in range(len(ends))]
        self.ahead = [bounds[(samples, shard)][1] > end for shard, end in enumerate(ends)]
        self.skipped = 0

    def _tail(self, shard: int, end: int) -> Iterator[tuple[int, bytes]]:
        """(offset, entry) from the last checkpoint on, but for commands, which others append."""
        start, tp = self.ends[shard], (self.samples, shard)
        if start >= end:
            return
        reader = self.log.reader({tp: start})
        try:
            while reader.positions()[tp] < end:
                for record in reader.poll(POLL_RECORDS, 1.0):
                    if record.offset < end and not isinstance(entry_of(record.value), Command):
                        yield record.offset, record.value or b""
        finally:
            reader.close()

    def append(self, outs: Sequence[Out]) -> None:
        """Append what is not there. Raises `CannotBootstrap` where something else is there."""
        outs = [out for out in outs if out.topic in self.kept]
        if any(self.ahead):
            outs = [out for out in outs if out.topic != self.samples or not self._is_there(out)]
        if outs:
            self.log.append(outs)

    def _is_there(self, out: Out) -> bool:
        shard = out.partition or 0
        if not self.ahead[shard]:
            return False
        found = next(self.tails[shard], None)
        if found is None:
            self.ahead[shard] = False
            return False
        offset, entry = found
        if entry != out.value and not _same_tick(entry, out.value or b""):
            raise CannotBootstrap(
                f"{self.samples}[{shard}] holds another entry at offset {offset} than these files give: they changed, or another "
                "role wrote to it. `penstock reset FILE` starts over"
            )
        self.ends[shard] = offset + 1
        self.skipped += 1
        return True

    def reached(self) -> list[int]:
        """The offset behind what was appended, or compared, in each partition."""
        tps = [(self.samples, shard) for shard in range(len(self.ends))]
        bounds = self.log.bounds(tps)
        for shard, tp in enumerate(tps):
            if not self.ahead[shard]:
                self.ends[shard] = bounds[tp][1]
        return list(self.ends)


def _same_tick(one: bytes, other: bytes) -> bool:
    """Whether two entries are ticks that say the same of event time: a tick names the wall clock's, too."""
    a, b = entry_of(one), entry_of(other)
    return isinstance(a, Tick) and isinstance(b, Tick) and (a.times, a.look) == (b.times, b.look)
