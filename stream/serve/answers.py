"""What the serve role answers, as typed structs: what a program reads, and what the OpenAPI document is made from.

Laws of this file:
- A new field always has a default; a field is never renamed or reused.
- An error is a whole sentence: what, and what to do.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.stream.prediction import ModelRef
from penstock.stream.serving import Arm


class FeaturesFound(msgspec.Struct, frozen=True):
    """What an answer rests on.

    `age_ms` is, by view, from the newest event of the entity to the event asked about. `missing` are features of entities that
    nothing is stored of, `stale` those older than the request's `max_age`, `null` other inputs without a value.
    `outside` are inputs far outside what was learned.
    """

    age_ms: dict[str, int] = {}
    missing: list[str] = []
    stale: list[str] = []
    null: list[str] = []
    outside: list[str] = []


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The answer to one event: as the predictions topic would have it, with what it rests on.

    `position` is the samples-log offset up to which the models knew the log, `trained_to` that up to which the live one had
    learned. `error` says why there is no prediction of this event; then there is nothing else but perhaps its `id`.
    `by_version` is what the version asked for says by itself, beside the live prediction. `as_of` is the moment of the features,
    if one was asked for. `arm` is whose answer this is, where the definition names a challenger. `degraded` says that features
    could not be read: all of them are missing.
    """

    id: str | None = None
    at: int | None = None
    prediction: float | str | None = None
    model: ModelRef | None = None
    recipe: str | None = None
    position: int | None = None
    trained_to: int | None = None
    classes: dict[str, float] | None = None
    rank: float | None = None
    alert: bool | None = None
    calibrated: float | None = None
    set: list[str] | None = None
    interval: tuple[float | None, float | None] | None = None
    features: FeaturesFound | None = None
    vector: dict[str, float | str | bool | None] | None = None
    explanation: dict[str, Any] | None = None
    by_version: dict[str, Any] | None = None
    error: str | None = None
    as_of: int | None = None
    arm: Arm | None = None
    degraded: bool = False


class Predictions(msgspec.Struct, frozen=True):
    """The answers to a list of events, in its order. All come from the same models at the same position."""

    predictions: list[Prediction]


class ViewShown(msgspec.Struct, frozen=True):
    """A view: the fields that name its entity, its features, and those of them that models read."""

    name: str
    key: list[str]
    features: list[str]
    numeric: list[str]


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers for a share of the entities. `version` is null, and `why` says why, while the champion answers for all."""

    challenger: str
    share: float
    version: str | None = None
    why: str = ""


class PipelineShown(msgspec.Struct, frozen=True, kw_only=True):
    """One pipeline that is served, and by which models; those are null while learn has given none."""

    name: str
    task: str
    recipe: str
    inputs: list[str]
    views: list[ViewShown]
    ready: bool
    why: str = ""
    model: ModelRef | None = None
    position: int | None = None
    trained_to: int | None = None
    at: int | None = None
    learning_held: bool = False
    weights: dict[str, float] = {}
    routing: Routing | None = None


class Pipelines(msgspec.Struct, frozen=True):
    """Every pipeline that is served here."""

    pipelines: list[PipelineShown]


class EntityFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """The features of one entity as of a moment: `status` is present, null, missing or stale by name."""

    view: str
    entity: str
    found: bool
    values: dict[str, Any]
    status: dict[str, str]
    at: int | None = None
    age_ms: int | None = None
    until: int | None = None


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why there is no answer. `position` and `version` are those that answer now, where that is what is wrong."""

    error: str
    position: int | None = None
    version: str | None = None
