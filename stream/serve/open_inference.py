"""The Open Inference Protocol v2, as KServe's, Seldon's and Triton's clients speak it: tensors by column.

Laws of this file:
- A column is a field of the event, as its topic has it; a row is an event. So features are read for it, and our own rules hold.
- A request is answered whole or not at all: a row that would be a dead letter is an error that names it.
- `parameters` of a request take the options of ours. `model_version` is the version that leads, or the one that the path names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import field_types
from penstock.stream.learn.replica import Replica
from penstock.stream.models.version import CHAMPION, PENSTOCK, PREVIOUS
from penstock.stream.serve.answers import Prediction, Problem
from penstock.stream.serve.asking import Asking, Refusal
from penstock.stream.serve.binary import BadBinary
from penstock.stream.serve.limits import Limits
from penstock.stream.serve.requests import asking_of, is_whole
from penstock.stream.serve.served import ServedPipeline
from penstock.stream.serve.tensors import (
    InferRequest,
    InferResponse,
    ModelMetadata,
    Tensor,
    TensorShown,
    values,
    with_binary,
)

OF_CLIENTS = frozenset(
    {
        "content_type",
        "binary_data_output",
        "sequence_id",
        "sequence_start",
        "sequence_end",
        "priority",
        "timeout",
        "headers",
    }
)
"""Parameters that clients send by themselves; they say nothing about a prediction."""
_encode = msgspec.json.Encoder().encode


class Found(NamedTuple):
    """What a path means: a pipeline to ask, and a version of it that must be there; or, with a `body`, what is answered."""

    served: ServedPipeline | None
    version: str = ""
    status: int = 200
    body: Any = None

    def answer(self) -> tuple[int, bytes]:
        """Status and body of an answer that needs no prediction."""
        return self.status, _encode(self.body)


class Rows(NamedTuple):
    """A request, read: events, options, and what its answer repeats."""

    events: list[bytes]
    asking: Asking
    id: str | None
    outputs: list[str]


class OpenInference:
    """The protocol over the pipelines of one process."""

    def __init__(self, pipelines: Mapping[str, ServedPipeline]) -> None:
        self.pipelines = pipelines
        self.decode = msgspec.json.Decoder(InferRequest).decode

    def find(self, method: str, parts: Sequence[str]) -> Found:
        """What is asked for by the parts of a path after `/v2`. Raises `Refusal`."""
        ready = all(one.replica is not None for one in self.pipelines.values())
        match (method, *parts):
            case ("GET",):
                about = {"name": "penstock", "version": PENSTOCK or "0"}
                return Found(None, body={**about, "extensions": ["binary_tensor_data"]})
            case ("GET", "health", "live"):
                return Found(None, body={"live": True})
            case ("GET", "health", "ready"):
                return Found(None, status=200 if ready else 503, body={"ready": ready, "live": True})
            case (_, "models", name, *rest):
                served = self._served(name)
                version = ""
                if len(rest) >= 2 and rest[0] == "versions":
                    version, rest = rest[1], rest[2:]
                if method == "GET" and not rest:
                    return Found(served, version, body=metadata(served))
                if method == "GET" and rest == ["ready"]:
                    there = served.replica is not None
                    shown = {"name": name, "ready": there}
                    return Found(served, version, 200 if there else 503, shown)
                if method == "POST" and rest == ["infer"]:
                    return Found(served, version)
        raise Refusal(404, Problem(f"{method} /v2/{'/'.join(parts)} is nothing that is answered here"))

    def _served(self, name: str) -> ServedPipeline:
        served = self.pipelines.get(name)
        if served is None:
            raise Refusal(
                404, Problem(f"no model {name!r} is served here: there are {', '.join(self.pipelines)}")
            )
        return served

    def request(self, found: Found, body: bytes, limits: Limits, json_bytes: str = "") -> Rows:
        """The rows and options of a request, of which the first `json_bytes` are JSON (empty: all). Raises `Refusal`."""
        size = int(json_bytes) if is_whole(json_bytes) else len(body)
        try:
            request = self.decode(body[:size])
            request = with_binary(request, body[size:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadBinary) as error:
            raise Refusal(400, Problem(f"not an inference request: {error}")) from None
        columns = [(one.name, values(one)) for one in request.inputs]
        rows = len(columns[0][1]) if columns else 0
        for name, given in columns:
            if len(given) != rows:
                raise Refusal(400, Problem(f"input {name!r} has {len(given)} rows and the first one {rows}"))
        if not rows or rows > limits.rows:
            raise Refusal(413 if rows else 400, Problem(f"{rows} rows: there must be 1 to {limits.rows}"))
        events = [_encode({name: given[row] for name, given in columns}) for row in range(rows)]
        options = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in request.parameters.items()
            if name not in OF_CLIENTS
        }
        live = found.served.replica.live.version if found.served and found.served.replica else ""
        if found.version and found.version != live:
            options["version"] = found.version
        asking = asking_of(options, most_wait_ms=limits.wait_ms)
        return Rows(events, asking, request.id, [one.name for one in request.outputs])

    def infer(self, found: Found, request: Rows, answered: Sequence[Prediction | Refusal]) -> InferResponse:
        """The response of answers to a request's rows. Raises `Refusal`."""
        served = found.served
        assert served is not None, "a path without a model infers nothing"
        answers: list[Prediction] = []
        for row, one in enumerate(answered):
            if isinstance(one, Refusal):
                status = one.status if one.status >= 500 else 400
                raise Refusal(status, Problem(f"row {row}: {one}"), one.retry_s)
            answers.append(one)
        outputs = tensors(served.pipeline, answers, by_version=bool(request.asking.version))
        if request.outputs:
            known = {one.name: one for one in outputs}
            if unknown := [name for name in request.outputs if name not in known]:
                raise Refusal(
                    400, Problem(f"there is no output {unknown[0]!r}: there are {', '.join(known)}")
                )
            outputs = [known[name] for name in request.outputs]
        first = answers[0]
        assert first.model is not None, "an answer names its model"
        return InferResponse(
            served.pipeline.name,
            first.model.version if first.by_version is None else first.by_version["version"],
            outputs,
            request.id,
            {
                "position": first.position or 0,
                "trained_to": first.trained_to or 0,
                "recipe": first.recipe or "",
                "weight": first.model.weight,
                **({"degraded": True} if any(one.degraded for one in answers) else {}),
            },
        )


