"""`penstock new NAME`: a pipeline, its test and its compose file, from a few answers or from a CSV file."""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from penstock.stream.definition_file import load
from penstock.stream.definitions import DefinitionError
from penstock.stream.featurize.model_trial import check_model
from penstock.stream.operate.expected import check_outcome
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable
from penstock.stream.scaffold import columns, definition, guess
from penstock.stream.scaffold.answers import Answers, BadAnswer, FeatureAsked, default_features, feature
from penstock.stream.scaffold.compose import compose
from penstock.stream.task_kind import KINDS, MEANINGS
from penstock.stream.trial.files import Asked, told, tried

EXAMPLES = """\
examples:
  penstock new fraud                                     asks; Enter takes the answer in brackets
  penstock new fraud --yes                               the answers in brackets, without asking
  penstock new fraud --from-csv payments.csv --yes       guesses columns, and says what it guessed and why
  penstock new fraud --from-csv payments.csv --key card --label chargeback --task binary
  penstock new fraud --topic shop.payments --id payment_id --time paid_at --key card --inputs amount,hour --label fraud \\
      --label-topic shop.chargebacks --label-time found_at --wait 30d --view card:count:10m --view card:mean:amount:7d

It writes a folder with the definition, events.jsonl and expected.jsonl (what `penstock test` compares), a test for pytest that
does the same, and docker-compose.yml. --from-csv adds the rows as JSON lines in the order of their time, for `penstock publish`,
and the test's events are its first rows. Nothing that is there is overwritten. What it wrote has passed `penstock check` and
`penstock test` before you see it. A view is KEY:KIND, with a field and a window where the kind has them:
  card:count:10m  card:rate:1h  card:sum:amount:1d  card:mean:amount:7d  card:std:amount:7d  card:min:amount:1d
  card:max:amount:1d  card:distinct:shop:1d  card:last:amount  card:since_last
Exit codes: 0 written, 2 not, and nothing is (one line)."""
GUESSED_ROWS = 20_000
TEST_ROWS = 30


