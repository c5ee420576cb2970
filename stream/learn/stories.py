"""One incident is one story: under whose name a finding is told, and when the story is over.

Laws of this file:
- An onset is an estimate. A finding may have begun at any record of its *span*: from the estimated onset to the last block before
  which the evidence was below twenty to one (`paired`), or until it was found where a monitor says no more.
- A finding about the loss (harm, lead, adwin, segment) is a consequence. It belongs to the newest story in the course of which it
  may have begun: its span reaches the story's beginning, and its onset lies before the story's end.
- A guard's finding (range, nulls), or one about the data's quality, is a cause. It begins a story of its own, unless one began
  together with it: the two spans meet. So it stays by itself while an old one about the loss is still open, and two fields broken
  together are one story. Where only distributions had moved, it joins if one of them follows its field or source, and is the
  cause.
- A distribution that moved (psi) joins what began together with it, or in whose course something is broken that it follows. It
  explains no loss. All else is told by itself.
- A story goes on while anything told in it does, and a cooldown longer; and where a model was committed in it, until that one has
  proven itself: what was broken comes right again, and then the model that was right for it is not.
- Then it is over, and summed up. What is found later to have begun in it, or comes back as the same episode, opens it again.
- State is bounded: the last `KEPT` stories, and one membership for each monitor and subject.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock.monitors.episodes import EpisodeChange, Transition
from penstock.monitors.losses.ledger import Clean, Sums
from penstock.stream.learn.causes import Followers, Sort, cause_of, sort_of, trust_in_onset
from penstock.stream.story_records import Deed

KEPT = 16
MOST_DEEDS = 32
MOST_SEGMENTS = 8
NEVER = 1 << 62

Subject = tuple[str, str]
PROVING = ("committed", "model")
STRENGTH: dict[Sort, int] = {"alone": 0, "moved": 1, "loss": 2, "cause": 3}


@dataclass(slots=True)
class End:
    """Where the last finding of a story ended, and what was judged up to there."""

    at_ms: int
    position: int
    sums: Sums | None = None


@dataclass(slots=True)
class Story:
    """What is told under one id, which is that of the episode it began with.

    `sort` is that of what explains it best. `began` is the span of log positions in which it may have begun, `since` its onset
    (event time, position): that of its first cause (one that was seen before one that was estimated: `trust`), or else the
    earliest estimate. `until_ms` is the event time before which something must begin to belong to it, once nothing in it is
    `open` any more. `causes` are in words, by finding; `broken` are the fields and sources that they are about. `start` is what
    was judged before the onset, `clean` what was usual then. `summaries` counts those told.
    """

    id: str
    sort: Sort
    began: tuple[int, int]
    since: tuple[int, int]
    trust: int = 0
    until_ms: int = 0
    open: set[Subject] = field(default_factory=set)
    causes: dict[Subject, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    findings: list[Subject] = field(default_factory=list)
    segments: list[str] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    commands: set[str] = field(default_factory=set)
    start: Sums | None = None
    clean: Clean | None = None
    end: End | None = None
    fired: bool = False
    over: bool = False
    summaries: int = 0

    def about(self) -> Subject:
        """The monitor and the subject of what caused it, or of what was found first."""
        return next(iter([*self.causes, *self.findings]), ("", ""))

    def names(self, segment: str) -> None:
        """A finding told in it is carried by this segment."""
        if segment not in self.segments and len(self.segments) < MOST_SEGMENTS:
            self.segments.append(segment)

    def begins(self, transition: Transition) -> bool:
        """Take the onset of a finding for the story's, if it is a better one; whether it is."""
        onset = (transition.since_ms, transition.since_position)
        trust = trust_in_onset(transition)
        if trust < self.trust or (trust == self.trust and onset[1] >= self.since[1]):
            return False
        self.since, self.trust = onset, trust
        return True


