"""What the Open Inference Protocol v2 sends and gets: tensors by column.

Laws of this file:
- A column has one value a row; what does not fit its shape is a refusal that names it.
"""

from __future__ import annotations

from math import isnan
from typing import Any

import msgspec

from penstock.stream.serve.answers import Problem
from penstock.stream.serve.asking import Refusal
from penstock.stream.serve.binary import BadBinary, column

Parameters = dict[str, str | float | int | bool]
FLOATS = ("FP16", "FP32", "FP64")


class Tensor(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column. `data` is flat, or nested as `shape` says; `shape` begins with the number of rows."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] = []
    parameters: Parameters = {}


class Wanted(msgspec.Struct, frozen=True):
    """An output that is asked for."""

    name: str
    parameters: Parameters = {}


class InferRequest(msgspec.Struct, frozen=True):
    """`POST /v2/models/M/infer`."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: Parameters = {}
    outputs: list[Wanted] = []


class InferResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Its answer; `parameters` say position, trained_to and recipe."""

    model_name: str
    model_version: str
    outputs: list[Tensor]
    id: str | None = None
    parameters: Parameters = {}


class TensorShown(msgspec.Struct, frozen=True):
    """A column in a model's metadata; -1 is any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(msgspec.Struct, frozen=True):
    """`GET /v2/models/M`."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorShown]
    outputs: list[TensorShown]


def with_binary(request: InferRequest, rest: bytes) -> InferRequest:
    """The request with the columns that follow its JSON. Raises `BadBinary`."""
    inputs, place = [], 0
    for one in request.inputs:
        size = one.parameters.get("binary_data_size")
        if not isinstance(size, int):
            inputs.append(one)
            continue
        data = column(one.name, one.datatype, rest[place : place + max(size, 0)])
        place += max(size, 0)
        inputs.append(msgspec.structs.replace(one, data=data))
    if place != len(rest):
        raise BadBinary(f"{len(rest)} bytes follow the JSON, and the inputs say {place}")
    return msgspec.structs.replace(request, inputs=inputs)


def values(tensor: Tensor) -> list[Any]:
    """The values of a column, one a row. Raises `Refusal` where shape and data do not fit."""
    rows = tensor.shape[0] if tensor.shape else 0
    if any(size != 1 for size in tensor.shape[1:]):
        raise Refusal(
            400,
            Problem(
                f"input {tensor.name!r} has shape {tensor.shape}: send a column a field, of shape [rows] or [rows, 1]"
            ),
        )
    flat = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in tensor.data]
    if len(flat) != rows:
        raise Refusal(400, Problem(f"input {tensor.name!r} has {len(flat)} values and its shape says {rows}"))
    if tensor.datatype in FLOATS:
        return [None if isinstance(one, float) and isnan(one) else one for one in flat]
    return flat
