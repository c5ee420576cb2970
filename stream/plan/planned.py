"""A plan: everything that a changed definition would do, what it comes to, and how a program is told.

Laws of this file:
- Pure. One verdict, the worst that holds: refused, refused but for --partial, breaks readers, gets worse, safe, nothing.
- What is accepted beforehand stays in the plan, and no longer counts for the exit code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.stream.operate.parts import Part
from penstock.stream.plan.columns import Column
from penstock.stream.plan.cost import Cost
from penstock.stream.plan.fates import Fate
from penstock.stream.plan.readers import Finding, breaks

Verdict = Literal["nothing", "safe", "worse", "breaks", "partial", "refused"]
Accepted = Literal["readers", "worse", "partial"]
EXIT_CODES: dict[Verdict, int] = {
    "nothing": 0,
    "safe": 0,
    "refused": 1,
    "partial": 1,
    "breaks": 3,
    "worse": 4,
}
"""2 is what could not be said at all: a wrong argument, a wrong definition, a server that does not answer."""
IN_WORDS: dict[Verdict, str] = {
    "nothing": "nothing changes",
    "safe": "safe: nobody who reads or writes for this pipeline has to change anything first",
    "worse": "the model gets worse",
    "breaks": "breaks readers",
    "partial": "cannot be brought over without --partial",
    "refused": "cannot be brought over",
}


@dataclass(frozen=True)
class Backtest:
    """A what-if over the last stretch of the history: `since` (event time, ms) on; `said` is its JSON, without how long it took.

    `refused` says why there is none.
    """

    asked: str
    since: int | None = None
    said: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = ""
    lines: tuple[str, ...] = ()
    whole: Part | None = None
    refused: str = ""

    def is_worse(self, tolerance: float) -> bool:
        """Whether the changed model is clearly worse, by more than `tolerance` a label."""
        if self.whole is None:
            return False
        found = self.whole.compared
        return found.clear and found.difference > tolerance


@dataclass(frozen=True)
class Plan:
    """What `file` would do to the pipeline that runs, or to what another definition left behind.

    `before` and `after` are the recipes' digests, `before` empty where nothing ever ran. `against` says what it was compared
    with. `changes` are the lines that `penstock backfill --dry-run` prints, and `refused` why it would not go on; `lacks` is why
    it would not without `--partial`. `restarts` are changes that only take a restart. `cost` is None where no server was asked,
    and of what is refused.
    """

    pipeline: str
    file: str
    against: str
    before: str
    after: str
    changes: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    readers: list[Finding] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)
    cost: Cost | None = None
    notes: list[str] = field(default_factory=list)
    refused: str = ""
    lacks: str = ""
    refolds: bool = False
    backtest: Backtest | None = None
    tolerance: float = 0.0

    @property
    def worse(self) -> bool:
        """Whether the backtest says so clearly."""
        return self.backtest is not None and self.backtest.is_worse(self.tolerance)

    def verdict(self, accepted: Collection[Accepted] = ()) -> Verdict:
        """The worst that holds and is not `accepted`."""
        if self.refused:
            return "refused"
        if self.lacks and "partial" not in accepted:
            return "partial"
        if breaks(self.readers) and "readers" not in accepted:
            return "breaks"
        if self.worse and "worse" not in accepted:
            return "worse"
        return (
            "safe"
            if self.changes or self.restarts or self.refolds or self.before != self.after
            else "nothing"
        )

    def known(self, accepted: Collection[Accepted]) -> list[Verdict]:
        """What holds and is accepted."""
        holds: list[tuple[Accepted, Verdict, bool]] = [
            ("readers", "breaks", breaks(self.readers)),
            ("worse", "worse", self.worse),
            ("partial", "partial", bool(self.lacks)),
        ]
        return [verdict for name, verdict, so in holds if so and name in accepted]

    def exit_code(self, accepted: Collection[Accepted] = ()) -> int:
        """For whoever runs this unattended."""
        return EXIT_CODES[self.verdict(accepted)]

    @property
    def ships_by(self) -> str:
        """What carries the change out."""
        if self.refused:
            return "`penstock reset`, or another name for the changed pipeline"
        if not self.before:
            return "starting its roles: nothing ran under this name yet"
        if self.changes:
            partial = " --partial" if self.lacks else ""
            return f"`penstock backfill {self.file}{partial}`, then the roles with this file"
        if self.refolds or self.before != self.after:
            return "a restart of all roles with this file"
        return "a restart of the roles that read it" if self.restarts else "nothing"

    def as_json(self, accepted: Collection[Accepted] = ()) -> dict[str, Any]:
        """The plan for programs."""
        return {
            "pipeline": self.pipeline,
            "file": self.file,
            "against": self.against,
            "before": self.before,
            "after": self.after,
            "verdict": self.verdict(accepted),
            "exit_code": self.exit_code(accepted),
            "accepted": sorted(accepted),
            "ships_by": self.ships_by,
            "refused": self.refused or self.lacks or None,
            "changes": self.changes,
            "model_changes": self.others,
            "restarts": self.restarts,
            "columns": [
                {"view": one.view, "feature": one.feature, "fate": one.fate, "why": one.why}
                for one in self.columns
            ],
            "readers": [{"level": one.level, "who": one.who, "what": one.what} for one in self.readers],
            "model": {one.thing: {"becomes": one.becomes, "why": one.why} for one in self.fates},
            "cost": None if self.cost is None else self.cost.as_json(),
            "notes": self.notes,
            "backtest": self._backtest(),
        }

    def _backtest(self) -> dict[str, Any] | None:
        one = self.backtest
        if one is None:
            return None
        if one.refused:
            return {"asked": one.asked, "refused": one.refused}
        return {
            "asked": one.asked,
            "since": one.since,
            "worse": self.worse,
            "tolerance": self.tolerance,
            **one.said,
        }
