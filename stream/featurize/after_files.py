"""A pipeline whose history came from files (`stream.bootstrap`): what of its topics is still to be taken.

Laws of this file:
- The files are the truth about everything older than `since`: a record of the topics with an older event time is skipped, whether
  it stood in the files or not. From `since` on each record counts as it does in any pipeline.
- What is skipped moves the position and nothing else: not the newest event time, by which others are judged to be late.
- A record without a usable event time cannot be called older: it is a dead letter, as anywhere.
- History that came from files cannot be rebuilt from topics: state that is lost is an error, never an empty beginning.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.featurize.decode import BEFORE, Item, Rejected, SourceDecoder
from penstock.stream.log.protocol import Log, Record
from penstock.stream.messages import LabelRecord, Sample, decode_entry

FILES_RUN = "files:"
"""What the run of a task's change begins with while its history is read from files."""
ORIGIN = "files."
"""What the topic id of an origin begins with that is no topic's: one of files. See `origin_of`."""
LOOKED_AT = 1_000


def origin_of(plan: str, source: int) -> str:
    """What stands in the place of the id of a topic, for the rows of its files under the plan of this digest."""
    return f"{ORIGIN}{plan}.{source}"


def plan_in(origin: str) -> str:
    """The digest of the plan in what `origin_of` gave; empty for a topic's own id.

    >>> plan_in(origin_of("a1b2", 0)), plan_in("cJ7uIyqYS5SpJ3MTfu0b8w")
    ('a1b2', '')
    """
    return origin.removeprefix(ORIGIN).rpartition(".")[0] if origin.startswith(ORIGIN) else ""


def items_since(decoder: SourceDecoder, records: Iterable[Record], newest_at: int, since: int) -> list[Item]:
    """The items of one partition's records, those that are older than `since` as `BEFORE`.

    It decodes twice what it keeps: it is for the stretch in which a partition may still have older ones.
    """
    found: list[Item] = []
    for record in records:
        if _is_before(decoder, record, since):
            place = (decoder.index, record.partition, record.offset)
            found.append(Item(newest_at, *place, newest_at, "", None, BEFORE, record))
        else:
            items = decoder.items([record], newest_at)
            newest_at = items[-1].newest_at
            found += items
    return found


def _is_before(decoder: SourceDecoder, record: Record, since: int) -> bool:
    try:
        return decoder.decode(record, -1)[1] < since
    except (Rejected, ValueError, TypeError, KeyError, ArithmeticError):
        return False


def plan_of_samples(log: Log, samples_topic: str) -> str:
    """The digest of the plan of the files that a samples log begins with; empty where it begins with a topic's records."""
    start, end = log.bounds([(samples_topic, 0)])[(samples_topic, 0)]
    if start == end:
        return ""
    reader = log.reader({(samples_topic, 0): start})
    try:
        for record in reader.poll(LOOKED_AT, 5.0):
            try:
                entry = decode_entry(record.value or b"")
            except (ValueError, RecursionError):
                continue  # somebody else's
            if isinstance(entry, Sample | LabelRecord):
                return plan_in(entry.origin.topic_id)
    finally:
        reader.close()
    return ""


def check_not_from_files(pipeline: Pipeline, log: Log, samples_topic: str) -> None:
    """Refuse to begin a pipeline anew from its topics where what was learned began with files. Raises `DefinitionError`."""
    if plan_of_samples(log, samples_topic):
        raise DefinitionError(
            f"the history of {pipeline.name!r} came from files, and its state is gone from Redis: its topics do not reach back "
            "that far. Give the same `penstock bootstrap FILE` once more: it makes the state anew, and appends nothing that "
            "stands in the samples log. Or start over with `penstock reset FILE`"
        )
