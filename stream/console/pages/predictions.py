"""Predictions: one by its id, with its vector, label, who answered and what each input added; and the newest ones.

Laws of this file:
- `shown` is pure. Contributions are those of `penstock explain`: by the very models that made the prediction. They are worked out
  only when asked for, beside the page, which shows all else at once.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from penstock.stream import topology
from penstock.stream.console.page import Asked, Page
from penstock.stream.console.reading import made
from penstock.stream.console.reading.republish import number
from penstock.stream.console.reading.servers import Servers, servers_of
from penstock.stream.console.state import PipelineState
from penstock.stream.definitions import Pipeline
from penstock.stream.explain.explanation import Contribution
from penstock.stream.history_record import HistoryRecord
from penstock.stream.log.protocol import LogError, UnknownTopic
from penstock.stream.messages import Sample
from penstock.stream.operate.expert_lines import kind_in_words
from penstock.stream.operate.past import Past, explain_past
from penstock.stream.operate.stored_header import guarded, snapshot_of
from penstock.stream.prediction import Prediction
from penstock.stream.process.terminal import printable
from penstock.stream.topology import deployed

KEPT_S, AGAIN_S = 300.0, 15.0
NEWEST_KEPT_S = 2.0
MOST_ID_CHARACTERS = 1_000


def reads(asked: Asked, sources: Any) -> dict[str, Any]:
    """The prediction that is asked for, or the newest ones; `failed` says why nothing."""
    servers, name = servers_of(sources), asked.state.name
    event_id, position = (
        asked.query.get("id", "")[:MOST_ID_CHARACTERS],
        number(asked.query.get("position", "")),
    )
    found: dict[str, Any] = dict.fromkeys(("newest", "searched", "sample", "label", "work"))
    found |= {"failed": "", "full": False, "id": event_id, "position": position}
    try:
        if event_id or position is not None:
            _one(servers, asked, found)
        else:
            found["newest"] = servers.kept(
                ("predictions", name), NEWEST_KEPT_S, lambda: made.newest(servers, name)
            )
    except LogError as error:
        found["failed"] = str(error)
    return found


def _one(servers: Servers, asked: Asked, found: dict[str, Any]) -> None:
    """Fill in what there is of one prediction."""
    name, samples = asked.state.name, topology.samples(asked.state.name, servers.prefix)
    position, event_id = found["position"], found["id"]

    def sample_at(place: int) -> Sample | None:
        key = ("sample", name, place)
        return servers.kept(key, AGAIN_S, lambda: made.sample_at(servers.log, samples, place))

    if position is not None:
        found["sample"] = sample_at(position)
        if found["sample"] is None:
            return
        found["id"] = event_id = found["sample"].id
    key = ("prediction", name, event_id, position)
    try:
        searched: made.Searched = servers.kept(
            key,
            lambda one: KEPT_S if one.prediction is not None else AGAIN_S,
            lambda: made.search(servers, name, event_id, position),
        )
    except UnknownTopic as error:
        found["failed"] = str(error)
        return
    found["searched"], said = searched, searched.prediction
    if said is None and found["sample"] is None:
        return
    place = said.position if said is not None else position
    sample = found["sample"] or sample_at(place)
    found["sample"], found["position"] = sample, place
    pipeline = asked.definition
    if sample is None or pipeline is None:
        return
    found["label"] = servers.kept(
        ("label", name, place),
        lambda one: KEPT_S if one.how in ("label", "corrected") else AGAIN_S,
        lambda: made.label_of(servers, pipeline, sample, place),
    )
    _why(servers, pipeline, asked.query.get("why") == "yes", place, found)


def _why(servers: Servers, pipeline: Pipeline, ask: bool, position: int, found: dict[str, Any]) -> None:
    """What each input added, if somebody has asked."""
    key = (pipeline.name, pipeline.digest, position)
    found["work"] = servers.explaining.known(key)
    if ask:
        found["work"] = servers.explaining.ask(key, explained(servers, pipeline, position))
        found["full"] = found["work"] is None


def explained(servers: Servers, pipeline: Pipeline, position: int) -> Callable[[Any], Past]:
    """What works the explanation out, as `penstock explain --position` does."""

    def work(progress: Callable[[int, int], None]) -> Past:
        _, header = snapshot_of(servers.client, deployed(pipeline.name, servers.prefix))
        topics = (
            topology.samples(pipeline.name, servers.prefix),
            topology.predictions(pipeline.name, servers.prefix),
        )
        return explain_past(
            pipeline,
            servers.log,
            topics,
            None,
            position=position,
            guard=guarded(pipeline, header),
            outside=servers.versions(pipeline.name),
            progress=progress,
        )

    return work


def shown(asked: Asked) -> Mapping[str, Any]:
    """Everything of the page."""
    read, state = asked.read, asked.state
    searched, sample, work = read["searched"], read["sample"], read["work"]
    said: Prediction | None = searched.prediction if searched else None
    position = read["position"]
    past: Past | None = work.found if work is not None and work.how == "done" else None
    one_by_id = "" if read["id"] == "" else shlex.quote(printable(read["id"]))
    return {
        "state": state,
        "id": read["id"],
        "given_id": asked.query.get("id", "")[:MOST_ID_CHARACTERS],
        "given_position": asked.query.get("position", "")[:30],
        "asked_for": bool(read["id"] or asked.query.get("position", "").strip()),
        "failed_to_read": read["failed"],
        "searched": searched,
        "said": said,
        "answer": answer(said) if said else "",
        "place": position,
        "sample": sample,
        "vector": vector(sample, asked.definition, past) if sample else [],
        "other_definition": bool(sample and asked.definition and not _same(sample, asked.definition)),
        "label": read["label"],
        "weights": weights(state, position) if position is not None else None,
        "work": work,
        "full": read["full"],
        "past": past,
        "newest": read["newest"],
        "newest_answers": [answer(one) for one in read["newest"] or ()],
        "command": f"penstock explain FILE --position {position}"
        if said is not None
        else f"penstock explain FILE {one_by_id or 'ID'}",
    }


def answer(said: Prediction) -> str:
    """What was predicted, in figures as `penstock explain` writes them; with what else was said."""
    value = said.prediction
    text = "none" if value is None else value if isinstance(value, str) else f"{value:.6g}"
    if isinstance(value, str) and said.classes:
        text += f" ({said.classes.get(value, 0.0):.6g})"
    return text


def _same(sample: Sample, pipeline: Pipeline) -> bool:
    """Whether the definition here names this sample's vector."""
    return len(sample.x) == len(pipeline.vector_names) and sample.recipe in ("", pipeline.digest)


