"""What a bootstrap is to read, up to where, and from where the topics go on: looked at before anything is written.

Laws of this file:
- The same command over the same files is the same plan, by its digest: so an unfinished one is found again and ended, and another
  one is refused. Whatever a row could change is in it: the recipe, the files and their sizes, the partitions, where it ends.
- A plan that was looked at once is stored with the state and is not looked at again: what it says of rows is what they were.
"""

from __future__ import annotations

import hashlib

import msgspec

from penstock.stream.definition_error import DefinitionError
from penstock.stream.messages import rfc3339

TOLD_GAP_MS = 3_600_000


class CannotBootstrap(DefinitionError):
    """Why nothing was written, or no more; the message says what would do."""


class File(msgspec.Struct, frozen=True, array_like=True):
    """One file, and how many bytes it has (-1: not known)."""

    address: str
    bytes: int


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in the files of one source.

    `rows` are those that are to be read, `after` those of event times that are the topic's to tell. `unusable` ones have no
    usable event time, `late` ones stand more than the source's grace behind a row before them: both become dead letters. Times
    are in ms, -1 without a row. `behind_ms` is how far one that is not late stands behind one before it, at most.
    """

    rows: int = 0
    after: int = 0
    unusable: int = 0
    late: int = 0
    oldest_at: int = -1
    newest_at: int = -1
    behind_ms: int = 0


class SourceFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one source: each of `runs` is read in its order, and they are merged by event time."""

    topic: str
    runs: list[list[File]]
    looked: Looked = Looked()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is read up to where. Rows from `until_ms` on are the topics' to tell; -1: all rows are read.

    `offsets` are where the topics go on by "topic/partition"; without any, where their event times reach `until_ms`. `asked` is
    the end as it was asked for, which the digest names: empty where the files say it.
    """

    pipeline: str
    recipe: str
    partitions: int
    asked: str
    until_ms: int
    offsets: dict[str, int]
    sources: list[SourceFiles]

    @property
    def digest(self) -> str:
        """Twelve hex digits that name it."""
        files = [[source.topic, source.runs] for source in self.sources]
        said = [
            self.pipeline,
            self.recipe,
            self.partitions,
            self.asked,
            sorted(self.offsets.items()),
            files,
        ]
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:12]

    @property
    def rows(self) -> int:
        """How many rows are to be read."""
        return sum(source.looked.rows for source in self.sources)

    @property
    def since(self) -> int:
        """What the position document is to say: see `Position.since`."""
        return 0 if self.offsets else self.until_ms


def until_of(sources: list[SourceFiles]) -> int:
    """Where files end that nobody gave an end for: behind the newest event of the source that ends first.

    Up to there every source has its events, as far as files can say. Raises `CannotBootstrap` for a source without one.
    """
    for source in sources:
        if source.looked.newest_at < 0:
            raise CannotBootstrap(
                f"the files of {source.topic!r} have no row with a usable event time: say with --until from which event time on "
                "the topics count"
            )
    return min(source.looked.newest_at for source in sources) + 1


def lines_of(plan: Plan, starts: dict[str, tuple[int, int]], where: dict[str, str]) -> list[str]:
    """The plan for people. `starts` says (first offset to read, end) of each partition, `where` what is written where."""
    lines = [f"{plan.pipeline}: {plan.rows:,} rows to read (recipe {plan.recipe}, plan {plan.digest})"]
    for source in plan.sources:
        looked, files = source.looked, sum(len(run) for run in source.runs)
        span = "" if looked.oldest_at < 0 else f", {rfc3339(looked.oldest_at)} to {rfc3339(looked.newest_at)}"
        lines.append(f"  {source.topic}: {looked.rows:,} rows in {files} file{'s' * (files != 1)}{span}")
        if len(source.runs) > 1:
            lines.append(f"    {len(source.runs)} runs of files, merged by event time")
        gap_ms = plan.until_ms - looked.newest_at
        if not plan.offsets and looked.newest_at >= 0 and gap_ms >= TOLD_GAP_MS:
            lines.append(
                f"    note: they end {gap_ms / 3_600_000:,.1f} h before --until, and what the topic has of that time is skipped"
            )
        if looked.after:
            lines.append(
                f"    {looked.after:,} more rows are from the end on, and are taken from the topic instead"
            )
        if looked.late:
            lines.append(
                f"    {looked.late:,} rows are more than the source's grace behind a row before them: dead letters. Rows out of "
                "order? Sort the files, or give files that overlap in time as several --source"
            )
        if looked.unusable:
            lines.append(f"    {looked.unusable:,} rows have no usable event time: dead letters")
    if plan.offsets:
        lines.append("from the offsets given on, every record of the topics counts")
    else:
        lines.append(f"until {rfc3339(plan.until_ms)}: older records of the topics are skipped and counted")
    for name, (start, end) in starts.items():
        lines.append(f"  {name}: from offset {start:,} on ({end - start:,} records there now)")
    lines += [f"writes {what}: {place}" for what, place in where.items()]
    return lines