class Stories:
    """Which story each told finding belongs to. `due_ms` is the event time at which the next one is over; `told` the newest."""

    def __init__(self, followers: Followers | None = None) -> None:
        self.followers = followers or {}
        self.due_ms = NEVER
        self.told: Story | None = None
        self._stories: list[Story] = []
        self._story_of: dict[Subject, tuple[str, Story]] = {}

    def of(self, change: EpisodeChange, reason: str = "") -> Story:
        """The story that `change`, which is told now, belongs to. It is begun, kept open or ended by it."""
        transition, episode = change.transition, change.episode
        subject = (transition.monitor, transition.subject)
        known, story = self._story_of.get(subject, ("", None))
        if story is None or known != episode.id:
            story = self._joined(transition)
            if story is None:
                onset = (transition.since_ms, transition.since_position)
                story = Story(episode.id, sort_of(transition), span(transition), onset)
                if transition.state == "resolved":  # the end of what was never told: nothing follows from it
                    return story
                self._keep(story)
            self._story_of[subject] = episode.id, story
        self.told = story
        if transition.state == "resolved":
            story.open.discard(subject)
            story.until_ms = max(story.until_ms, episode.cooldown_until_ms or transition.at_ms)
            story.end = End(transition.at_ms, transition.position)
        else:
            self._takes(story, transition, subject, reason)
        self._look()
        return story

    def _takes(self, story: Story, transition: Transition, subject: Subject, reason: str) -> None:
        """What a finding that is open now says of its story."""
        story.over = False
        story.fired = story.fired or transition.state == "firing"
        story.open.add(subject)
        sort = sort_of(transition)
        if subject not in story.findings:
            story.findings.append(subject)
            if story.begins(transition):
                story.start = None
        if sort == "cause":
            story.causes.setdefault(subject, cause_of(transition, reason, self.followers))
            story.broken.add(transition.subject)
            if story.sort == "moved":  # from here on it explains losses, as a story that begins now would
                story.began = span(transition)
                if story in self._stories:
                    self._stories.remove(story)
                    self._stories.append(story)
        if STRENGTH[sort] > STRENGTH[story.sort]:
            story.sort = sort

    def _keep(self, story: Story) -> None:
        if len(self._stories) == KEPT:
            self._stories.remove(next((one for one in self._stories if one.over), self._stories[0]))
        self._stories.append(story)

    def _look(self) -> None:
        ends = (one.until_ms for one in self._stories if not one.open and not one.over)
        self.due_ms = min(ends, default=NEVER)

    @property
    def troubled(self) -> bool:
        """Whether anything is open that may spoil the data or the predictions."""
        return any(one.open and one.sort in ("cause", "loss") for one in self._stories)

    def open_now(self) -> list[Story]:
        """The stories in which a finding is open, in the order they began; mere suspicions are none."""
        return [one for one in self._stories if one.fired and one.open - {PROVING}]

    def over(self, at_ms: int) -> list[Story]:
        """The stories that are over at this event time, each once, unless it is opened again; mere suspicions are none."""
        ended = [one for one in self._stories if not one.open and not one.over and one.until_ms <= at_ms]
        for one in ended:
            one.over = True
            one.summaries += one.fired
        self._look()
        return [one for one in ended if one.fired]

    def did(self, deed: Deed, story_id: str | None = None, command: str = "") -> None:
        """Something was done: in the story of this id, or in the one that a command was given in, or in all that are open.

        `command` is the id of the command that did it; a retrain's product comes with `adopt-` and that one's id.
        """
        known = [one for one in self._stories if story_id is not None and one.id in story_id]
        known = known or [one for one in self._stories if command.removeprefix("adopt-") in one.commands]
        here = deed.position
        for one in known or [
            one for one in self._stories if one.open or (one.end and one.end.position == here)
        ]:
            if command:
                one.commands.add(command)
            if len(one.deeds) < MOST_DEEDS:
                one.deeds.append(deed)

    def prove(self, subject: Subject) -> None:
        """A model was committed because of this finding: its story goes on until `proven`."""
        _, story = self._story_of.get(subject, ("", None))
        if story is not None:
            self.proven(0)
            story.open.add(PROVING)
            story.over = False
            self._look()

    def proven(self, at_ms: int) -> None:
        """The model committed last has been in charge for long enough, or another one is: nothing waits for it any more."""
        for story in self._stories:
            if PROVING in story.open:
                story.open.discard(PROVING)
                story.until_ms = max(story.until_ms, at_ms)
        self._look()

    def _joined(self, transition: Transition) -> Story | None:
        """The story that a finding not told of before belongs to, if there is one."""
        first, last = span(transition)
        sort = sort_of(transition)
        for story in reversed(self._stories):
            together = story.began[0] <= last and first <= story.began[1]
            course = story.began[0] <= last and (bool(story.open) or transition.since_ms < story.until_ms)
            if sort == "loss":
                joins = course and story.sort in ("loss", "cause")
            elif sort == "cause":
                moved = any(self._follows(name, transition.subject) for _, name in story.findings)
                joins = together and (story.sort in ("loss", "cause") or (story.sort == "moved" and moved))
            elif sort == "moved":
                broken = any(self._follows(transition.subject, one) for one in story.broken)
                joins = (together and story.sort != "alone") or (course and broken)
            else:
                joins = False
            if joins:
                return story
        return None

    def _follows(self, name: str, cause: str) -> bool:
        whole = name.partition(" where ")[0]  # of one segment of it
        return whole == cause or whole in self.followers.get(cause, ())


def span(transition: Transition) -> tuple[int, int]:
    """The positions between which a finding began."""
    last = transition.detail.get("onset_to_position")
    return transition.since_position, last if isinstance(last, int) else transition.position
