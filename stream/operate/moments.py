"""Event times as people give them, and the ranges they bound.

Laws of this file:
- Pure. What is no time, and a range that holds nothing, is an error that says so.
"""

from __future__ import annotations

import re
from datetime import datetime

from penstock.stream.featurize.decode import Rejected, event_time
from penstock.stream.operate.training_set import Span

Moment = int | str | datetime
"""An event time: ms since the epoch, RFC 3339 with a zone, or a datetime with one."""


def span_of(start: Moment | None, stop: Moment | None, error: type[Exception] = ValueError) -> Span:
    """The range. Raises `error` for one that holds nothing, or ends that are no times; the message says what to give.

    >>> span_of("1970-01-01T00:00:01Z", 2_000)
    Span(start=1000, stop=2000)
    """
    span = Span(_at(start, "start", error), _at(stop, "stop", error))
    if span.start is not None and span.stop is not None and span.start >= span.stop:
        raise error(f"nothing lies between {start} and {stop}: the first must be earlier")
    return span


def _at(moment: Moment | None, name: str, error: type[Exception]) -> int | None:
    """Event time in ms. Raises `error` for what is no time."""
    if isinstance(moment, datetime):
        moment = moment.isoformat()
    if re.fullmatch("[0-9]{1,18}", str(moment)):
        moment = int(moment or 0)
    try:
        return None if moment is None else event_time(moment, name)
    except Rejected as rejected:
        raise error(str(rejected)) from None