class Csv(NamedTuple):
    """A CSV file: how it is read, its first rows, and its columns as those have them."""

    path: Path
    dialect: type[csv.Dialect]
    columns: list[columns.Column]
    rows: list[list[str]]


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "new",
        help="begin a pipeline: its definition, its test, its compose file",
        description="Write a new pipeline with its test and its compose file, from answers or from a CSV file of events.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("name", metavar="NAME", help="of the pipeline: letters, digits, '_' and '-'")
    command.add_argument("--into", metavar="DIR", help="the folder to write (default: NAME)")
    command.add_argument(
        "--from-csv", metavar="FILE", help="guess from these events, a row each, and convert them"
    )
    command.add_argument("--yes", action="store_true", help="ask nothing: what is not said takes its default")
    command.add_argument("--topic", help="of the events to predict (default: NAME.events)")
    command.add_argument("--id", metavar="FIELD", help="an event's id (default: id)")
    command.add_argument("--time", metavar="FIELD", help="its time (default: at)")
    command.add_argument(
        "--key", metavar="FIELD", help="whom it is about: the records' key (default: entity)"
    )
    command.add_argument("--task", choices=KINDS, help="what is predicted (default: binary)")
    command.add_argument("--label", metavar="FIELD", help="the field with the answer (default: outcome)")
    command.add_argument(
        "--label-topic",
        metavar="TOPIC",
        help="where answers come, by the same id (default: in the events themselves)",
    )
    command.add_argument("--label-time", metavar="FIELD", help="an answer's time (default: as --time)")
    command.add_argument("--wait", metavar="D", help="how long an answer may take (default: 1d)")
    command.add_argument(
        "--inputs", metavar="F,F", help="fields with numbers that the model reads (default: amount)"
    )
    command.add_argument(
        "--view",
        metavar="V",
        action="append",
        help="a feature, such as card:count:10m; repeat it (default: a few)",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Gather the answers, write, check, tell."""
    try:
        table = None if args.from_csv is None else read_csv(Path(args.from_csv))
        answers, said = answered(args, table)
        folder = Path(args.into or args.name)
        written = write(answers, folder, table)
    except (BadAnswer, OSError, csv.Error, UnicodeDecodeError, DefinitionError) as error:
        print(f"penstock: {printable(str(error))}", file=sys.stderr)
        return 2
    except EOFError:
        print("penstock: there is nobody to ask: say --yes, or give the answers as options", file=sys.stderr)
        return 2
    lines = [f"guessed from {table.path.name}:", *(f"  {line}" for line in said), ""] if table else []
    lines += [f"written to {folder}/", *(f"  {name:<22} {what}" for name, what in written), ""]
    rows = [name for name, _ in written if name.endswith(".ndjson")]
    print("\n".join([*map(printable, lines), definition.next_steps(answers, str(folder), rows)]))
    return 0


def answered(args: argparse.Namespace, table: Csv | None) -> tuple[Answers, tuple[str, ...]]:
    """All answers: as given, guessed from the file, asked for, or the defaults; and what was guessed."""
    given: dict[str, Any] = {
        what: getattr(args, what)
        for what in (
            "topic",
            "id",
            "time",
            "key",
            "task",
            "label",
            "label_topic",
            "label_time",
            "wait",
            "view",
        )
        if getattr(args, what) is not None
    }
    if args.inputs is not None:
        given["inputs"] = tuple(filter(None, (name.strip() for name in args.inputs.split(","))))
    said: tuple[str, ...] = ()
    if table is not None:
        if args.label_topic:
            raise BadAnswer("--label-topic: a file's rows have their answers in themselves; leave it out")
        found = guess.guess(table.columns, given, table.rows)
        given |= {what: getattr(found, what) for what in ("id", "time", "key", "label", "task", "inputs")}
        said = found.said
    elif not args.yes:
        given = asked(args.name, given)
    asked_views = given.pop("view", None)
    views = tuple(feature(one) for one in asked_views or ())
    if given.get("task") == "unlabelled":
        given.setdefault("label", "")
    answers = Answers(args.name, **given, features=views or (FeatureAsked("", "count"),))
    if not views:
        # of nobody there are no features: such events have only themselves
        own = answers.key != answers.id
        found_features = default_features(answers.key, answers.inputs) if own else ()
        answers = Answers(args.name, **given, features=_without_truths(found_features, table))
    return answers, said


def _without_truths(features: Sequence[FeatureAsked], table: Csv | None) -> tuple[FeatureAsked, ...]:
    """Default features of a file, without means of what is true or false: a share of few values says little at first."""
    truths = {one.name for one in table.columns if one.kind == columns.TRUTH} if table else set()
    return tuple(one for one in features if one.field not in truths)


def asked(name: str, given: dict[str, Any], ask: Callable[[str], str] | None = None) -> dict[str, Any]:
    """Ask for what is not given; an empty answer takes the default. Raises `EOFError` where nobody answers."""
    found, ask = dict(given), ask or input

    def one(what: str, question: str, default: str) -> str:
        if what not in found:
            found[what] = ask(f"{question} [{default}]: ").strip() or default
        return str(found[what])

    one("topic", "Topic of the events to predict", f"{name}.events")
    one("id", "Field with an event's id", "id")
    one("time", "Field with its time (ms since 1970, or RFC 3339)", "at")
    one("key", "Field that says whom it is about, the records' key", "entity")
    if "task" not in found:
        print("\n".join(f"  {kind:<11} {MEANINGS[kind].predicts}" for kind in KINDS))
    if one("task", "What is predicted", "binary") not in KINDS:
        raise BadAnswer(f"{found['task']!r} is none of {', '.join(KINDS)}")
    if found["task"] != "unlabelled":
        one("label", "Field with the answer", "outcome")
        if one("label_topic", "Topic where answers come later, or - if the events have them", "-") == "-":
            found["label_topic"] = ""
        else:
            one("label_time", "Field with an answer's time", found["time"])
        one("wait", "How long an answer may take, such as 30m, 12h or 7d", "1d")
    if "inputs" not in found:
        said = one("inputs", "Fields with numbers that the model reads, separated by commas", "amount")
        found["inputs"] = tuple(filter(None, (field.strip() for field in said.split(","))))
    if "view" not in found:
        shown = "counts and means by key"
        said = one("view", f"Features, such as {found['key']}:count:10m, with spaces between", shown)
        found["view"] = None if said == shown else said.split()
    return found


def read_csv(path: Path) -> Csv:
    """Look at a CSV file's first rows. Raises `OSError`, `csv.Error`, `BadAnswer`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.read(65_536)
        try:
            dialect = csv.Sniffer().sniff(head, ",;\t|")
        except csv.Error:
            dialect = csv.excel  # a single column, or few rows
        file.seek(0)
        rows = csv.reader(file, dialect)
        names = [name.strip() for name in next(rows, [])]
        found = [row for row in itertools.islice(rows, GUESSED_ROWS) if row]
    return Csv(path, dialect, columns.columns_of(names, found), found)


def events_of(table: Csv, answers: Answers) -> Iterator[dict[str, Any]]:
    """The rows as events, in the file's order."""
    convert = columns.converters(table.columns)
    names = [one.name for one in table.columns]
    with table.path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, table.dialect)
        next(rows)
        for number, row in enumerate((row for row in rows if row), 1):
            cells = [*row, *[""] * (len(names) - len(row))]
            event = {name: make(cell) for name, make, cell in zip(names, convert, cells, strict=False)}
            yield {guess.ROW: number, **event} if answers.id == guess.ROW else event