def vector(
    sample: Sample, pipeline: Pipeline | None, past: Past | None
) -> list[tuple[str, str, Contribution | None]]:
    """The inputs: name, value, and what each added, where that was worked out; then the largest first."""
    if pipeline is None or not _same(sample, pipeline):
        return [(f"input {place}", _value(value), None) for place, value in enumerate(sample.x)]
    rows = dict(zip(pipeline.vector_names, map(_value, sample.x), strict=True))
    if past is None:
        return [(name, value, None) for name, value in rows.items()]
    return [(one.feature, rows.get(one.feature, _value(one.value)), one) for one in past.why.contributions]


def _value(value: Any) -> str:
    return "null" if value is None else printable(str(value))


def weights(state: PipelineState, position: int) -> tuple[HistoryRecord, list[tuple[str, str, float]]] | None:
    """Who was believed when the prediction was made, as of the last block of labels before it; None if that is not kept here."""
    before = [one for one in state.blocks if one.position <= position and one.experts]
    if not before:
        return None
    told = sorted(before[-1].experts, key=lambda one: -one.weight)
    return before[-1], [(one.version, kind_in_words(one.kind), one.weight) for one in told]


PAGE = Page("predictions", "Predictions", "/pipelines/{pipeline}/predictions", shown, order=42, reads=reads)