def tensors(pipeline: Pipeline, answers: Sequence[Prediction], *, by_version: bool) -> list[Tensor]:
    """The outputs of answers: the prediction, and how sure it is where the definition says so."""
    shape = [len(answers), 1]
    if by_version:
        said = [None if one.by_version is None else one.by_version["prediction"] for one in answers]
        return [_column(pipeline, "prediction", said, shape)]
    found = [_column(pipeline, "prediction", [one.prediction for one in answers], shape)]
    if pipeline.serving.challenger:
        found.append(Tensor("arm", shape, "BYTES", [one.arm for one in answers], {"content_type": "str"}))
    if pipeline.calibrate:
        found.append(Tensor("calibrated", shape, "FP64", [one.calibrated for one in answers]))
    if pipeline.interval is not None and pipeline.kind == "regression":
        ends = [one.interval or (None, None) for one in answers]
        found.append(Tensor("lower", shape, "FP64", [low for low, _ in ends]))
        found.append(Tensor("upper", shape, "FP64", [high for _, high in ends]))
    return found


def _column(pipeline: Pipeline, name: str, said: list[Any], shape: list[int]) -> Tensor:
    if pipeline.kind == "multiclass":
        return Tensor(
            name, shape, "BYTES", ["" if one is None else one for one in said], {"content_type": "str"}
        )
    return Tensor(name, shape, "FP64", said)


def metadata(served: ServedPipeline) -> ModelMetadata:
    """A pipeline as a model of the protocol."""
    pipeline = served.pipeline
    types = field_types(pipeline, pipeline.predict, asked=True)
    texts = {pipeline.predict.id, *pipeline.predict.key_fields}
    inputs = [
        TensorShown(name, datatype(name, kind, pipeline) if name not in texts else "BYTES", [-1, 1])
        for name, kind in types.items()
    ]
    outputs = [
        TensorShown(one.name, one.datatype, [-1, 1]) for one in tensors(pipeline, [], by_version=False)
    ]
    versions = [] if served.replica is None else aliased(served.replica)
    return ModelMetadata(pipeline.name, versions, "penstock_river", inputs, outputs)


def aliased(replica: Replica) -> list[str]:
    """The live version, and the aliases that mean one."""
    return [replica.live.version, CHAMPION, *([PREVIOUS] if replica.standing.experts.previous else [])]


def datatype(name: str, kind: Any, pipeline: Pipeline) -> str:
    """What a field's column holds: a moment, numbers, or text."""
    if name == pipeline.predict.time:
        return "INT64"
    said = str(kind)
    return "FP64" if "float" in said and "str" not in said else "BYTES" if "str" in said else "INT64"
