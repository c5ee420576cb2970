"""One incident is one story: under whose name a finding is told.

Laws of this file:
- An onset is an estimate. A finding may have begun at any record of its *span*: from the estimated onset to the last block before
  which the evidence was below twenty to one (`paired`), or until it was found where a monitor says no more.
- A finding about the loss (harm, lead, adwin, segment) is a consequence. It belongs to the newest story in the course of which it
  may have begun: its span reaches the story's beginning, and its onset lies before the story's end.
- A guard's finding (range, nulls) is a cause. It begins a story of its own, unless one began together with it: the two spans
  meet. So it stays by itself while an old one about the loss is still open, and two fields broken together are one story.
- A distribution that moved (psi) joins what began together with it, but explains no loss. All else is told by itself.
- A story goes on while anything told in it does, and a cooldown longer; and where a model was committed in it, until that one has
  proven itself: what was broken comes right again, and then the model that was right for it is not.
- A finding stays in its story when it comes back as the same episode.
- State is bounded: the last `KEPT` stories, and one membership for each monitor and subject.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from penstock.monitors.episodes import EpisodeChange, Transition

KEPT = 16
LOSS = frozenset({"harm", "lead", "adwin", "segment"})
GUARDS = {"range": "left its range", "nulls": "has nulls"}
"""The monitors that name a cause, and what each says of its subject."""

Subject = tuple[str, str]
PROVING = ("committed", "model")


@dataclass(slots=True)
class Story:
    """What is told under one id, which is that of the episode it began with.

    `began` is the span of log positions in which it may have begun. `until_ms` is the event time before which something must
    begin to belong to it, once nothing in it is `open` any more. `causes` are the guards' findings told in it, in words.
    """

    id: str
    monitor: str
    began: tuple[int, int]
    until_ms: int = 0
    open: set[Subject] = field(default_factory=set)
    causes: list[str] = field(default_factory=list)


class Stories:
    """Which story each told finding belongs to."""

    def __init__(self) -> None:
        self._stories: deque[Story] = deque(maxlen=KEPT)
        self._story_of: dict[Subject, tuple[str, Story]] = {}

    def of(self, change: EpisodeChange) -> Story:
        """The story that `change`, which is told now, belongs to. It is begun, kept open or ended by it."""
        transition, episode = change.transition, change.episode
        subject = (transition.monitor, transition.subject)
        known, story = self._story_of.get(subject, ("", None))
        if story is None or known != episode.id:
            story = self._joined(transition)
            if story is None:
                story = Story(episode.id, transition.monitor, span(transition))
                if transition.state == "resolved":  # the end of what was never told: nothing follows from it
                    return story
                self._stories.append(story)
            self._story_of[subject] = episode.id, story
        if transition.state == "resolved":
            story.open.discard(subject)
            story.until_ms = max(story.until_ms, episode.cooldown_until_ms or transition.at_ms)
        else:
            story.open.add(subject)
            cause = f"{transition.subject} {GUARDS.get(transition.monitor, '')}"
            if transition.monitor in GUARDS and cause not in story.causes:
                story.causes.append(cause)
        return story

    def prove(self, subject: Subject) -> None:
        """A model was committed because of this finding: its story goes on until `proven`."""
        _, story = self._story_of.get(subject, ("", None))
        if story is not None:
            self.proven(0)
            story.open.add(PROVING)

    def proven(self, at_ms: int) -> None:
        """The model committed last has been in charge for long enough, or another one is: nothing waits for it any more."""
        for story in self._stories:
            if PROVING in story.open:
                story.open.discard(PROVING)
                story.until_ms = max(story.until_ms, at_ms)

    def _joined(self, transition: Transition) -> Story | None:
        """The story that a finding not told of before belongs to, if there is one."""
        first, last = span(transition)
        for story in reversed(self._stories):
            together = story.began[0] <= last and first <= story.began[1]
            if transition.monitor in LOSS:
                within = bool(story.open) or transition.since_ms < story.until_ms
                if story.monitor in LOSS.union(GUARDS) and story.began[0] <= last and within:
                    return story
            elif together and (
                transition.monitor == "psi"
                or (transition.monitor in GUARDS and story.monitor in LOSS.union(GUARDS))
            ):
                return story
        return None


def span(transition: Transition) -> tuple[int, int]:
    """The positions between which a finding began."""
    last = transition.detail.get("onset_to_position")
    return transition.since_position, last if isinstance(last, int) else transition.position
