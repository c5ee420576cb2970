"""Writes the reference pages that the code can tell: commands, settings, metrics, messages, topics, features.

`python docs/generate.py` writes them into `docs/pages/reference`; `make docs` does so before it builds. They are kept with
the other pages, so that they can be read without a build; `tests/test_docs.py` fails when they are not what the code says.

Laws of this file:
- `pages()` is a function of the code alone: no clock, no address, no order that changes from run to run.
- What the code does not say in words stands in a table here, and a name without its words is an error.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

import penstock
from penstock.features.engine import choose
from penstock.stream import (
    cli,
    history_record,
    messages,
    prediction,
    steps,
    story_records,
    task_kind,
    topology,
)
from penstock.stream.definition_file import load
from penstock.stream.learn import engine
from penstock.stream.process import settings
from penstock.stream.process.metric_list import METRICS, ROLES
from penstock.stream.process.settings import Settings

FOLDER = Path(__file__).parent / "pages" / "reference"
NOTE = (
    "<!-- Written by docs/generate.py from the code. Run `make docs` after a change; edits here are lost. -->"
)
INTERNAL = {"retrain-job"}  # the learn role starts it

SETTING_WORDS = {
    "bootstrap": "The address of Kafka: one or more `host:port`, separated by commas.",
    "redis_url": "The address of Redis, in redis-py's form; `rediss://` speaks TLS, such as "
    "`rediss://USER:PASSWORD@redis:6379/0?ssl_ca_certs=/etc/ca.pem`; `/`, `?`, `#`, `@` and `:` within a password are `%2F`, "
    "`%3F`, `%23`, `%40` and `%3A`. Or "
    "`redis+cluster://host:port,host:port/`, or `redis+sentinel://host:port,host:port/service/0`. See "
    "[Run on a Redis Cluster](../how-to/run-on-a-redis-cluster.md).",
    "prefix": "Text that is put before the name of every topic, consumer group, Redis key and folder of versions that Penstock "
    "owns. Your own source topics keep their names. See [Share one cluster](../how-to/run-on-kafka.md#share-one-cluster).",
    "featurize_skew_s": "How many seconds of event time a featurize worker may be ahead of the slowest, where several share the "
    "partitions and catch up. None: a tenth of the label's `wait`. 0: they wait for nobody. See "
    "[Several workers](../explanation/time-and-order.md#several-workers).",
    "models": "A folder, or an fsspec URL such as `s3://bucket/models`, where model versions are kept beside Redis. With "
    "it, a lost Redis loses no version. A password in the address is refused, since logs would show it: fsspec reads it from the "
    "environment.",
    "secret": "The key that signs model versions and snapshots. The learn role refuses to start without one. All roles and "
    "`penstock models` and `penstock replay --version` must have the same.",
    "former_secrets": "Secrets that were in use before, separated by commas: what they signed is still read, and signed anew "
    "with `PENSTOCK_SECRET` whenever it is written. See [Rotate the secret](../how-to/model-registry.md#rotate-the-secret).",
    "mlflow": "The tracking URI of an MLflow server, such as `http://mlflow:5000`: learn registers versions there, too. Needs "
    "the extra `mlflow`. Password: `MLFLOW_TRACKING_PASSWORD`, not in this address. See "
    "[Show versions in MLflow](../how-to/model-registry.md#show-versions-in-mlflow).",
    "console_hosts": "The host names by which people ask for the console, separated by commas. It answers to them and to local "
    "names, and to no other. See [Look at it](../how-to/look-at-it.md).",
    "slot": "The number of this worker among the workers of its role. Kafka keeps a worker's partitions for its slot while "
    "it restarts.",
    "host": "The address that the health page listens on.",
    "port": "The port of the health page. 0 takes any free one, and the role says which.",
    "serve_tokens": "Tokens, separated by commas: the serve role answers who sends one as `Authorization: Bearer TOKEN`. Without "
    "any it answers everybody who reaches it.",
    "serve_cert": "A PEM file with the serve role's certificate and those above it: with it, it speaks TLS.",
    "serve_key": "A PEM file with the certificate's key.",
    "access_log": "1 makes every request to the serve role a line of its log, without data: method, path, status, time, "
    "request id. So does `--access-log`.",
    "console_users": "The console's password file, as `penstock console --add-user` writes it. With it one can log in, and "
    "operators can act. See [Who may do what](../how-to/use-the-console.md#who-may-do-what).",
    "console_anonymous": "Whether everybody who reaches the console may look: `yes` or `no`. Left out, it is yes where the "
    "console listens on a loopback address and knows neither a password file nor a proxy, and else no.",
    "console_proxies": "Addresses or networks, separated by commas, of proxies that the console believes when they say who asks. "
    "Such headers of anybody else are ignored, also from loopback.",
    "console_user_header": "The header in which a listed proxy says who asks.",
    "console_groups_header": "The header in which it says that person's groups, separated by commas.",
    "console_groups": "Which groups have which role, separated by commas: `sre=operator,leads=approver`. Whoever has no listed "
    "group is a viewer.",
    "console_cert": "A PEM file with the console's certificate and those above it: with it, it speaks TLS.",
    "console_key": "A PEM file with the certificate's key.",
    "schema_registry": "The address of the schema registry in which topics in Avro, Protobuf and JSON Schema name their schemas, "
    "such as `http://127.0.0.1:8081`; several addresses of one registry are separated by commas. See "
    "[Read Avro, Protobuf and JSON Schema](../how-to/read-avro.md).",
    "schema_registry_user": "The user who asks it (basic authentication).",
    "schema_registry_password": "That user's password.",
    "schema_registry_token": "A token to send as `Authorization: Bearer TOKEN` in place of a user and password.",
    "schema_registry_ca": "A PEM file with the authorities that its certificate is checked against. None: the system's.",
    "schema_registry_cert": "A PEM file with the certificate that is shown to it.",
    "schema_registry_key": "A PEM file with that certificate's key.",
    "connect_timeout_s": "How many seconds a role or a command waits for Kafka before it gives up.",
}
MESSAGE_WORDS: dict[type, str] = {
    prediction.Prediction: "On `<pipeline>.predictions`, keyed by entity.",
    history_record.HistoryRecord: "On `<pipeline>.history`, keyed by pipeline.",
    messages.ControlEvent: "On `control.retrain`, `control.rollback` and `control.alerts`, keyed by pipeline. "
    "[Control events](control-events.md) explains it with an example.",
    messages.LiveModel: "On `control.models`, keyed by pipeline.",
    messages.OperatorRequest: "On `control.commands`. Any Kafka client may write one.",
    messages.Decision: "On `control.decisions`, keyed by pipeline.",
}
KINDS = {
    "Numbers in a window": "count rate sum mean variance std min max distinct quantile",
    "Values of single events": "first last since_last row",
    "Lists, for documents and not for models": "last_n top_k histogram",
    "Fading sums": "decayed_count decayed_sum decayed_mean",
    "Features of features": "ratio",
    "Windows": "sliding tumbling hopping session",
}


def pages() -> dict[str, str]:
    """The text of every generated page, by file name."""
    found = {
        "commands.md": commands(),
        "settings.md": settings_page(),
        "metrics.md": metrics(),
        "messages.md": messages_page(),
        "topics.md": topics(),
        "features.md": features(),
    }
    written = {name: f"{NOTE}\n\n{text.rstrip()}\n" for name, text in found.items()}
    return written | {f"schemas/{name}.json": text for name, text in schemas().items()}


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def sentence(text: str) -> str:
    """The text with a capital in front and a full stop behind."""
    text = " ".join(text.split())
    return text if not text else text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def in_markdown(docstring: str) -> str:
    """A docstring's prose: double backticks become single ones, line breaks spaces."""
    return " ".join(docstring.replace("``", "`").split())


