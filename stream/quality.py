"""Which watchers of data quality a definition asks for: `Pipeline(quality=...)`.

Laws of this file:
- Plain data. What is found is told, or told and forked: with "fork" the leading model is kept as it was before, and labels decide
  which is believed. Nothing here stops learning (`Pipeline(guard="hold")` does).
- `SHARES` of `alarms_per_year` are the budget of each; the share of one that is off is not used.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from penstock.stream.definition_error import DefinitionError

Told = Literal["off", "tell", "fork"]
TOLD: tuple[Told, ...] = get_args(Told)
SHARES = {
    "volume": 0.25,
    "label_rate": 0.2,
    "label_delay": 0.2,
    "unseen": 0.1,
    "stuck": 0.1,
    "duplicates": 0.1,
    "schema": 0.05,
}


@dataclass(frozen=True)
class Quality:
    """What is done about each kind of finding: "tell", "fork" or "off".

    `volume`: the predicted topic brings far more or less than is usual at that hour, or nothing. `label_rate`: labels stop, or
    come far more or less than the samples before them should bring. `label_delay`: they take longer, or come sooner.
    `duplicates`: ids that were there already. `unseen`: values of a text input that were never there. `stuck`: one value of an
    input has become far more frequent than any was. `schema`: fields that the definition does not name are new, gone, or of
    another type; "tell" is a note.
    """

    volume: Told = "tell"
    label_rate: Told = "tell"
    label_delay: Told = "tell"
    duplicates: Told = "tell"
    unseen: Told = "fork"
    stuck: Told = "fork"
    schema: Told = "tell"

    def __post_init__(self) -> None:
        for one in fields(self):
            if getattr(self, one.name) not in TOLD:
                raise DefinitionError(
                    f'Quality: {one.name} must be "tell", "fork" or "off", not {getattr(self, one.name)!r}'
                )

    @property
    def text(self) -> str:
        """In a few words, for the rules that a fold goes by."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        return ", ".join(f"{name} {told}" for name, told in said.items() if told != "off") or "off"


OFF = Quality("off", "off", "off", "off", "off", "off", "off")


def checked_quality(quality: bool | Quality, where: str) -> Quality:
    """What a definition says, with True for the usual choice and False for none."""
    if isinstance(quality, Quality):
        return quality
    if isinstance(quality, bool):
        return Quality() if quality else OFF
    raise DefinitionError(
        f'{where}: quality must be True, False, or which kinds are told, such as Quality(volume="off"), not {quality!r}'
    )
