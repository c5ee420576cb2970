"""What a page is: an address, a function of the state, and a template of the same name.

Laws of this file:
- Plain data. A page is a function of what was asked; what it must read from a server first is read before, by `reads`.
- Times are milliseconds since the epoch, charts' x are seconds (as the browser draws them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.stream.console.state import PipelineState, States
from penstock.stream.definitions import Pipeline
from penstock.stream.messages import OperatorRequest

Role = Literal["viewer", "operator", "approver"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "approver")
"""From who may least to who may most: an operator may look, and an approver may do what an operator may."""


class NotFound(LookupError):
    """What was asked for is not there; the message says what, and what there is."""


class CannotRead(RuntimeError):
    """What a page needs cannot be read now; the message says from where, and what to do."""


@dataclass(frozen=True)
class Person:
    """Who looks, and what said so. Everybody is a viewer unless somebody said otherwise."""

    name: str = ""
    role: Role = "viewer"
    by: Literal["", "password", "proxy"] = ""

    def may(self, role: Role) -> bool:
        """Whether what takes this role may be asked for. Who has no name asks for nothing."""
        return bool(self.name) and ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True)
class Asked:
    """What a page is asked: of which pipeline, with which words in its path and query, by whom, when.

    `definitions` are the pipelines' as their files say; `read` is what the page's `reads` found. `once` is another text each
    time, `here` the address asked for, `login` whether one can log in, and `asks` whether anything can be asked for here at all.
    """

    states: States
    definitions: Mapping[str, Pipeline]
    now_ms: int
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    person: Person = Person()
    prefix: str = ""
    read: Any = None
    once: str = ""
    here: str = "/"
    login: bool = False
    asks: bool = False

    @property
    def pipeline(self) -> str:
        """The name of the pipeline asked about; empty where the page is about all."""
        return self.path.get("pipeline", "")

    @property
    def state(self) -> PipelineState:
        """What is known of the pipeline asked about. Raises `NotFound`."""
        found = self.states.pipelines.get(self.pipeline)
        if found is None:
            there = ", ".join(sorted(self.states.pipelines)) or "none"
            raise NotFound(f"no pipeline {self.pipeline!r} is shown here; there are: {there}")
        return found

    @property
    def definition(self) -> Pipeline | None:
        """The definition of the pipeline asked about, as its file says."""
        return self.definitions.get(self.pipeline)


class Refused(Exception):  # noqa: N818 - no error: an answer
    """What was posted is not asked for; the message says why, `status` in which way."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


@dataclass(frozen=True)
class Asking:
    """What a post asks for, and the address that shows what becomes of it."""

    request: OperatorRequest
    to: str


@dataclass(frozen=True)
class Page:
    """One page: its name is that of its template, `path` its address with `{words}`, `order` its place in the navigation.

    A page without an `order` (None) is reached by links alone. `posts` makes of what was posted to its address (`query`) what is
    asked for, and raises `Refused`: pure, too. What is no request to the control role is done by `does`, at the edge: it takes
    what `reads` takes, gives the address that shows what came of it, and raises `Refused` and `posts.CannotAsk`.
    """

    name: str
    title: str
    path: str
    shown: Callable[[Asked], Mapping[str, Any]]
    order: int | None = None
    reads: Callable[[Asked, Any], Any] | None = None
    posts: Callable[[Asked], Asking] | None = None
    does: Callable[[Asked, Any], str] | None = None


@dataclass(frozen=True)
class Series:
    """One line or area of a chart: a value or None at each x. `tone` names its colour, `kind` its shape."""

    label: str
    values: Sequence[float | None]
    tone: str
    kind: Literal["line", "dashed", "area"] = "line"


@dataclass(frozen=True)
class Span:
    """A band over a chart's time; `until` None is still going on."""

    since: float
    until: float | None
    label: str
    severity: str


@dataclass(frozen=True)
class Mark:
    """Something that happened: `lane` says what kind of thing, `at` is in seconds."""

    at: float
    lane: str
    label: str
    position: int = 0


@dataclass(frozen=True)
class Chart:
    """One chart and its table: `x` in seconds of event time, `unit` of the values, `headings` and `rows` for whoever reads it."""

    name: str
    title: str
    unit: str
    x: Sequence[float]
    series: Sequence[Series]
    spans: Sequence[Span] = ()
    marks: Sequence[Mark] = ()
    lanes: Sequence[str] = ()
    headings: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    since: float | None = None
    until: float | None = None
    note: str = ""
