"""What a request asks for, and how one is refused.

Laws of this file:
- A refusal is a status and a whole sentence: what, and what to do.
"""

from __future__ import annotations

import msgspec

from penstock.stream.serve.answers import Problem


class Refusal(Exception):
    """Why there is no answer: an HTTP status, a sentence, and after how long to try again (s; None: it would not help)."""

    def __init__(self, status: int, problem: Problem, retry_s: float | None = None) -> None:
        super().__init__(problem.error)
        self.status, self.problem, self.retry_s = status, problem, retry_s


class Away(Refusal):
    """Redis does not answer."""

    def __init__(self, why: str) -> None:
        super().__init__(503, Problem(why), 1.0)


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks for beside the prediction.

    `min_position` and `at_least_version` name what the models must have seen, `wait_ms` how long to wait for it. `version` is
    asked by itself, too. `max_age_ms` is how old features may be before they are named as stale. `as_of_ms` is the moment of
    event time that features are wanted of, None for the event's own.
    """

    min_position: int = -1
    at_least_version: str = ""
    wait_ms: int = 1_000
    max_age_ms: int | None = None
    as_of_ms: int | None = None
    version: str = ""
    explain: bool = False
    vector: bool = False


def refuse_behind(asking: Asking, position: int, version: str) -> Refusal:
    """What to say where the models, at this position with this one live, did not reach what is asked for."""
    wanted = (
        f"position {asking.min_position}"
        if position < asking.min_position
        else f"version {asking.at_least_version!r}"
    )
    why = (
        f"the models here stand at position {position} with {version}, and {wanted} was not reached within {asking.wait_ms} ms: "
        f"try again, or ask without that bound"
    )
    return Refusal(409, Problem(why, position, version), 1.0)
