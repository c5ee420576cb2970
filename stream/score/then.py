"""Who answers is who was live at a row's own time: the samples log is folded again, and rows are answered where their time comes.

Laws of this file:
- The fold is that of the learn role, over the same records and commands. Rows teach it nothing and leave nothing behind in it.
- A row that is a sample of the log (its id, time and vector) has the prediction that the fold makes of it: what was published.
  Any other is answered as the log's next sample would be at that place: after all that is not later than it, as if it were
  published last of its moment. No guard hears of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.experts import Experts
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.published import prediction_of
from penstock.stream.learn.records import Predicted
from penstock.stream.learn.replay import replay
from penstock.stream.learn.replica import Replica, standing_of
from penstock.stream.learn.replica_snapshot import open_replica, take_replica
from penstock.stream.log.protocol import Log, UnknownTopic
from penstock.stream.messages import Entry, LabelRecord, Sample
from penstock.stream.models.store import ModelStore
from penstock.stream.score.models import answer_of
from penstock.stream.score.refusal import CannotScore
from penstock.stream.score.rows import Found, Row

LIVE_THEN = "live-then"


Told = Callable[[int, Found], None]
"""Hears of a row by its number, and of what was found."""


class _Done(Exception):
    """Every row was told: what comes later need not be folded."""


class Then:
    """The live models as of each row's time; `guard` and `outside` are those of `replay`. Raises `CannotScore` without a log."""

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        topic: str,
        *,
        guard: bool = True,
        outside: ModelStore | None = None,
    ) -> None:
        try:
            low, self.stop = log.bounds([(topic, 0)])[(topic, 0)]
        except UnknownTopic as error:
            raise CannotScore(f"nothing says which models were live: {error}") from None
        if low:
            raise CannotScore(
                f"records 0 to {low - 1:,} of {topic} are gone, and with them what the models learned first: nobody can say what "
                "they would have answered then. Score with --models live-now, or with a version that is kept"
            )
        self.pipeline, self.log, self.topic = pipeline, log, topic
        self.guard, self.outside = guard, outside
        self.about = {"model_version": LIVE_THEN, "position": self.stop, "recipe": pipeline.digest}

    def answer_all(
        self, rows: Sequence[Row], told: Told, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Tell what was, or would have been, predicted of each row. `progress` hears of (records folded, of all)."""
        course = _Course(self.pipeline, rows, told)
        try:
            fold = replay(
                self.pipeline,
                self.log,
                self.topic,
                stop=self.stop,
                guard=self.guard,
                outside=self.outside,
                progress=progress,
                begun=course.begun,
                before=course.before,
                predicted=course.predicted,
            )
        except _Done:
            return
        course.begun(fold)
        course.end()


class _Course:
    """A fold on its way past the rows."""

    fold: Fold

    def __init__(self, pipeline: Pipeline, rows: Sequence[Row], told: Told) -> None:
        self.pipeline, self.told = pipeline, told
        self.own_source = pipeline.label.source == pipeline.predict
        self.many = len(rows)
        self.waiting = deque(sorted(rows, key=lambda row: (row.at, row.number)))
        self.by_event: dict[tuple[str, int], list[Row]] = {}
        for row in rows:
            self.by_event.setdefault((row.id, row.at), []).append(row)
        self.same: list[Row] = []
        self.done: set[int] = set()

    def begun(self, fold: Fold) -> None:
        """The fold that passes."""
        self.fold = fold

    def before(self, position: int, entry: Entry) -> None:
        """Answer all rows whose moment is over before this record; of a sample, those that ask for it, too."""
        if len(self.done) == self.many:
            raise _Done
        kind = type(entry)
        if kind is Sample:
            assert isinstance(entry, Sample)
            self._answer(self._due(entry.at))
            asked = self.by_event.get((entry.id, entry.at))
            if asked is not None:
                self.same = [row for row in asked if list(row.values) == entry.x]
                self._answer([row for row in asked if list(row.values) != entry.x])
        elif kind is LabelRecord:
            assert isinstance(entry, LabelRecord)
            self._answer(self._due(entry.at, closed=not self.own_source))

    def predicted(self, made: Predicted) -> None:
        """A sample was predicted: so were the rows that are this sample."""
        fold = self.fold
        for row in self.same:
            self._tell(row, prediction_of(made, fold.task, fold.uncertainty, fold.recipe))
        self.same = []

    def end(self) -> None:
        """The log ends here."""
        self._answer(list(self.waiting))
        self.waiting.clear()

    def _due(self, at: int, *, closed: bool = False) -> list[Row]:
        """The rows before `at`, and those at it if it is `closed`."""
        waiting, found = self.waiting, list[Row]()
        while waiting and (waiting[0].at < at or (closed and waiting[0].at == at)):
            found.append(waiting.popleft())
        return found

    def _answer(self, rows: Sequence[Row]) -> None:
        rows = [row for row in rows if row.number not in self.done]
        if rows:
            with aside(self.fold, self.pipeline) as replica:
                for row in rows:
                    try:
                        self._tell(row, answer_of(replica, row.id, row.at, row.values))
                    except ValueError as error:
                        self._tell(row, str(error))

    def _tell(self, row: Row, found: Found) -> None:
        if row.number not in self.done:
            self.done.add(row.number)
            self.told(row.number, found)


@contextmanager
def aside(fold: Fold, pipeline: Pipeline) -> Iterator[Replica]:
    """The fold's own models, to be asked between two records; what asking leaves in them is taken back."""
    experts, task = fold.experts, vars(fold.task)
    before = (experts.asked, experts.silent, experts.outside_at)
    failures = [one.failures for one in experts.all]
    still = {"still": task["still"]} if "still" in task else {}

    def again() -> Experts:
        return open_replica(pipeline, take_replica(fold, "")).again()

    try:
        yield Replica(standing_of(fold), pipeline.vector_names, again)
    finally:
        experts.asked, experts.silent, experts.outside_at = before
        for one, many in zip(experts.all, failures, strict=True):
            one.failures = many
        task.pop("still", None)
        task.update(still)
