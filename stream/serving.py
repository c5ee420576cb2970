"""How a pipeline is answered for on request: `Pipeline(serving=...)`.

Laws of this file:
- Plain data and a pure function of it. Nothing here is part of the recipe: what is learned does not depend on who asks.
- An entity has one arm for as long as salt and share stay, and a greater share takes nobody off the challenger's arm.
- A share of 0 is nobody, a share of 1 everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from penstock.stream.definition_error import DefinitionError

Arm = Literal["champion", "challenger"]
_WHOLE = 2**64


@dataclass(frozen=True)
class Serving:
    """What the serve role may do, beside answering as the predictions topic would.

    With `degraded`, an answer is given while Redis is away, too: its features are null then, and it says so. `challenger` names a
    version, by its id, the name that a person gave it, or that of one of the definition's `challengers`; it answers in the place
    of the live models for a `share` (0 to 1) of the entities, who are chosen by a hash of the predicted source's key and `salt`.
    Another salt chooses others. An event without a key is the champion's.
    """

    degraded: bool = False
    challenger: str = ""
    share: float = 0.0
    salt: str = ""

    def __post_init__(self) -> None:
        for name, kind in (("degraded", bool), ("challenger", str), ("salt", str)):
            if not isinstance(getattr(self, name), kind):
                raise DefinitionError(
                    f"Serving: {name} must be {'True or False' if kind is bool else 'text'}, not {getattr(self, name)!r}"
                )
        share = self.share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
            raise DefinitionError(f"Serving: share must be a number from 0 to 1, not {share!r}")
        if share and not self.challenger:
            raise DefinitionError(f"Serving: share={share!r} of the entities is nobody's: name a challenger")

    def arm(self, entity: str | None) -> Arm:
        """Whose answer an entity gets, by its key as the predictions topic has it.

        >>> Serving(challenger="night", share=0.5, salt="autumn").arm("c1")
        'champion'
        """
        if not self.share or entity is None:
            return "champion"
        drawn = blake2b(f"{self.salt}\0{entity}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return "challenger" if int.from_bytes(drawn) < self.share * _WHOLE else "champion"
