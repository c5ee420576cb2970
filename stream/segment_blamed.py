"""The segment that carries what was found, as control events name it."""

from __future__ import annotations

import msgspec


class SegmentBlamed(msgspec.Struct, frozen=True, kw_only=True):
    """The one segment that carries what was found: the records whose `field` has this `value`.

    `share` is its part (0 to 1) of the damage: of the loss above what was usual, of the records out of range or null, of the
    shift of the distribution. `labels` is how many labels of it that rests on; of inputs, how many records. `usual` is its part
    of all records, which is its share of a damage that spares nobody.
    """

    field: str
    value: float | str | bool | None
    share: float
    labels: int
    usual: float = 0.0