# -- commands -------------------------------------------------------------------------------------------------------------


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers under a parser, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def leaves(
    parser: argparse.ArgumentParser, name: str = "penstock"
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that does something, with its whole name."""
    under = subcommands(parser)
    if not under:
        yield name, parser
    for word, one in under.items():
        if word not in INTERNAL:
            yield from leaves(one, f"{name} {word}")


def commands() -> str:
    """Every command with its arguments, from argparse."""
    parts = [
        "# Commands",
        "`penstock COMMAND --help` prints the same. Addresses and secrets come from the [settings](settings.md). "
        "A mistake in a definition or a setting, or a server that does not answer, ends any command with exit code 2 "
        "and one line that says what is wrong and where.",
    ]
    for name, parser in leaves(cli.parser()):
        parts += [f"## {name}", sentence(parser.description or "")]
        rows = [argument(action) for action in parser._actions if action.help != argparse.SUPPRESS]
        parts.append(table(("Argument", "Meaning"), [row for row in rows if row is not None]))
        if parser.epilog:
            parts.append(f"```text\n{parser.epilog.rstrip()}\n```")
    return "\n\n".join(parts)


def argument(action: argparse.Action) -> tuple[str, str] | None:
    """The row of one argument."""
    if isinstance(action, argparse._HelpAction):
        return None
    choices = [str(choice) for choice in action.choices] if action.choices else []
    if not action.option_strings:
        name = f"`{action.metavar or action.dest}`"
        if action.nargs in ("?", "*", argparse.REMAINDER):
            name += ", may be left out"
    else:
        takes = "" if action.nargs == 0 else f" {action.metavar or '|'.join(choices) or action.dest.upper()}"
        name = ", ".join(f"`{option}{takes}`" for option in action.option_strings)
        if action.required:
            name += ", required"
    words = sentence((action.help or "").replace("%%", "%"))
    if not words and action.dest == "pipeline":
        words = "The pipeline's name."
    elif not words and action.dest == "view":
        words = "The view's name."
    return name, words


# -- settings and metrics -------------------------------------------------------------------------------------------------


def setting_names() -> dict[str, str]:
    """Every environment variable that `Settings` reads, with the field it sets: each is tried."""
    tree = ast.parse(inspect.getsource(settings))
    words = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    found: dict[str, str] = {}
    usual = Settings()
    for word in sorted(words):
        if not re.fullmatch(r"[A-Z][A-Z_]+[A-Z]", word):
            continue
        given = Settings.from_env({word: "7"})
        changed = [
            name for name in Settings.__dataclass_fields__ if getattr(given, name) != getattr(usual, name)
        ]
        if len(changed) == 1:
            found[word] = changed[0]
    return dict(sorted(found.items(), key=lambda pair: list(Settings.__dataclass_fields__).index(pair[1])))


def settings_page() -> str:
    """Every environment variable, with its default."""
    rows = []
    for name, field in setting_names().items():
        default = getattr(Settings(), field)
        shown = (
            f"`{default:g}`"
            if isinstance(default, float)
            else f"`{default}`"
            if default not in ("", None)
            else "none"
        )
        rows.append((f"`{name}`", shown, SETTING_WORDS[field]))
    assert "PENSTOCK_ENGINE" in inspect.getsource(choose)
    rows.append(
        (
            "`PENSTOCK_ENGINE`",
            "`native` if it was built",
            "What computes features and steps ordinary records: `native` (in C) or `python`. Their results agree in every bit.",
        )
    )
    assert "PENSTOCK_MODEL_ENGINE" in inspect.getsource(engine)
    rows.append(
        (
            "`PENSTOCK_MODEL_ENGINE`",
            "`native` if it was built",
            "What runs river's linear models and learns from ordinary records: `native` (in C) or `river`. Their results agree "
            "in every bit.",
        )
    )
    rows.append(
        (
            "`PENSTOCK_KAFKA_…`",
            "none",
            "Any setting of librdkafka: `PENSTOCK_KAFKA_SASL_MECHANISM` sets `sasl.mechanism`. Those that a guarantee rests on, "
            "such as `acks`, are refused. All roles and commands understand those of TLS and SASL.",
        )
    )
    return "\n\n".join(
        [
            "# Settings",
            "Addresses, sizes and secrets come from the environment. Everything about the problem itself stands in the "
            "definition file. A value that cannot be used stops the start with one line that names the variable.",
            table(("Variable", "Default", "Meaning"), rows),
            "## What Redis must be",
            "Penstock needs one primary of Redis 6.2 or later, or of Valkey, found by its own address or by Sentinel; or a "
            "cluster. It refuses a replica, and a server with `maxmemory` whose policy may evict any key (`allkeys-…`): a "
            "missing state would silently change features.",
        ]
    )


def metrics() -> str:
    """Every metric, from the one list that the roles register."""
    rows = []
    for metric in METRICS:
        histogram = metric.kind.__name__.endswith("Histogram")
        kind = "histogram" if histogram else metric.kind.__name__.lower()
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        roles = "every" if metric.roles == ROLES else ", ".join(metric.roles)
        rows.append((f"`{metric.shown}`", kind, labels, roles, sentence(metric.help)))
    return "\n\n".join(
        [
            "# Metrics",
            "Each role serves its part of these in Prometheus' text format at `/metrics` of its health page. "
            "[Watch the roles](../how-to/monitor.md) says which of them to look at, and what they mean.",
            table(("Metric", "Kind", "Labels", "Roles", "Meaning"), rows),
        ]
    )


# -- messages and topics --------------------------------------------------------------------------------------------------


def schemas() -> dict[str, str]:
    """The JSON Schema of every message that other programs read or write, by file name."""
    found = {}
    for kind in MESSAGE_WORDS:
        name = re.sub("(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower()
        dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:penstock:{name}"}
        found[name] = json.dumps(dialect | cleaned(msgspec.json.schema(kind)), indent=2) + "\n"
    return found


def messages_page() -> str:
    """Every message that other programs read or write, field by field."""
    parts = [
        "# Messages",
        "Topics that other programs read hold JSON. Each message has a file with its JSON Schema 2020-12. Fields may be added "
        "later, and then always with a default; none is renamed. Times that end in `_ms`, and every `at`, are milliseconds since "
        "1970, UTC. "
        "`at` is event time; `wall_ms` is the clock of the machine that wrote the message.",
    ]
    for (kind, words), file in zip(MESSAGE_WORDS.items(), schemas(), strict=True):
        parts += [
            f"## {kind.__name__}",
            f"{words} {in_markdown((inspect.getdoc(kind) or '').split(chr(10) * 2)[0])}",
            table(("Field", "Holds", "If left out"), fields(kind)),
            f"As JSON Schema: [{file}.json](schemas/{file}.json).",
        ]
    parts += [
        "## The samples log",
        "`<pipeline>.samples` holds MessagePack. Each record is an array: a tag, and then the fields in this order.",
        table(
            ("Tag", "Fields in order", "What it is"),
            [
                (f"`{kind.__struct_config__.tag}`", ", ".join(f"`{name}`" for name in kind.__struct_fields__),
                 in_markdown((inspect.getdoc(kind) or "").split("\n\n")[0]))
                for kind in (messages.Recipe, messages.Sample, messages.LabelRecord, messages.Tick, messages.Command)
            ],
        ),
        "The `origin` of a sample or a label is itself an array: "
        + ", ".join(f"`{name}`" for name in messages.Origin.__struct_fields__)
        + ". [The samples log](control-events.md#the-samples-log) shows records.",
    ]  # fmt: skip
    return "\n\n".join(parts)


def cleaned(schema: Any) -> Any:
    """The schema with its descriptions on one line; how docstrings are indented depends on the version of Python."""
    if isinstance(schema, list):
        return [cleaned(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: in_markdown(value) if name == "description" and isinstance(value, str) else cleaned(value)
        for name, value in schema.items()
    }


def fields(kind: type[msgspec.Struct]) -> list[tuple[str, ...]]:
    """A row for each field of a message; those of the messages inside it follow it."""
    rows: list[tuple[str, ...]] = []
    for field in msgspec.structs.fields(kind):
        required = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        rows.append(
            (
                f"`{field.name}`",
                in_words(str(inspect.get_annotations(field_owner(kind, field.name))[field.name])),
                "it must be there" if required else f"`{json.dumps(default)}`",
            )
        )
        inner = [part for part in (field.type, *get_args(field.type)) if is_message(part)]
        rows += [(f"`{field.name}.{name[1:]}", *more) for part in inner for name, *more in fields(part)]
    return rows


def field_owner(kind: type, name: str) -> type:
    """The class that a field is written in."""
    return next(one for one in kind.__mro__ if name in inspect.get_annotations(one))


def is_message(kind: Any) -> bool:
    """Whether a field's type is a message itself."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


WORDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "None": "null",
    "Any": "anything",
    "Int64": "whole number",
    "Id": f"text of 1 to {messages.MAX_NAME_CHARACTERS} characters",
    "Word": f"text of at most {messages.MAX_NAME_CHARACTERS} characters",
    "Name": f"text of at most {messages.MAX_NAME_CHARACTERS} characters",
    "Reason": f"text of at most {messages.MAX_REASON_CHARACTERS:,} characters",
    "Verb": " or ".join(f"`{verb}`" for verb in get_args(messages.Verb)),
    "Kind": " or ".join(f"`{kind}`" for kind in task_kind.KINDS),
    "Value": "number or text or true or false or null",
}


