"""The sources' rows in the order in which featurize steps records of topics: that of event time, ties as in `featurize.merge`.

Laws of this file:
- It is the same merge of the same heads; only what is waited for differs. A partition that has nothing at present is not waited
  for once no row of its source can be as old as what is given: files say how far their rows are out of order.
- The source that is furthest behind is read on, so what waits in memory is about a batch, and what files are out of order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from penstock.stream.bootstrap.rows import Mark, SourceRows
from penstock.stream.featurize.decode import Item
from penstock.stream.featurize.merge import Head, Merge

READ_ROWS = 4_096


class Merged:
    """Items of all sources in order. `stepped` is the next offset of each head, below which items were stepped already."""

    def __init__(
        self, sources: Sequence[SourceRows], heads: Sequence[Head], stepped: Mapping[Head, int]
    ) -> None:
        self.sources, self.heads = sources, set(heads)
        self.merge = Merge(heads)
        self.stepped = {head: offset for head, offset in stepped.items() if offset}

    def take(self, most: int) -> list[Item]:
        """The next items, up to `most`; none once all are given."""
        while True:
            limit = min(source.limit for source in self.sources)
            items = list(islice(self.merge.take(self.heads, limit), most))
            left = [source for source in self.sources if not source.exhausted]
            if items or not left:
                return items
            behind = min(left, key=lambda source: source.limit)
            while not behind.exhausted and behind.limit <= limit:
                self._read(behind, max(most, READ_ROWS))

    def _read(self, source: SourceRows, most: int) -> None:
        for head, items in source.take(most).items():
            known = self.stepped.get(head, 0)
            left = [item for item in items if item.offset >= known] if known else items
            if known and left:
                del self.stepped[head]
            self.merge.enqueue(head, left)

    def marks(self, stepped: Mapping[Head, int]) -> list[Mark]:
        """From where each source is to be read so that everything not stepped comes again."""
        marks = []
        for source in self.sources:
            index = source.decoder.index
            of = {number: offset for (head, number), offset in stepped.items() if head == index}
            marks.append(source.settled(of))
        return marks
