"""What a reader gives: the features of one entity, each with a status; and what it has given so far."""

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["present", "missing", "null", "stale"]
Entity = str | int | tuple[str | int, ...]
Value = float | str | list[Any] | None


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one entity.

    Attributes:
        view: name of the view.
        entity: the entity as it was asked for.
        values: by feature name; null (None) where there is none. If the entity is missing: those of an entity
            without events (0.0 for what counts or adds up, a declared default, otherwise None), or empty if the reader
            does not have the definitions.
        status: by feature name: `present`; `missing` (nothing is stored for the entity); `null`
        (stored, and
            there is no value); `stale` (present, but a window may have changed since, because the reader's
            moment is not before `until_ms`; a feature without a window is marked too, the document does not
            tell them apart; or its `max_age` has passed). `since_last` in a document holds for `at_ms`: add
            `age_ms`; a decayed count or sum likewise: halve it once per half-life of `age_ms`.
        at_ms: the moment that the values hold for; None if missing.
        age_ms: from the entity's last change (at the latest) to the reader's moment; None if missing.
        until_ms: when a windowed value next changes if no event arrives; None if none will, or if missing.
        recipe: digest of the definitions that the values were computed by; None if missing or computed here.

    """

    view: str
    entity: Entity
    values: dict[str, Value]
    status: dict[str, Status]
    at_ms: int | None = None
    age_ms: int | None = None
    until_ms: int | None = None
    recipe: str | None = None

    @property
    def found(self) -> bool:
        """Whether anything is stored for the entity."""
        return self.at_ms is not None


@dataclass(slots=True)
class Served:
    """What a reader has given so far, for its owner's metrics.

    Attributes:
        entities: entities read.
        missing: those of them with nothing stored.
        defaults: values given for those, which are the values of an entity without events; 0 without definitions.
        stale: those with a value that was stale.
        age_ms: sum of the ages of those found, so that the mean age is `age_ms / (entities - missing)`.

    """

    entities: int = 0
    missing: int = 0
    defaults: int = 0
    stale: int = 0
    age_ms: int = 0
