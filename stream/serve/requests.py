"""What a request says: its events and its options, checked.

Laws of this file:
- A wrong option is a refusal that names it; none is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.features.define.durations import milliseconds
from penstock.stream.featurize.decode import Rejected, event_time
from penstock.stream.serve.answers import Problem
from penstock.stream.serve.asking import Asking, Refusal

_many = msgspec.json.Decoder(list[msgspec.Raw]).decode
MOST_DIGITS = 18
OPTIONS = {
    "min_position": "the samples-log offset that the models must have reached",
    "at_least_version": "a version that the models must have made",
    "wait_ms": "how long to wait for that, in ms (1000)",
    "max_age": "features whose entity had no event for so long are named as stale, such as 1h",
    "as_of": "the moment of event time that features are wanted of, in ms or RFC 3339 (the event's own)",
    "version": "a kept version that is asked by itself, too: an id, a name, champion or previous",
    "explain": "true: how much each input added to the prediction",
    "vector": "true: the inputs as the models took them",
}


def asking_of(query: Mapping[str, str], *, explain: bool = False, most_wait_ms: int = 10_000) -> Asking:
    """The options of a request. Raises `Refusal`."""
    for name in query:
        if name not in OPTIONS:
            raise Refusal(400, Problem(f"there is no option {name!r}: there are {', '.join(OPTIONS)}"))
    return Asking(
        min_position=_whole(query, "min_position", -1),
        at_least_version=query.get("at_least_version", ""),
        wait_ms=min(_whole(query, "wait_ms", 1_000), most_wait_ms),
        max_age_ms=_duration(query, "max_age"),
        as_of_ms=moment_of(query.get("as_of"), "as_of"),
        version=query.get("version", ""),
        explain=explain or _yes(query, "explain"),
        vector=_yes(query, "vector"),
    )


def events_of(body: bytes, most: int) -> tuple[list[bytes], bool]:
    """The events of a body, and whether they came as a list. Raises `Refusal`."""
    text = body.lstrip()
    if not text:
        raise Refusal(400, Problem("the body is empty: send an event, or a list of events, as JSON"))
    if not text.startswith(b"["):
        return [body], False
    try:
        events = [bytes(one) for one in _many(text)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, Problem(f"the body is no JSON list of events: {error}")) from None
    if len(events) > most:
        raise Refusal(413, Problem(f"{len(events)} events in one request, above the limit of {most}"))
    return events, True


def moment_of(text: str | None, name: str = "at") -> int | None:
    """A moment of event time, in ms or RFC 3339. Raises `Refusal`."""
    if text is None:
        return None
    try:
        return event_time(int(text) if is_whole(text) else text, name)
    except Rejected as error:
        raise Refusal(400, Problem(str(error))) from None


def is_whole(text: str) -> bool:
    """Whether a text is a whole number of 64 bits in ASCII: `int` takes other digits, too, and fails for thousands of them."""
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not is_whole(text):
        raise Refusal(400, Problem(f"{name}={text[:40]!r} is no whole number"))
    return int(text)


def _duration(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        return milliseconds(text)
    except ValueError as error:
        raise Refusal(400, Problem(f"{name}: {error}")) from None


def _yes(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false").lower()
    if text not in ("true", "false", "1", "0", ""):
        raise Refusal(400, Problem(f"{name}={text[:40]!r} must be true or false"))
    return text in ("true", "1", "")
