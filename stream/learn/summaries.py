"""A story that is over → one event that sums it up: how long it was, what it cost, what was done.

Laws of this file:
- A function of the story alone. The id is that of the story with the number of the summary, so a replay repeats it.
- What was judged counts, from the onset to the end of the last finding: what a hold kept from being judged is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.monitors.losses.ledger import Cost, Ledger
from penstock.stream import topology
from penstock.stream.learn.events import Request
from penstock.stream.learn.stories import End, Story
from penstock.stream.messages import ControlData, ControlEvent, rfc3339
from penstock.stream.story_records import EpisodeSummary

DAY_MS, HOUR_MS, MINUTE_MS = 86_400_000, 3_600_000, 60_000
CHANCE = 2.0
"""A cost of less than so many standard errors may be none."""
NAMED = 4
"""So many deeds and findings are named in the sentence; the event has all."""


def summed_up(
    pipeline: str, story: Story, ledger: Ledger, models: Mapping[str, str | None], at: int, position: int
) -> Request:
    """The event, told at the record at `position`."""
    end = story.end or End(at, position)
    summary = _summary(story, ledger, end)
    data = ControlData(
        pipeline=pipeline,
        episode=story.id,
        kind="summary",
        state="over",
        severity="info",
        reason=in_words(summary, list(story.causes.values())),
        detector={"name": "summary", "subject": story.about()[1], "params": {}},
        since={"at": story.since[0], "position": story.since[1]},
        detected_at={"at": at, "position": position},
        suggested_action="none",
        effect=summary.excess_per_label,
        model=dict(models),
        causes=list(story.causes.values()),
        summary=summary,
    )
    event = ControlEvent(
        id=f"{story.id}-summary-{story.summaries}",
        source=f"penstock/{pipeline}",
        type="penstock.summary",
        subject=story.about()[1],
        time=rfc3339(at),
        data=data,
    )
    return Request(topology.EVENT_TOPICS["summary"], event)


def _summary(story: Story, ledger: Ledger, end: End) -> EpisodeSummary:
    cost = Cost(0, 0.0)
    if story.start is not None and end.sums is not None:
        cost = ledger.cost(story.start, end.sums, story.clean)
    excess = cost.excess
    return EpisodeSummary(
        until={"at": end.at_ms, "position": end.position},
        length_ms=max(end.at_ms - story.since[0], 0),
        records=max(end.position - story.since[1], 0),
        labels=cost.labels,
        number=story.summaries,
        excess_nats=excess,
        excess_per_label=None if excess is None else excess / cost.labels,
        error_nats=cost.error,
        live_loss=cost.live / cost.labels if cost.labels else None,
        clean_ratio=None if story.clean is None else story.clean.ratio,
        findings=list(story.findings),
        segments=list(story.segments),
        done=list(story.deeds),
    )


def in_words(summary: EpisodeSummary, causes: list[str]) -> str:
    """A summary in whole sentences."""
    said = "; ".join(causes)
    about = f" ({said})" if said else ""
    sentences = [
        f"the episode is over{about}: it lasted {length(summary.length_ms)}, {summary.records:,} records of the samples log and "
        f"{summary.labels:,} labels"
    ]
    if summary.excess_nats is None or summary.error_nats is None:
        sentences.append("what it cost cannot be said, since too few labels were judged before it or in it")
    else:
        measured = f"{summary.excess_nats:+,.0f} ± {summary.error_nats:,.0f} nats, {summary.excess_per_label:+.3f} a label"
        if abs(summary.excess_nats) < CHANCE * summary.error_nats:
            sentences.append(f"it cost nothing that chance would not explain ({measured})")
        else:
            more = "more" if summary.excess_nats > 0 else "less"
            sentences.append(f"the live prediction lost {more} than clean data would have cost ({measured})")
    done = [f"{deed.what} (by {deed.by})" for deed in summary.done]
    sentences.append(f"done: {_listed(done, '; ')}" if done else "nothing had to be done")
    found = [f"{kind} of {subject}" for kind, subject in summary.findings]
    sentences.append(f"found: {_listed(found, ', ')}")
    if summary.segments:
        sentences.append(f"in the segment {_listed(summary.segments, ', ')}")
    return ". ".join(one[0].upper() + one[1:] if number else one for number, one in enumerate(sentences))


def _listed(words: list[str], between: str) -> str:
    more = f"{between}and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return between.join(words[:NAMED]) + more


def length(ms: int) -> str:
    """A length of event time for people.

    >>> length(5 * DAY_MS + 3 * HOUR_MS), length(47 * MINUTE_MS)
    ('5 d 3 h', '47 min')
    """
    if ms >= DAY_MS:
        return f"{ms // DAY_MS} d {ms % DAY_MS // HOUR_MS} h"
    if ms >= HOUR_MS:
        return f"{ms // HOUR_MS} h {ms % HOUR_MS // MINUTE_MS} min"
    return f"{ms // MINUTE_MS} min"