PARTS = {**vars(story_records), **vars(history_record), **vars(prediction), **vars(messages)}


def in_words(annotation: str) -> str:
    """A type as a reader without Python would say it."""
    said = annotation.replace('"', "'")
    literal = re.fullmatch(r"Literal\[(.*)\]", said)
    if literal:
        return " or ".join(f"`{one}`" for one in re.findall(r"'([^']*)'", literal[1]))
    said = re.sub(r"\bdict\[str, (.*?)\](?=$| )", r"object of \1", said)
    said = re.sub(r"\blist\[tuple\[(.*)\]\]", r"list of lists [\1]", said)
    said = re.sub(r"\blist\[(\w+)\]", r"list of \1", said)
    said = re.sub(
        r"\b[A-Za-z]\w*\b",
        lambda word: WORDS.get(
            word[0],
            "object" if is_message(PARTS.get(word[0])) else word[0],
        ),
        said,
    )
    return said.replace(" | ", " or ").replace("list of object", "list of objects")


def topics() -> str:
    """The topics of a pipeline."""
    flow = steps.of(load(Path(__file__).parents[1] / "examples" / "flights.py"))
    kept = {"-1": "for ever", topology.DAYS_30: "30 days"}
    rows = []
    for topic in topology.owned("<pipeline>"):
        how = (
            "newest per key (compacted)"
            if topic.config["cleanup.policy"] == "compact"
            else kept[topic.config["retention.ms"]]
        )
        rows.append((f"`{topic.name}`", str(topic.partitions), sentence(topic.holds), how))
    return "\n\n".join(
        [
            "# Topics",
            "Penstock owns these topics. `penstock topics FILE` creates them, and never changes one that exists. The control "
            "topics are shared by all pipelines of a cluster. Your own source topics belong to their producers.",
            table(("Topic", "Partitions", "Holds", "Kept"), rows),
            "The control role adds one more, `<pipeline>.control-policy-changelog`, for its own memory. `PENSTOCK_PREFIX` goes "
            "before every name above.",
            "[Messages](messages.md) has the schema of what each topic holds.",
            "## Who reads and writes what",
            "These are the steps of `examples/flights.py`, and the tools for operators. "
            "`penstock check FILE --steps` says the same of your pipeline, with its keys in Redis.",
            table(
                ("Step", "Reads", "Writes"),
                [
                    (
                        f"`{step.name}`",
                        *(", ".join(f"`{name}`" for name in names) for names in (step.reads, step.writes)),
                    )
                    for step in (*flow.steps, *flow.tools)
                ],
            ),
        ]
    )