def write(answers: Answers, folder: Path, table: Csv | None) -> list[tuple[str, str]]:
    """Write everything, try it, and only then put it in place; each file's name and what it is.

    Raises:
        BadAnswer: something is there already, or what was written does not pass its own test.
        DefinitionError: the answers do not go together.

    """
    file = f"{answers.file}.py"
    texts = {file: definition.definition(answers), f"test_{file}": definition.test_file(answers)}
    texts["docker-compose.yml"] = compose(file)
    lines = f"{answers.file}.ndjson" if table is not None else ""
    names = [*texts, "events.jsonl", "expected.jsonl", *filter(None, [lines])]
    if there := [name for name in names if (folder / name).exists()]:
        raise BadAnswer(
            f"{folder / there[0]} is there already: nothing is written. Choose another NAME, or --into"
        )
    with tempfile.TemporaryDirectory(prefix="penstock-new-") as made:
        beside = Path(made)
        first: list[dict[str, Any]] = []
        if table is not None:
            rows = sorted(events_of(table, answers), key=lambda event: _order(event.get(answers.time)))
            first = rows[:TEST_ROWS]
            with (beside / lines).open("w", encoding="utf-8") as out:
                out.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        texts["events.jsonl"] = definition.event_lines(answers, first)
        for name, text in texts.items():
            (beside / name).write_text(text, encoding="utf-8")
        count = check(beside, file)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            # x: fails where somebody was quicker, and overwrites nothing
            with (folder / name).open("xb") as new:
                new.write((beside / name).read_bytes())
    what = {
        file: "the definition",
        f"test_{file}": "its test, for pytest",
        "events.jsonl": "the events of the test",
        "expected.jsonl": f"what comes of them: {count} samples",
        "docker-compose.yml": "Kafka, Redis and every role",
        lines: "all rows as JSON lines, to publish",
    }
    return [(name, what[name]) for name in names]


def _order(time: Any) -> tuple[bool, str, float]:
    """Sorts times of one column: texts as texts (UTC, all alike), numbers as numbers, what is neither last."""
    if isinstance(time, str):
        return False, time, 0.0
    return time is None, "", float(time or 0)


def check(folder: Path, file: str) -> int:
    """Do what `penstock check` and `penstock test --update` do; how many samples came. Raises `DefinitionError`, `BadAnswer`."""
    pipeline = load(folder / file)
    check_model(pipeline)
    check_outcome(pipeline)
    done = tried(pipeline, Asked(folder / "events.jsonl", folder / "expected.jsonl", update=True))
    if not done.right:
        raise BadAnswer(f"these answers make a pipeline that does not pass its own test: {told(done)[0]}")
    if not done.count("sample"):
        reason = next(
            (one.line["reason"] for one in done.found if one.kind == "dead_letter"), "there is none"
        )
        raise BadAnswer(f"no event of the test can be used ({reason}): nothing is written")
    return done.count("sample")
