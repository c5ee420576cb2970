"""The OpenAPI 3.1 document of what is served, made from the answers' own types and the pipelines' definitions.

Laws of this file:
- A function of the definitions: no clock, no address.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import field_types
from penstock.stream.models.version import PENSTOCK
from penstock.stream.serve import answers, tensors
from penstock.stream.serve.requests import OPTIONS

__all__ = ["document", "event_schema"]

REFUSALS = {
    "400": "the request cannot be read, or an option is wrong",
    "401": "a token is needed",
    "404": "no such pipeline, view or version",
    "409": "the models have not reached what is asked for: Retry-After says when to try again",
    "413": "too many bytes or rows",
    "422": "the event would be a dead letter: the reason is the same; or its features are asked for as of a moment that is over",
    "429": "too many requests at once: Retry-After says when to try again",
    "500": "no model gave an answer, or the server failed",
    "503": "Redis is away, or learn has stored no models yet",
}
NAMES = (
    answers.Prediction,
    answers.Predictions,
    answers.PipelineShown,
    answers.Pipelines,
    answers.EntityFeatures,
    answers.Problem,
    tensors.InferRequest,
    tensors.InferResponse,
    tensors.ModelMetadata,
)


def event_schema(pipeline: Pipeline) -> dict[str, Any]:
    """The JSON schema of an event that is asked about: the fields that its topic's events must have, but for the label's."""
    found: dict[str, Any] = {}
    types = field_types(pipeline, pipeline.predict, asked=True)
    for name, kind in types.items():
        found[name] = msgspec.json.schema(kind)
    return {"type": "object", "properties": found, "required": list(types), "additionalProperties": True}


def document(pipelines: Sequence[Pipeline], tokens: bool) -> dict[str, Any]:
    """The whole document."""
    _, schemas = msgspec.json.schema_components(NAMES, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {
        "/v1/pipelines": {"get": _get("every pipeline that is served, and its models", "Pipelines")},
        "/v2": {"get": _get("the server, in the Open Inference Protocol", None)},
        "/v2/health/live": {"get": _get("whether the server lives", None)},
        "/v2/health/ready": {"get": _get("whether every pipeline can be asked", None)},
    }
    events: dict[str, Any] = {}
    for pipeline in pipelines:
        name = pipeline.name
        events[f"{name}.event"] = event_schema(pipeline)
        event = {"$ref": f"#/components/schemas/{name}.event"}
        paths[f"/v1/pipelines/{name}"] = {"get": _get("this pipeline and its models", "PipelineShown")}
        for verb, what in (("predict", "predict"), ("explain", "predict, and say why")):
            paths[f"/v1/pipelines/{name}:{verb}"] = {"post": _asked(f"{what}: one event or a list", event)}
        if pipeline.views:
            paths[f"/v1/pipelines/{name}/features/{{view}}/{{entity}}"] = {"get": _features(pipeline)}
        model = f"/v2/models/{name}"
        paths[model] = {"get": _get("the model, in the Open Inference Protocol", "ModelMetadata")}
        paths[f"{model}/ready"] = {"get": _get("whether it can be asked", None)}
        paths[f"{model}/infer"] = {"post": _infer("predict: a column a field of the event")}
        one = _infer("what one kept version says: an id, a name, champion or previous")
        named = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
        paths[f"{model}/versions/{{version}}/infer"] = {"post": {**one, "parameters": [named]}}
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": PENSTOCK or "0",
            "description": "Predictions and features on request, at a known position of the log.",
        },
        "paths": paths,
        "components": {"schemas": {**schemas, **events}},
    }
    if tokens:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
    return made


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _responses(name: str | None, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    good = schema or ({"type": "object"} if name is None else {"$ref": f"#/components/schemas/{name}"})
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    found: dict[str, Any] = {
        "200": {"description": "the answer", "content": {"application/json": {"schema": good}}}
    }
    for status, why in REFUSALS.items():
        found[status] = {"description": why, "content": problem}
    return found


def _get(summary: str, name: str | None) -> dict[str, Any]:
    return {"summary": summary, "responses": _responses(name)}


def _infer(summary: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": _json({"$ref": "#/components/schemas/InferRequest"}),
        "responses": _responses("InferResponse"),
    }


def _asked(summary: str, event: dict[str, Any]) -> dict[str, Any]:
    refs = [{"$ref": f"#/components/schemas/{name}"} for name in ("Prediction", "Predictions")]
    options = [
        {"name": name, "in": "query", "description": what, "schema": {"type": "string"}}
        for name, what in OPTIONS.items()
    ]
    return {
        "summary": summary,
        "parameters": options,
        "requestBody": _json({"oneOf": [event, {"type": "array", "items": event}]}),
        "responses": _responses(None, {"anyOf": refs}),
    }


def _features(pipeline: Pipeline) -> dict[str, Any]:
    views = [view.name for view in pipeline.views]
    return {
        "summary": "the features of one entity",
        "parameters": [
            {"name": "view", "in": "path", "required": True, "schema": {"enum": views}},
            {
                "name": "entity",
                "in": "path",
                "required": True,
                "description": "the value of the view's key; the parts of a compound key joined by |",
                "schema": {"type": "string"},
            },
            {
                "name": "at",
                "in": "query",
                "description": "a moment of event time, in ms or RFC 3339 (now)",
                "schema": {"type": "string"},
            },
        ],
        "responses": _responses("EntityFeatures"),
    }
