"""Is most of a source dead letters? Judged over windows of its records, told once when it begins and once when it is over.

Laws of this file:
- A function of the log alone: records are counted as they are stepped, no clock is asked, and what is counted is stored with the
  position. A crash repeats an event under the same id, and never makes another.
- A source without dead letters costs and stores nothing: a window opens with a dead letter, or while an episode lasts.
- An episode begins when more than half of a window's records are dead letters, and is over when at most a quarter are: in between
  it would come and go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.stream import topology
from penstock.stream.featurize.dead_letters import kind_of
from penstock.stream.featurize.decode import END_OF_TIME_MS, Item
from penstock.stream.log.protocol import Out, Record
from penstock.stream.messages import ControlData, ControlEvent, encode_json, rfc3339
from penstock.stream.topology import EVENT_HEADERS

WINDOW_RECORDS = 100
FIRING_SHARE = 0.5
OVER_SHARE = 0.25
MOST_KINDS = 8  # of reasons kept in a window; others are counted as dead letters, but never named
KIND = "dead-letters"


class Window:
    """What was seen of one source since a dead letter, or since the last window of an episode.

    `reasons` are [kind, how many, partition, offset of the first]; `began` is [partition, offset, record time in ms] of the
    episode's first dead letter; `episode` is its id, empty while none is told.
    """

    __slots__ = ("began", "dead", "episode", "reasons", "seen")

    def __init__(
        self, episode: str, began: list[int], seen: int = 0, dead: int = 0, reasons: list[Any] | None = None
    ) -> None:
        self.episode, self.began, self.seen, self.dead = episode, began, seen, dead
        self.reasons: list[Any] = reasons or []

    def stored(self) -> list[Any]:
        """As it stands in the position document."""
        return [self.episode, self.began, self.seen, self.dead, self.reasons]


class DeadShare:
    """The judge of all sources of one task: `windows` by source name, empty while all is well."""

    def __init__(self, pipeline: str, topic_ids: Sequence[str], prefix: str = "") -> None:
        self.pipeline, self.topic_ids = pipeline, topic_ids
        self.topic = prefix + topology.CONTROL_ALERTS
        self.windows: dict[str, Window] = {}

    def start(self, stored: Mapping[str, list[Any]]) -> None:
        """Go on with what a position document says."""
        self.windows = {source: Window(*said) for source, said in stored.items()}

    def stored(self) -> dict[str, list[Any]]:
        """What the position document is to say."""
        return {source: self.windows[source].stored() for source in sorted(self.windows)}

    def take(self, item: Item, reason: str | None) -> Out | None:
        """Count one record, a dead letter if there is a `reason`; the event to append when something begins or ends.

        Of a record that is none, only needed while `windows` is not empty.
        """
        record = item.record
        window = self.windows.get(record.topic)
        if window is None:
            if reason is None:
                return None
            began = [record.partition, record.offset, record.timestamp_ms]
            window = self.windows[record.topic] = Window("", began)
        window.seen += 1
        if reason is not None:
            window.dead += 1
            _count(window.reasons, kind_of(reason), record)
        return self._judge(window, item) if window.seen == WINDOW_RECORDS else None

    def _judge(self, window: Window, item: Item) -> Out | None:
        """Close a full window: it says that an episode begins, goes on, or is over."""
        source, share = item.record.topic, window.dead / window.seen
        begins = not window.episode and share > FIRING_SHARE
        over = bool(window.episode) and share <= OVER_SHARE
        if begins:
            window.episode = self._episode_id(item, window)
        told = self._event(window, item, share, "resolved" if over else "firing") if begins or over else None
        if window.episode and not over:
            self.windows[source] = Window(window.episode, window.began)
        else:
            del self.windows[source]
        return told

    def _episode_id(self, item: Item, window: Window) -> str:
        partition, offset, _ = window.began
        text = "\x1f".join((self.pipeline, KIND, self.topic_ids[item.source], str(partition), str(offset)))
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def _event(self, window: Window, item: Item, share: float, state: str) -> Out:
        record, (partition, offset, since_ms) = item.record, window.began
        detail: dict[str, Any] = {"records": window.seen, "dead_letters": window.dead}
        said = f"{window.dead} of the last {window.seen} records of {record.topic!r} are dead letters"
        if window.reasons:
            kind, count, p, o = max(window.reasons, key=lambda one: one[1])
            detail |= {"reason": kind, "count": count, "example": {"partition": p, "offset": o}}
            said += f", {count} of them because: {kind} (such as partition {p}, offset {o})"
        data = ControlData(
            pipeline=self.pipeline,
            episode=window.episode,
            kind=KIND,
            state=state,
            severity="warning" if state == "firing" else "info",
            reason=f"most of a source cannot be used: {said}"
            if state == "firing"
            else f"a source can be used again: {said}",
            detector={"name": KIND, "subject": record.topic, "params": detail},
            statistic=share,
            threshold=FIRING_SHARE if state == "firing" else OVER_SHARE,
            effect=share,
            since={"at": _time(since_ms), "partition": partition, "offset": offset},
            detected_at={
                "at": _time(record.timestamp_ms),
                "partition": record.partition,
                "offset": record.offset,
            },
            suggested_action="none",
        )
        event = ControlEvent(
            id=f"{window.episode}-{'1' if state == 'firing' else '2'}-note",
            source=f"penstock/{self.pipeline}",
            type="penstock.note",
            subject=record.topic,
            time=rfc3339(_time(record.timestamp_ms)),
            data=data,
        )
        return Out(self.topic, self.pipeline.encode(), encode_json(event), EVENT_HEADERS)


def _count(reasons: list[Any], kind: str, record: Record) -> None:
    for one in reasons:
        if one[0] == kind:
            one[1] += 1
            return
    if len(reasons) < MOST_KINDS:
        reasons.append([kind, 1, record.partition, record.offset])


def _time(timestamp_ms: int) -> int:
    """A record's own Kafka time, which a producer may have set to anything, as one that RFC 3339 has."""
    return min(max(timestamp_ms, 0), END_OF_TIME_MS - 1)
