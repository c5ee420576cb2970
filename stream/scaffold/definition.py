"""Answers → the text of a definition file, of its test, and of the events that the test is about.

Laws of this file:
- Pure, and the same answers give the same text. What is written passes `penstock check`; whoever writes it makes sure.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from penstock.features.define.durations import milliseconds
from penstock.stream.scaffold.answers import Answers, quoted
from penstock.stream.task_kind import Kind

_MODELS: dict[Kind, tuple[str, str]] = {
    "binary": (
        "linear_model, preprocessing",
        "preprocessing.StandardScaler() | linear_model.LogisticRegression()",
    ),
    "multiclass": ("tree", "tree.HoeffdingTreeClassifier()"),
    "regression": (
        "linear_model, preprocessing",
        "preprocessing.StandardScaler()\n"
        "    | preprocessing.TargetStandardScaler(regressor=linear_model.LinearRegression(intercept_lr=0.1))",
    ),
    "anomaly": ("anomaly, preprocessing", "preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=1)"),
    "unlabelled": ("anomaly, preprocessing", "preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=1)"),
}
"""By task: what is imported from river, and the model."""
_ASKS: dict[Kind, str] = {
    "binary": "Is {label} true",
    "multiclass": "Which {label}",
    "regression": "How much is {label}",
    "anomaly": "Is {label} true, asked of a detector of what is unusual",
    "unlabelled": "How unusual is this event",
}
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
STEP_MS = 10 * 60_000
EVENTS = 12


def definition(answers: Answers) -> str:
    """The definition file."""
    used, model = _MODELS[answers.task]
    kinds = dict.fromkeys(one.kind for one in answers.features)
    names = ["Label"] * answers.labelled + ["Pipeline", "Source"] + ["View"] * bool(answers.features)
    lines = [
        f'"""{_ASKS[answers.task].format(label=answers.label)}? Asked of each event of {answers.own_topic}, as it comes."""',
        "",
        f"from river import {used}",
        "",
        f"from penstock import {', '.join([*names, *sorted(kinds)])}",
        "",
        "# A topic of JSON objects: which field is the event's id, which its time, and which says whom it is about.",
        f"events = {_source(answers.own_topic, answers.id, answers.time, answers.key)}",
    ]
    if answers.labelled and answers.label_topic:
        lines += [
            "# The answers come later, in a topic of their own. They have the id of the event that they answer.",
            f"answers = {_source(answers.label_topic, answers.id, answers.own_label_time, answers.key)}",
        ]
    lines += ["", "pipeline = Pipeline(", f"    {quoted(answers.name)},", *_views(answers)]
    lines += [
        "    predict=events,  # one prediction for each of these",
        f"    inputs=[{', '.join(map(quoted, answers.inputs))}],  # fields of the event that the model reads, too",
        *_label(answers),
        f"    model={model},",
        *(['    task="multiclass",'] if answers.task == "multiclass" else []),
        *(['    task="anomaly",'] if answers.task == "anomaly" else []),
        ")",
    ]
    return "\n".join(lines) + "\n"


def _source(topic: str, event_id: str, time: str, key: str) -> str:
    return f"Source({quoted(topic)}, id={quoted(event_id)}, time={quoted(time)}, key={quoted(key)})"


def _views(answers: Answers) -> Iterator[str]:
    """The views, one for each field that features are keyed by."""
    if not answers.features:
        yield "    views=[],"
        return
    yield "    views=["
    for key in dict.fromkeys(one.key for one in answers.features):
        yield "        View("
        name = "".join(one if one.isalnum() and one.isascii() else "_" for one in key)
        name = name if name[:1].isalpha() else f"by_{name}"
        yield f"            {quoted(name)},"
        yield "            events,"
        yield f"            key={quoted(key)},"
        yield "            features=dict("
        yield from (f"                {one.name}={one.call}," for one in answers.features if one.key == key)
        yield "            ),"
        yield "        ),"
    yield "    ],"


def _label(answers: Answers) -> Iterator[str]:
    if not answers.labelled:
        yield "    label=None,  # it learns what is usual from the events themselves"
        return
    source = "answers" if answers.label_topic else "events"
    yield f"    label=Label({source}, {quoted(answers.label)}, wait={quoted(answers.wait)}),"


def test_file(answers: Answers) -> str:
    """The test of the definition, for pytest."""
    return f'''\
"""What {answers.file}.py makes of events, without a server. Run it with `pytest`.

