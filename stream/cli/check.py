"""`penstock check FILE`: is the definition right, what will it do, and are its producers' records right?"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from typing import Any

from penstock.stream import steps
from penstock.stream.cli import check_sample, picture
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline, Source
from penstock.stream.featurize.model_trial import check_model, text_inputs
from penstock.stream.formats.reading import check_readable
from penstock.stream.learn.watching.segments import budget_of_segments, budget_of_whole
from penstock.stream.operate.expected import check_outcome, example, example_line, expected_fields
from penstock.stream.operate.sampling import Judged, judge, newest
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from penstock.stream.targets import TAKEN
from penstock.stream.task_kind import MEANINGS, final_of, names_only
from penstock.stream.triggers import ALL, SINCE_ONSET, in_words, window_of

EXAMPLES = """\
examples:
  penstock check examples/flights.py                          the pipeline, its flow, and what its topics must hold
  penstock check examples/flights.py --sample                 and are the newest records of its topics like that?
  penstock check examples/flights.py --sample flights.arrivals --records 5000
  penstock check examples/flights.py --picture                only the picture of the flow
  penstock check examples/flights.py --steps                  each step's topics and Redis keys
  penstock check examples/flights.py --json | jq .recipe

For each source it prints the declared fields and an example: a line of JSON for `penstock publish TOPIC - --file FILE`.
--sample reads Kafka (KAFKA_BOOTSTRAP_SERVERS) and changes nothing. It says whether types and times are right, whether a
record's key is the declared field and its partition that key's murmur2, and which share would be dead letters and why.
Exit codes: 0 right, 1 a sample is wrong, 2 the definition is wrong (one line) or Kafka does not answer."""
RECORDS = 1_000


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "check",
        help="check a definition file, say what it will do, and look at its topics",
        description="Check a definition file and print the pipeline it defines; with --sample, judge its topics' records too.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the Python file with the Pipeline")
    command.add_argument(
        "--sample",
        metavar="TOPIC",
        nargs="?",
        const="",
        help="read the newest records of this source, or of all sources without TOPIC, and judge them",
    )
    command.add_argument(
        "--records", type=int, default=RECORDS, metavar="N", help=f"how many of a topic (default {RECORDS:,})"
    )
    only = command.add_mutually_exclusive_group()
    only.add_argument("--picture", action="store_true", help="print only the picture of the flow")
    only.add_argument(
        "--steps", action="store_true", help="print only what each step reads, writes and keeps"
    )
    only.add_argument("--json", action="store_true", help="print the definition as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Load, check and print."""
    pipeline = load(args.file)
    for source in pipeline.sources:
        check_readable(source)
    check_model(pipeline)
    check_outcome(pipeline)
    flow = steps.of(pipeline, settings.prefix)
    if args.picture or args.steps:
        print(picture.picture(flow) if args.picture else picture.describe(flow))
        return 0
    names = [source.name for source in pipeline.sources]
    if args.records < 1 or (args.sample and args.sample not in names):
        wrong = (
            "--records must be at least 1"
            if args.records < 1
            else f"no source {args.sample!r}; there are: {', '.join(names)}"
        )
        print(f"penstock: {wrong}", file=sys.stderr)
        return 2
    wanted = [one for one in pipeline.sources if args.sample in ("", one.name)]
    judged = sampled(pipeline, wanted, settings, args.records) if wanted else []
    if args.json:
        print(json.dumps(as_json(pipeline, judged)))
    else:
        print(
            "\n".join(
                [
                    describe(pipeline),
                    *registry_lines(pipeline, settings),
                    "",
                    picture.picture(flow),
                    "",
                    *expectations(pipeline),
                ]
            )
        )
        for one, source in zip(judged, wanted, strict=True):
            told = check_sample.as_text(one, "|".join(source.key_fields), partitioned=pipeline.partitioned)
            print("\n".join(["", *told]))
    return 1 if any(one.wrong for one in judged) else 0


def sampled(pipeline: Pipeline, sources: list[Source], settings: Settings, most: int) -> list[Judged]:
    """The newest records of these sources, judged."""
    with closing(start.open_log(settings)) as log:
        return [judge(pipeline, source, *newest(log, source.name, most)) for source in sources]


def as_json(pipeline: Pipeline, judged: list[Judged]) -> dict[str, Any]:
    """The definition for programs."""
    now = wall_ms()
    expected = {
        source.name: {
            "fields": {field.name: field.holds for field in expected_fields(pipeline, source)},
            "example": example(pipeline, source, now),
        }
        for source in pipeline.sources
    }
    found = {
        "recipe": pipeline.digest,
        "vector": pipeline.vector_names,
        **pipeline.describe(),
        "task": pipeline.kind,
        "retrain": retrains(pipeline),
        "detectors": detectors(pipeline),
        "budget": {"whole": budget_of_whole(pipeline), "segments": budget_of_segments(pipeline)},
        "expected": expected,
    }
    return {**found, "sampled": [check_sample.as_json(one) for one in judged]} if judged else found


