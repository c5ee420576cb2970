"""Columns → a frame of pandas, polars or Arrow.

Laws of this file:
- Pure. None of the three is imported before a frame of it is asked for; which one is chosen once, when a pipeline is opened.
- Times are event times in ms, and become moments in UTC. What is not there is null.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, get_args

Kind = Literal["pandas", "polars", "arrow"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_MODULES: dict[Kind, str] = {"pandas": "pandas", "polars": "polars", "arrow": "pyarrow"}
Columns = Mapping[str, Sequence[Any]]


def chosen(kind: Kind | None) -> Kind:
    """The kind that is asked for, or the first that is installed. Raises `ImportError`, which says what to install."""
    if kind is not None and kind not in KINDS:
        raise ValueError(f"frames are {', '.join(KINDS)}, not {kind!r}")
    for one in KINDS if kind is None else (kind,):
        if importlib.util.find_spec(_MODULES[one]) is not None:
            return one
    raise ImportError(
        f"frames of {kind} need it: pip install {_MODULES[kind]}"
        if kind is not None
        else "frames need pandas, polars or pyarrow: pip install 'penstock[notebook]' brings pandas"
    )


def table(columns: Columns, kind: Kind, times: Collection[str]) -> Any:
    """A frame of these columns, all of one length; `times` names those that are event times in ms."""
    module = importlib.import_module(_MODULES[kind])
    if kind == "pandas":
        return _pandas(module, columns, times)
    if kind == "polars":
        found = module.DataFrame({name: list(values) for name, values in columns.items()}, strict=False)
        moment = module.Datetime("ms", "UTC")
        return found.with_columns(
            [module.col(n).cast(module.Int64).cast(moment) for n in columns if n in times]
        )
    moment = module.timestamp("ms", tz="UTC")
    arrays = {
        name: module.array(list(values), type=moment) if name in times else _array(module, list(values))
        for name, values in columns.items()
    }
    return module.table(arrays)


def _pandas(module: Any, columns: Columns, times: Collection[str]) -> Any:
    made = {}
    for name, values in columns.items():
        if name in times:
            made[name] = module.to_datetime(module.array(list(values), dtype="Int64"), unit="ms", utc=True)
            continue
        kinds = {type(value) for value in values}
        # with nulls among them pandas would take these for objects
        with_nulls = {bool: "boolean", int: "Int64"}.get(next(iter(kinds - {type(None)}), str))
        dtype = (
            with_nulls
            if type(None) in kinds and len(kinds) == 2
            else float
            if kinds == {type(None)}
            else None
        )
        made[name] = module.Series(list(values), dtype=dtype)
    return module.DataFrame(made)


def _array(module: Any, values: list[Any]) -> Any:
    """A column of Arrow; of several types, which it cannot hold, text."""
    try:
        return module.array(values)
    except (module.ArrowInvalid, module.ArrowTypeError):
        return module.array([None if one is None else str(one) for one in values])


def from_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows of the same names as columns; those that a row has not are null there."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def to_rows(frame: Any) -> list[dict[str, Any]]:
    """The rows of a frame of any of the three kinds, or of a list of them, with nulls as None."""
    if isinstance(frame, list | tuple):
        return [dict(row) for row in frame]
    if hasattr(frame, "to_pylist"):
        found = frame.to_pylist()
    elif hasattr(frame, "to_dicts"):
        found = frame.to_dicts()
    elif hasattr(frame, "to_dict"):
        found = frame.astype(object).where(frame.notna(), None).to_dict("records")
    else:
        raise TypeError(f"rows are a frame or a list of dicts, not {type(frame).__name__}")
    return [dict(row) for row in found]