After a change that is meant, `pytest --penstock-update` writes expected.jsonl anew: read the difference before you commit it.
"""


def test_the_events_give_what_is_expected_and_no_feature_knows_the_answer(penstock_flow):
    penstock_flow.check("{answers.file}.py", "events.jsonl", "expected.jsonl")


def test_what_is_no_event_is_a_dead_letter_and_stops_nothing(penstock_flow):
    flow = penstock_flow("{answers.file}.py")
    flow.send({{}}, topic={quoted(answers.own_topic)})
    assert len(flow.dead_letters()) == 1 and flow.samples() == []
'''


def event_lines(answers: Answers, rows: Iterable[Mapping[str, Any]] = ()) -> str:
    """The events of the test: these rows, or made-up ones."""
    events = [(answers.own_topic, dict(row)) for row in rows] or made_up(answers)
    lines = [json.dumps({"topic": topic, "value": value}, ensure_ascii=False) for topic, value in events]
    said = (
        "Rows of the file that the pipeline was made from" if rows else "Made up: put events of your own here"
    )
    return "\n".join([f"# {said}. `penstock test --help` says what a line may be.", *lines]) + "\n"


def made_up(answers: Answers) -> list[tuple[str, dict[str, Any]]]:
    """(topic, event): a dozen events of two entities, and their answers, in the order of event time."""
    made: list[tuple[int, str, dict[str, Any]]] = []
    keys = list(dict.fromkeys([answers.key, *(one.key for one in answers.features)]))
    numbers = list(dict.fromkeys([*answers.inputs, *(one.field for one in answers.features if one.field)]))
    later_ms = min(milliseconds(answers.wait) // 2, STEP_MS * 3) if answers.labelled else 0
    for n in range(EVENTS):
        at = START_MS + n * STEP_MS
        event: dict[str, Any] = {answers.id: f"e{n + 1}", answers.time: at}
        event |= {key: f"{key}-{n % 2 + 1}" for key in keys if key not in event}
        event |= {name: round(10 + 7.5 * ((n * n + place) % 5), 2) for place, name in enumerate(numbers)}
        if answers.labelled and not answers.label_topic:
            event[answers.label] = _answer(answers.task, n)
        made.append((at, answers.own_topic, event))
        if answers.labelled and answers.label_topic:
            there = at + later_ms
            answer = {answers.id: f"e{n + 1}", answers.own_label_time: there}
            answer |= {key: event[key] for key in [answers.key] if key not in answer}
            made.append((there, answers.label_topic, {**answer, answers.label: _answer(answers.task, n)}))
    return [(topic, event) for _, topic, event in sorted(made, key=lambda one: one[0])]


def _answer(task: Kind, n: int) -> Any:
    if task == "multiclass":
        return ("low", "middle", "high")[n % 3]
    return 1.5 * n if task == "regression" else n % 3 == 0


def next_steps(answers: Answers, folder: str, rows: Sequence[str] = ()) -> str:
    """What to do next, for people; `rows` names the file with all rows as JSON lines, if there is one."""
    file = f"{answers.file}.py"
    publish = [f"penstock publish {answers.own_topic} {one} --file {file}" for one in rows]
    publish = publish or [f"penstock publish {answers.own_topic} YOUR_EVENTS.ndjson --file {file}"]
    lines = [
        "next",
        f"  cd {shlex.quote(folder)}",
        f"  penstock check {file}",
        f"  penstock test {file} --events events.jsonl --expect expected.jsonl",
        "  pytest",
        f"  penstock up {file}        # Kafka, Redis and every role on this machine",
        "then, in a second terminal, with the two export lines that it prints",
        *(f"  {line}" for line in publish),
        f"  penstock watch {answers.name} --from-start",
        "or all of it in Docker (docker-compose.yml says where the image comes from)",
        "  PENSTOCK_SECRET=$(openssl rand -hex 32) docker compose up",
    ]
    return "\n".join(lines)
