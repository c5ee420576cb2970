"""The values of rows, whatever format they came in: what a cell of text says and what columns of Parquet hold, as JSON has it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np


def number_in(text: str) -> int | float | bool | str:
    """What a cell of a CSV says, if it is a number or a truth value; the text itself if not."""
    if text in ("true", "false", "True", "False"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def plain(value: Any) -> Any:
    """A value as JSON has it: times with a zone become milliseconds since the epoch, decimals floats."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return round(value.timestamp() * 1000)
    if isinstance(value, date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def numbers_of(column: Any) -> list[Any] | None:
    """The values of a column of numbers, null in the place of what is none; None for other columns, and for infinite values."""
    import pyarrow.types as kinds

    if not (kinds.is_floating(column.type) or (kinds.is_integer(column.type) and not column.null_count)):
        return None
    found = column.to_numpy(zero_copy_only=False)
    if kinds.is_integer(column.type):
        return list(found.tolist())
    if np.isinf(found).any():
        return None
    return [None if one != one else one for one in found.tolist()]


def values_of(column: Any) -> list[Any]:
    """The values of any column of Parquet, as JSON has them."""
    import pyarrow.types as kinds

    found = numbers_of(column)
    if found is not None:
        return found
    if kinds.is_string(column.type) or kinds.is_large_string(column.type) or kinds.is_boolean(column.type):
        return list(column.to_pylist())
    if kinds.is_timestamp(column.type) and column.type.tz is not None and column.type.unit in ("s", "ms"):
        scale = 1_000 if column.type.unit == "s" else 1
        return [None if one is None else one * scale for one in column.cast("int64").to_pylist()]
    return [plain(one) for one in column.to_pylist()]
