"""One version by itself: by its id, the name that a person gave it, or an alias.

Laws of this file:
- What takes part in the live prediction is asked as it takes part; a copy is opened only of a version that does not.
- A version that cannot be asked is a refusal that says what the name stands for. None is taken in another's place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from penstock.features.units import StoreRefused, StoreUnavailable
from penstock.stream.learn.engine import plain
from penstock.stream.learn.expert import Expert
from penstock.stream.learn.replica import Replica
from penstock.stream.models.version import ALIASES, CHAMPION, PREVIOUS, BadEnvelope, challenger_of, named
from penstock.stream.serve.answers import Problem
from penstock.stream.serve.asking import Away, Refusal


class Named(NamedTuple):
    """A version and its model. `wanted` is what it was asked for by, `trained_to` where it stopped learning, if that is known."""

    wanted: str
    version: str
    model: Any
    trained_to: int | None = None

    def says(self, replica: Replica, vector: list[Any]) -> dict[str, Any]:
        """What it says of a vector by itself; null where it fails."""
        said = {"version": self.version, "prediction": replica.ask_model(self.model, vector)}
        return said if self.wanted == self.version else {**said, "asked_for": self.wanted}


def find(wanted: str, replica: Replica, kept: Callable[[str], tuple[str, Any, int]] | None) -> Named:
    """The version that is meant. `kept` opens one that is stored. Raises `Refusal`."""
    experts = replica.standing.experts
    meant = {CHAMPION: experts.committed.version, PREVIOUS: experts.previous}.get(wanted, wanted)
    if not meant:
        raise Refusal(
            404, Problem(f"there is no {wanted} version: nothing was committed before the one that is")
        )
    models = experts.models
    one = experts.find(named(meant, [one.version for one in models])) or _of_race(meant, models)
    if one is not None:
        return Named(
            wanted, one.version, plain(one.engine), replica.position if one.learns else one.born_position
        )
    if kept is None:
        raise Refusal(501, Problem("kept versions are not available here: ask without version"))
    try:
        return Named(wanted, *kept(meant))
    except (StoreRefused, StoreUnavailable) as error:
        raise Away(f"version {wanted!r} cannot be read: {error}") from None
    except (BadEnvelope, KeyError) as error:
        why = error.args[0] if error.args else error
        stands = f" is {meant!r}, which" if wanted in ALIASES else ""
        raise Refusal(404, Problem(f"version {wanted!r}{stands} cannot be asked: {why}")) from None


def _of_race(name: str, models: list[Expert]) -> Expert | None:
    """The newest model of one of the definition's challengers."""
    found = [one for one in models if challenger_of(one.version) == name]
    return max(found, key=lambda one: one.born_position, default=None)
