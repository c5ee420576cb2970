"""Avro container files, row by row: what Kafka's own connectors and Hadoop write.

Laws of this file:
- A file says its own schema, so nothing is asked of a registry. Values are as JSON has them: times in ms, decimals floats.
- Without the extra, it is said which one it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import fsspec

from penstock.stream.files.reading import CannotUse, said
from penstock.stream.files.values import plain


def is_avro(address: str) -> bool:
    """Whether an address names an Avro container file."""
    return address.lower().endswith(".avro")


def avro_rows(address: str) -> Iterator[dict[str, Any]]:
    """Its records in order. Raises `CannotUse`."""
    try:
        import fastavro
    except ImportError as error:
        raise CannotUse(
            f"{address} is Avro and fastavro is not here ({error}): `pip install 'penstock[formats]'`, or take Parquet, CSV or "
            "JSON lines"
        ) from None
    with said(address), fsspec.open(address, "rb") as file:
        for row in fastavro.reader(file):
            if not isinstance(row, dict):
                raise CannotUse(f"{address}: its schema is no record, so its rows are no events")
            yield {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """A value as JSON has it, all the way down."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return plain(value) if isinstance(value, datetime) or not isinstance(value, str | int | float) else value