def describe(pipeline: Pipeline) -> str:
    """The pipeline in words, a line per part."""
    parts = getattr(pipeline.model, "steps", {"": pipeline.model}).values()
    one_task = (
        "one task owns all partitions (a view is keyed unlike its source); `penstock flink` runs it on many"
    )
    lines = [
        f"pipeline  {pipeline.name}  (recipe {pipeline.digest})",
        f"predicts  each event of {pipeline.predict.name!r}, at its {pipeline.predict.time!r}",
        *_task(pipeline),
        *_label(pipeline),
        f"model     {' | '.join(type(step).__name__ for step in parts)}",
        f"scaling   {'by partition' if pipeline.partitioned else one_task}",
        "vector    " + ", ".join(pipeline.vector_names),
    ]
    lines += segment_lines(pipeline)
    lines += [
        f"{'detector' if not number else '':<9} {one}" for number, one in enumerate(detectors(pipeline))
    ]
    lines += [f"{'retrain' if not number else '':<9} {one}" for number, one in enumerate(retrains(pipeline))]
    if pipeline.inputs:
        taken = text_inputs(pipeline)
        texts = [name for name in pipeline.inputs if name in taken]
        lines.append(
            f"text      taken in {', '.join(texts)}; in another input it makes the record a dead letter"
            if texts
            else "text      in an input makes the record a dead letter: this model takes numbers"
        )
    lines += [
        f"view      {view.name}: {', '.join(view.features)}  from {view.source.name!r} per {', '.join(view.key_fields)}"
        for view in pipeline.views
    ]
    return "\n".join(lines)


def registry_lines(pipeline: Pipeline, settings: Settings) -> list[str]:
    """Where schemas are asked for and registered; no line where none has an id."""
    if not any(source.by_id for source in pipeline.sources) and pipeline.output_format == "json":
        return []
    where = (
        settings.schema_registry or "nowhere: PENSTOCK_SCHEMA_REGISTRY_URL is not set, and the roles need it"
    )
    return [f"registry  {where}"]


def segment_lines(pipeline: Pipeline) -> list[str]:
    """What is watched by segment, and how the budget of alarms is shared; no line without segments."""
    if not pipeline.segments:
        return []
    whole, rest = budget_of_whole(pipeline), budget_of_segments(pipeline)
    beside = f"; samples carry {', '.join(pipeline.carried)} beside the vector" if pipeline.carried else ""
    return [
        f"segments  {', '.join(pipeline.segments)}{beside}",
        f"          false alarms a year, of each kind of test: {whole:g} of the whole, {rest:g} of all segments "
        "together",
    ]


def detectors(pipeline: Pipeline) -> list[str]:
    """The definition's own detectors, each with its series and what it is given."""
    given = {None: "values as they come"}
    return [
        f"{one.shown} on {one.on}, {given.get(one.block, f'means of {one.block} values in units of their noise')}"
        f"{', told as a warning' if one.tell == 'warn' else ''}"
        for one in pipeline.monitors
    ]


def retrains(pipeline: Pipeline) -> list[str]:
    """What starts a retrain, and from what it learns: a person first, then the definition's triggers."""
    asked = pipeline.retrain_window if pipeline.retrain_window not in (None, SINCE_ONSET) else ALL
    said = [f"{one}; {in_words(window_of(one, pipeline.retrain_window))}" for one in pipeline.retrain]
    return [f"on demand (penstock retrain {pipeline.name}); {in_words(asked or ALL)}", *said]


def _task(pipeline: Pipeline) -> list[str]:
    """Which task this is, why, and how it is judged."""
    named = type(final_of(pipeline.model)).__name__
    told = f"as the model says ({named})" if pipeline.task is None else f"as task={pipeline.task!r} says"
    if pipeline.task is None and pipeline.kind == "binary" and getattr(pipeline.model, "_multiclass", False):
        told += '; of several classes only with task="multiclass"'
    means = MEANINGS[pipeline.kind]
    lines = [f"task      {pipeline.kind}: {means.predicts}, {told}", f"          judged by {means.judged}"]
    if pipeline.kind in ("binary", "multiclass") and names_only(pipeline.model):
        lines.append(f"          {named} names a class only: how often it is right makes that a probability")
    return lines


def _label(pipeline: Pipeline) -> list[str]:
    label = pipeline.label
    if not pipeline.labelled:
        share = f"{pipeline.alert_share:.2%}".replace(".00%", "%")
        return [
            f"label     none; the model learns from every event, and the highest {share} of scores are alerts"
        ]
    return [
        f"label     {label.sentence}",
        f"          takes {TAKEN[pipeline.target_kind]}; anything else is a dead letter",
    ]


def expectations(pipeline: Pipeline) -> list[str]:
    """What the producers of each topic must write, with an example."""
    lines: list[str] = []
    for source in pipeline.sources:
        key = " | ".join(source.key_fields)
        lines.append(
            f"expects   {source.name}: {source.sentence}, the record's key is {key}, partitioned by murmur2"
        )
        fields = expected_fields(pipeline, source)
        name_width, width = (max(len(row[place]) for row in fields) for place in (0, 1))
        lines += [
            f"  {row.name:<{name_width}}  {row.holds:<{width}}  {', '.join(row.uses)}".rstrip()
            for row in fields
        ]
        reads = pipeline.labelled and pipeline.label.reads_any_field
        if reads and source == pipeline.label.source:
            lines.append("  and whatever else the label reads")
        lines.append(f"  example  {example_line(pipeline, source, wall_ms())}")
    return lines
