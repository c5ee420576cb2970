"""The fields of a stream's events and their JSON types: new ones, lost ones, and ones of another type.

Laws of this file
- What is usual is learned (`rare`): a field that is there now and then may be absent as it was, and a stream in which names or
  types are new all the time is not judged. A field is judged by how often it has a value: null is as good as absent.
- Names and types become known at the end of an epoch, while nothing is told of their kind. A field that stays away is forgotten.
- State is bounded: a stream with more than `MOST_FIELDS` names has data for names, and is not judged any more (`open`).
- One look is counted once: the caller leaves out repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.monitors.episodes import Transition
from penstock.monitors.quality.rare import Rare

EPOCH_LOOKS = 250
ACCEPTED_LOOKS = 4 * EPOCH_LOOKS
ABSENT_MOST = 0.7
"""A field that is absent from more looks than this, in an epoch or (less two looks) in the fullest run of 50, is not missed:
before it could be, an epoch would have made its absence usual."""
MOST_FIELDS = 400
SHOWN_FIELDS = 10
KINDS = ("new", "lost", "type")


class Field:
    """A known field: how often it had each type but null, and whether it is missing more often than usual."""

    __slots__ = ("present", "rare", "types")

    def __init__(self, rare: Rare, types: dict[str, int]) -> None:
        self.rare, self.types = rare, types
        self.present = False

    @property
    def usual(self) -> str:
        """Its most frequent type; null if it never had another."""
        return max(sorted(self.types), key=lambda name: self.types[name], default="null")


class Shape:
    """Tell when the events of one topic have other fields than usual.

    Transitions carry monitor `schema` and the subject "`topic`: new", "`topic`: lost" or "`topic`: type"; their detail names the
    `fields`: of new ones the type, of lost ones the usual type and whether it is absent or null, of others the usual type and the
    type that is new.

    Args:
        topic: whose events they are.
        alarms_per_year: its share of the budget, a third for each kind; what is lost divides it among the fields.
    """

    __slots__ = ("_lost", "_met", "_new", "_number", "_rares", "_share", "fields", "open", "topic")

    def __init__(self, topic: str, alarms_per_year: float) -> None:
        self.topic = topic
        self._share = alarms_per_year / len(KINDS)
        self._rares = {
            kind: Rare("schema", f"{topic}: {kind}", self._share, epoch=EPOCH_LOOKS, accepted=ACCEPTED_LOOKS)
            for kind in ("new", "type")
        }
        self.fields: dict[str, Field] = {}
        self.open = False
        self._number = 0
        self._new: dict[str, dict[str, int]] = {}  # of unknown fields, how often each type came
        self._met: dict[str, dict[str, int]] = {}  # of known fields, how often each unknown type came
        self._lost: dict[str, list[str]] = {}  # those told as lost: the usual type, and "absent" or "null"

    def look(
        self, at_ms: int, position: int, fields: Mapping[str, str], *, whole: bool = True
    ) -> list[Transition]:
        """Take the names and types of one event; unless they are the `whole`, nothing is absent."""
        if self.open:
            return []
        self._number = number = self._number + 1
        new = other = False
        for name, kind in fields.items():
            known = self.fields.get(name)
            if known is None:
                new = True
                _count(self._new.setdefault(name, {}), kind)
            elif kind in known.types:
                known.types[kind] += 1
            elif kind != "null":
                other = True
                _count(self._met.setdefault(name, {}), kind)
        if len(self._new) + len(self.fields) > MOST_FIELDS:
            return self._give_up(at_ms, position)
        found = self._rare("new", new, at_ms, position) + self._rare("type", other, at_ms, position)
        found += self._missing(at_ms, position, fields, whole=whole)
        if number % EPOCH_LOOKS == 0:
            found += self._turn(at_ms, position)
        return found

    def _rare(self, kind: str, hit: bool, at_ms: int, position: int) -> list[Transition]:
        rare = self._rares[kind]
        if hit:
            return self._named(kind, rare.hit(self._number, at_ms, position))
        return self._named(kind, rare.clean(self._number, at_ms, position)) if rare.firing else []

    def _missing(
        self, at_ms: int, position: int, fields: Mapping[str, str], *, whole: bool
    ) -> list[Transition]:
        """Look for every known field; the topic's episode begins with the first that is missed, and ends with the last."""
        number, was = self._number, bool(self._lost)
        moves: list[Transition] = []
        for name, known in self.fields.items():
            kind = fields.get(name, "absent" if whole else "")
            known.present |= kind not in ("absent", "")
            if kind in ("absent", "null"):
                moved = known.rare.hit(number, at_ms, position)
                if moved:
                    self._lost[name] = [known.usual, kind]
            elif kind and known.rare.firing:
                moved = known.rare.clean(number, at_ms, position)
            else:
                continue
            moves += moved
            if moved and not known.rare.firing:
                self._found_again(name)
        return self._of_lost(moves, was=was)

    def _found_again(self, name: str) -> None:
        self._lost.pop(name, None)

    def _of_lost(self, moves: Iterable[Transition], *, was: bool) -> list[Transition]:
        """One transition of all the fields' own, if whether any is lost has changed."""
        if was == bool(self._lost):
            return []
        state = "firing" if self._lost else "resolved"
        ours = [one for one in moves if one.state == state]
        first = min(ours, key=lambda one: one.since_position)
        first.detail["fields"] = dict(list(self._lost.items())[:SHOWN_FIELDS])
        return [first]

    def _turn(self, at_ms: int, position: int) -> list[Transition]:
        """An epoch is over: what came in it is known, unless it is told of."""
        number, was = self._number, bool(self._lost)
        found: list[Transition] = []
        for kind, rare in self._rares.items():
            found += self._named(kind, rare.turn(number, at_ms, position))
        moves: list[Transition] = []
        for name, known in list(self.fields.items()):
            if moved := known.rare.turn(number, at_ms, position):
                moves += moved
                self._found_again(name)
                if not known.present:
                    del self.fields[name]
                    self._met.pop(name, None)
            known.present = False
        found += self._of_lost(moves, was=was)
        if not self._rares["type"].firing:
            for name, types in self._met.items():
                if name in self.fields:
                    self.fields[name].types.update(types)
            self._met = {}
        if not self._rares["new"].firing:
            for name, types in self._new.items():
                types.pop("null", None)
                self.fields[name] = Field(self._rare_of_lost(), types)
            self._new = {}
        for known in self.fields.values():
            known.rare.alarms_per_year = self._share / len(self.fields)
        return found

    def _rare_of_lost(self) -> Rare:
        return Rare(
            "schema", f"{self.topic}: lost", self._share, epoch=EPOCH_LOOKS, most=ABSENT_MOST, accepted=ACCEPTED_LOOKS
        )  # fmt: skip

    def _named(self, kind: str, found: list[Transition]) -> list[Transition]:
        for change in found:
            names: dict[str, object] = {}
            for name, types in _common(self._new if kind == "new" else self._met):
                known = self.fields.get(name)
                names[name] = [known.usual, *types] if known is not None else types
            change.detail["fields"] = names
        return found

    def _give_up(self, at_ms: int, position: int) -> list[Transition]:
        """Names are data here: what is open ends."""
        self.open = True
        subjects = [rare.subject for rare in self._rares.values() if rare.firing]
        subjects += [f"{self.topic}: lost"] * bool(self._lost)
        self.fields, self._new, self._met, self._lost = {}, {}, {}, {}
        detail: dict[str, object] = {"reason": "its names are never the same: they are not judged any more"}
        return [
            Transition("schema", subject, "resolved", 0.0, 0.0, 0.0, at_ms, position, at_ms, position, dict(detail))
            for subject in subjects
        ]  # fmt: skip


def _count(types: dict[str, int], kind: str) -> None:
    types[kind] = types.get(kind, 0) + 1


def _common(met: Mapping[str, Mapping[str, int]]) -> list[tuple[str, list[str]]]:
    """The names that came at least half as often as the most frequent, and the types of each, the most frequent first."""
    often = {name: sum(types.values()) for name, types in met.items()}
    least = max(often.values(), default=0) / 2
    names = sorted((name for name in often if often[name] >= least), key=lambda name: (-often[name], name))
    return [
        (name, sorted(met[name], key=lambda kind, of=met[name]: (-of[kind], kind)))  # type: ignore[misc]
        for name in names[:SHOWN_FIELDS]
    ]
