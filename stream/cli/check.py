"""`penstock check FILE`: is the definition right, and what will it do?"""

from __future__ import annotations

import argparse
import json

from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.labels import TAKEN
from penstock.stream.featurize.model_trial import check_model, text_inputs
from penstock.stream.process.settings import Settings

EXAMPLES = """\
examples:
  penstock check examples/flights.py
  penstock check examples/flights.py --json | jq .recipe"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "check",
        help="check a definition file and say what it will do",
        description="Check a definition file and print the pipeline it defines. Exit code 2 and one line if it is wrong.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the Python file with the Pipeline")
    command.add_argument("--json", action="store_true", help="print the definition as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Load, check and print."""
    pipeline = load(args.file)
    check_model(pipeline)
    if args.json:
        print(json.dumps({"recipe": pipeline.digest, "vector": pipeline.vector_names, **pipeline.describe()}))
    else:
        print(describe(pipeline))
    return 0


def describe(pipeline: Pipeline) -> str:
    """The pipeline in words, a line per part."""
    label = pipeline.label
    steps = getattr(pipeline.model, "steps", {"": pipeline.model}).values()
    one_task = "one task owns all partitions (a view is keyed unlike its source)"
    lines = [
        f"pipeline  {pipeline.name}  (recipe {pipeline.digest})",
        f"predicts  each event of {pipeline.predict.name!r}, at its {pipeline.predict.time!r}",
        f"label     from {label.source.name!r}, awaited {label.wait}"
        + ("" if label.default is None else f", then taken as {label.default}"),
        f"          takes {TAKEN}; anything else is a dead letter",
        f"model     {' | '.join(type(step).__name__ for step in steps)}",
        f"scaling   {'by partition' if pipeline.partitioned else one_task}",
        "vector    " + ", ".join(pipeline.vector_names),
    ]
    if pipeline.inputs:
        taken = text_inputs(pipeline)
        texts = [name for name in pipeline.inputs if name in taken]
        lines.append(
            f"text      taken in {', '.join(texts) or 'no input'}; in the others it is a dead letter"
        )
    lines += [
        f"view      {view.name}: {', '.join(view.features)}  from {view.source.name!r} per {', '.join(view.key_fields)}"
        for view in pipeline.views
    ]
    return "\n".join(lines)
