"""Lines of an events file → records to feed, and lines of an expected file → what should come of them.

Laws of this file:
- Pure: text in. A line that cannot be used is an error that names the file and the line.
- What a line leaves out is what a producer would send: the declared key, and the event's own time as the record's timestamp.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from penstock.features.redis.keys import record_key
from penstock.stream.definitions import Pipeline, Source
from penstock.stream.featurize.decode import Rejected, event_time

EVENT = {"topic", "key", "value", "raw", "timestamp"}
TIME = {"time"}
#: What a line of an expected file may be about: the name of its first column says which.
KINDS = ("sample", "dead_letter", "prediction_of", "document")
#: Columns that lines have beside features and values; a feature of such a name is `features.NAME`.
OWN = {*KINDS, "topic", "reason", "at", "key", "label", "label_at", "waits", "entity", "features", "values"}


class BadLine(ValueError):
    """A line that cannot be used; the message says where it is and what is wrong."""


class Fed(NamedTuple):
    """One record for a source topic. `line` is where it stands in its file (0: it was given by code)."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    line: int = 0


class TimePasses(NamedTuple):
    """Every source has reached event time `at` (ms), though no event says so: labels that did not come by then will not come."""

    at: int
    line: int = 0


class Expected(NamedTuple):
    """One line of an expected file: what it is about, and its columns."""

    line: int
    kind: str
    columns: dict[str, Any]


class Feeding:
    """Makes records of what lines and tests give. It remembers the newest timestamp, for records that name no time."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.sources = {source.name: source for source in pipeline.sources}
        self.newest_ms = 0

    def record(self, given: Mapping[str, Any], line: int = 0) -> Fed:
        """The record that `topic`, `key`, `value` or `raw`, and `timestamp` say. Raises `BadLine` without the file's name."""
        source = self._source(given.get("topic"))
        value, raw = given.get("value"), given.get("raw")
        if "raw" in given and not isinstance(raw, str):
            raise BadLine(
                "`raw` is the record's text as it stands, such as a broken JSON object; `value` takes an object"
            )
        data = raw.encode() if isinstance(raw, str) else None if value is None else _encoded(value)
        fields = value if isinstance(value, dict) else {}
        key = given["key"] if "key" in given else _key(fields, source)
        if not (key is None or isinstance(key, str)):
            raise BadLine(f"the key is text or null, not {key!r}")
        self.newest_ms = max(self.newest_ms, at := self._timestamp(given.get("timestamp"), fields, source))
        return Fed(source.name, None if key is None else key.encode(), data, at, line)

    def _source(self, name: Any) -> Source:
        if name is None and len(self.sources) == 1:
            return next(iter(self.sources.values()))
        if name not in self.sources:
            said = (
                "the line names no topic" if name is None else f"topic {name!r} is no source of this pipeline"
            )
            raise BadLine(f"{said}; its sources are {', '.join(self.sources)}")
        return self.sources[name]

    def _timestamp(self, given: Any, fields: Mapping[str, Any], source: Source) -> int:
        """The record's own time: as given, or the event's, or that of the record before."""
        try:
            return event_time(fields[source.time] if given is None else given, "timestamp")
        except Rejected as error:
            if given is not None:
                raise BadLine(str(error)) from None
        except (KeyError, TypeError):
            if given is not None:
                raise BadLine(
                    f"timestamp {given!r} is neither milliseconds since the epoch nor RFC 3339 text"
                ) from None
        return self.newest_ms


def events(text: str, name: str, feeding: Feeding) -> Iterator[Fed | TimePasses]:
    """The records of an events file, in its order. Raises `BadLine`."""
    for number, found in _objects(text, name):
        try:
            if found.keys() == TIME:
                yield TimePasses(event_time(found["time"], "time"), number)
                continue
            if strange := sorted(found.keys() - EVENT):
                hint = "; is this the event itself? It belongs under `value`" if "value" not in found else ""
                raise BadLine(
                    f"{', '.join(strange)} is nothing that a line has (topic, key, value or raw, timestamp; or time alone){hint}"
                )
            if "value" not in found and "raw" not in found:
                raise BadLine("the line has no `value`; null is a tombstone")
            yield feeding.record(found, number)
        except (BadLine, Rejected, TypeError) as error:
            raise BadLine(f"{name}, line {number}: {error}") from None


def expected(text: str, name: str) -> list[Expected]:
    """The lines of an expected file. Raises `BadLine`."""
    lines = []
    for number, found in _objects(text, name):
        kind = next((kind for kind in KINDS if kind in found), None)
        if kind is None:
            raise BadLine(f"{name}, line {number}: a line begins with one of {', '.join(KINDS)}")
        lines.append(Expected(number, kind, flat(found)))
    return lines


def flat(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line's columns: those of `features` and `values` by their own names, everything else as it is.

    >>> flat({"sample": "p1", "features": {"card.paid_10m": 2.0, "key": 7}})
    {'sample': 'p1', 'card.paid_10m': 2.0, 'features.key': 7}
    """
    found: dict[str, Any] = {}
    for name, value in line.items():
        if name in ("features", "values") and isinstance(value, dict):
            found.update({f"{name}.{one}" if one in OWN else one: it for one, it in value.items()})
        else:
            found[name] = value
    return found


def _objects(text: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file, with the numbers of their lines; empty lines and those that begin with # are left out."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            raise BadLine(f"{name}, line {number}: not JSON: {error}") from None
        if not isinstance(found, dict):
            raise BadLine(f"{name}, line {number}: not a JSON object")
        yield number, found


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def _key(fields: Mapping[str, Any], source: Source) -> str | None:
    """The key that a producer gives the record, None where the event does not say."""
    try:
        return record_key(fields, source.key_fields)
    except TypeError:
        return None