# -- features -------------------------------------------------------------------------------------------------------------


def features() -> str:
    """Every word of a definition file that makes a feature or a window, from its signature and docstring."""
    listed = {name for names in KINDS.values() for name in names.split()}
    words = {name: getattr(penstock, name).__module__ for name in penstock.__all__}
    offered = {name for name, module in words.items() if module.startswith("penstock.features")} - {"View"}
    assert listed == offered, f"docs/generate.py must list {sorted(offered ^ listed)}"
    parts = [
        "# Features",
        "A feature is one value of one entity, such as how many payments a card made in the last ten minutes. All of these are "
        "imported from `penstock`. [Windows, conditions and expressions](windows.md) explains the arguments they share: "
        "`window`, `where` and `default`. *Empty* says what the value is when no event counts.",
    ]
    for title, names in KINDS.items():
        rows = []
        for name in names.split():
            function = getattr(penstock, name)
            words = (inspect.getdoc(function) or "").split(">>>")[0]
            words = words.split("Raises:")[0].split("Args:")[0]
            rows.append((f"`{name}({arguments(function)})`", in_markdown(words)))
        parts += [f"## {title}", table(("Write", "Its value"), rows)]
    return "\n\n".join(parts)


def arguments(function: Any) -> str:
    """A function's arguments, as one writes them; those with a default may be left out."""
    shown = []
    for parameter in inspect.signature(function).parameters.values():
        optional = parameter.default is not inspect.Parameter.empty
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            shown.append(f"{parameter.name}=…")
        else:
            shown.append(f"[{parameter.name}]" if optional else parameter.name)
    return ", ".join(shown)


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote {FOLDER / name}")


if __name__ == "__main__":
    main()
