"""README.md, CONTRIBUTING.md and the pages under docs/ are held to the code: what they show runs, and what they name is there."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import importlib.util
import io
import itertools
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import redis
import yaml

from penstock.examples import cards_data
from penstock.features.read.client import FeatureReader
from penstock.stream import cli, messages, prediction
from penstock.stream.definition_file import load
from penstock.stream.log.protocol import Out
from penstock.stream.process.metric_list import METRICS
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.roles.metrics import LEARNED
from penstock.stream.topology import EVENT_TOPICS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "pages").rglob("*.md"))]
TUTORIAL = ROOT / "docs" / "pages" / "tutorial.md"
README_LINES = 180
NEEDS_A_BROKER = "needs a broker"
SHELL = {"sh", "bash", "console"}
#: The one of the pytest plugin, which looks like a metric.
FIXTURE = "penstock_flow"
#: Types of control events, which look like modules.
EVENT_TYPES = {f"penstock.{verb}" for verb in EVENT_TOPICS}


class Block(NamedTuple):
    """A fenced block: its language, its title, the HTML comment on the line before it, its text."""

    language: str
    title: str
    mark: str
    text: str


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(text: str) -> list[Block]:
    found = re.finditer(
        r'^(?:<!-- (?P<mark>.*?) -->\n)?```(?P<language>\w*)(?: title="(?P<title>[^"]*)")?\n(?P<text>.*?)^```$',
        text,
        re.MULTILINE | re.DOTALL,
    )
    return [Block(b["language"], b["title"] or "", b["mark"] or "", b["text"]) for b in found]


def blocks(page: Path, *languages: str) -> list[Block]:
    return [block for block in blocks_of(page.read_text()) if block.language in languages]


def prose(page: Path) -> str:
    """The page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def spans(page: Path) -> set[str]:
    """What stands between backticks in the prose."""
    return {" ".join(found.split()) for found in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page))}


def with_blocks(*languages: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, *languages)]


def test_there_is_something_to_check() -> None:
    assert len(PAGES) > 25
    assert sum(len(blocks(page, "python")) for page in PAGES) > 10
    assert sum(len(list(command_lines(page))) for page in PAGES) > 50


def test_every_fence_is_understood() -> None:
    """A fence that `blocks_of` overlooks would be checked by nothing."""
    for page in PAGES:
        fences = len(re.findall(r"^```", page.read_text(), re.MULTILINE))
        assert fences == 2 * len(blocks_of(page.read_text())), name(page)


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


# -- Python ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_cards(valkey: redis.Redis, valkey_url: str) -> str:
    """The URL of a Valkey in which the pipeline of `examples/cards.py` has seen some payments."""
    flow = MemoryFlow(load(ROOT / "examples" / "cards.py"), client=valkey)
    flow.feed(
        [
            Out(topic, card.encode(), msgspec.json.encode(fields))
            for topic, card, fields, _ in itertools.islice(cards_data.events(), 300)
        ]
    )
    flow.settle()
    flow.close()
    return valkey_url


@pytest.mark.parametrize("page", [page for page in with_blocks("python") if page != TUTORIAL], ids=name)
def test_the_python_of_a_page_runs(
    page: Path, with_cards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        run(blocks(page, "python"), with_cards)


def run(python: list[Block], redis_url: str) -> None:
    """Run blocks one after the other, as one program; of those that need a broker, the imports."""
    names: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(python):
        text = block.text.replace('os.environ["REDIS_URL"]', repr(redis_url))
        path = Path(block.title or f"block_{number}.py")
        path.write_text(text)  # a definition's digest covers the text of its functions
        if block.mark == NEEDS_A_BROKER:
            tree = ast.parse(text)
            tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            text = ast.unparse(tree)
        exec(compile(text, str(path.absolute()), "exec"), names)


@pytest.mark.long
def test_the_page_on_trying_a_change_does_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ROOT / "docs" / "pages" / "how-to" / "try-a-change.md"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (copying,) = [
        line for block in blocks(page, "sh") for line in block.text.splitlines() if line.startswith("sed")
    ]
    subprocess.run(copying, shell=True, check=True)
    flow = MemoryFlow(load(ROOT / "examples" / "cards.py"))
    events = itertools.islice(cards_data.events(), 2_000)
    flow.feed([Out(topic, card.encode(), msgspec.json.encode(fields)) for topic, card, fields, _ in events])
    flow.settle()
    flow.close()
    monkeypatch.setattr("penstock.stream.roles.start.open_log", lambda settings: flow.log)
    (block,) = blocks(page, "python")
    run([block._replace(mark="")], "")
    assert (tmp_path / "difference.svg").read_text().startswith("<svg")
    lines = [line for line in command_lines(page) if line.startswith("penstock what-if changed.py")]
    assert len(lines) >= 2
    for line in lines:
        assert penstock(line.removeprefix("penstock ")).startswith(
            "On 2,000 labels the changed definition loses "
        )
    told = json.loads(penstock("what-if changed.py --json"))
    assert told["changes"] == ["the model: l2=0. → l2=0.01"]
    assert {*told["parts"][0], "parts", "left", "changes", "verdict", "worth_acting_on"} <= spans(page)


def test_the_definition_of_the_readme_is_the_example_it_says_it_is(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(ROOT / "README.md", "python") if block.title == "cards.py"]
    (tmp_path / "cards.py").write_text(block.text)
    shown, example = load(tmp_path / "cards.py"), load(ROOT / "examples" / "cards.py")
    assert shown.describe().keys() == example.describe().keys()
    for part, value in example.describe().items():
        if part != "label":  # that is the text of its function, with whatever stands beside it in the line
            assert shown.describe()[part] == value
    assert shown.label.wait == example.label.wait


def test_the_tutorial_gives_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valkey: redis.Redis, valkey_url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", valkey_url)
    run(blocks(TUTORIAL, "python"), valkey_url)
    shown = blocks(TUTORIAL, "sh", "text")
    placed, closed = ((tmp_path / f"{part}.ndjson").read_text().splitlines() for part in ("placed", "closed"))
    assert (
        output_after(shown, "head -n 1")
        == f"==> placed.ndjson <==\n{placed[0]}\n\n==> closed.ndjson <==\n{closed[0]}\n"
    )

    said = penstock("check orders.py").splitlines()
    for line in output_after(shown, "penstock check orders.py").splitlines():
        assert line in said

    flow = MemoryFlow(load("orders.py"), client=valkey)
    for lines, topic in ((placed, "orders.placed"), (closed, "orders.closed")):
        flow.feed([Out(topic, json.loads(line)["customer"].encode(), line.encode()) for line in lines])
    quiet = 0
    while quiet < 10:  # what learn would do with the samples changes no feature
        quiet = 0 if flow.featurize.process_batch(0.0) else quiet + 1
    command = "penstock features get buyer c1 --file orders.py"
    (line,) = [line for line in command_lines(TUTORIAL) if line.startswith(command)]
    assert penstock(line.removeprefix("penstock ")) == output_after(shown, command)
    flow.close()


def output_after(shown: list[Block], command: str) -> str:
    """The block that follows the one with this command."""
    return next(
        after.text
        for before, after in itertools.pairwise(shown)
        if command in before.text and "output" in after.title
    )


def penstock(line: str) -> str:
    """What a command prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert cli.main(shlex.split(line)) == 0
    return printed.getvalue()


# -- JSON and YAML --------------------------------------------------------------------------------------------------------


def test_every_json_block_is_json_and_every_yaml_block_yaml() -> None:
    for page in PAGES:
        for block in blocks(page, "json"):
            json.loads(block.text)
        for block in blocks(page, "yaml"):
            assert yaml.safe_load(block.text), name(page)


MARKED = [(page, block) for page in PAGES for block in blocks(page, "json") if block.mark]


@pytest.mark.parametrize(
    ("page", "block"), MARKED, ids=lambda of: of.mark if isinstance(of, Block) else name(of)
)
def test_a_message_that_a_page_shows_is_one(page: Path, block: Block) -> None:
    if block.mark == "document":
        check_document(block.text)
        return
    kind = {**vars(prediction), **vars(messages)}[block.mark.removeprefix("message: ")]
    decoded = msgspec.to_builtins(msgspec.json.decode(block.text, type=kind))
    assert not unknown(json.loads(block.text), decoded), name(page)


def test_every_kind_of_message_is_shown() -> None:
    shown = {block.mark.removeprefix("message: ") for _, block in MARKED} - {"document"}
    assert shown == {"ControlEvent", "Decision", "LiveModel", "OperatorRequest", "Prediction"}


def unknown(shown: Any, decoded: Any) -> set[str]:
    """Names in what is shown that decoding dropped."""
    if not isinstance(shown, dict) or not isinstance(decoded, dict):
        return set()
    lost = shown.keys() - decoded.keys()
    return lost.union(*(unknown(value, decoded[key]) for key, value in shown.items() if key in decoded))


def check_document(text: str) -> None:
    """The reader understands it."""

    class One:
        def mget(self, keys: Any, /) -> Any:
            return [None, *(text.encode() for _ in keys[1:])]

    document = json.loads(text)
    (found,) = FeatureReader(One(), "flights").read([("airport", "JFK")], document["at"])
    assert (found.values, found.at_ms, found.until_ms) == (
        document["values"],
        document["at"],
        document["until"],
    )
    assert set(document) == {"values", "at", "until", "written", "recipe"}


# -- commands -------------------------------------------------------------------------------------------------------------


def command_lines(page: Path) -> Iterator[str]:
    """Every `penstock …` and `python -m …` in a shell block, or in the examples of a command's own help, on one line."""
    for block in blocks(page, *SHELL, "text"):
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            if block.language == "text" and not line.startswith("  penstock "):
                continue
            for part in re.split(
                r"[|;]|&&|&\s*$", re.sub(r"\s#.*|\s{2,}(?=\S).*", "", line.strip().removeprefix("$ "))
            ):
                if part.strip().startswith(("penstock ", "python -m ")):
                    yield part.strip().split(" < ")[0]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_line_is_one_that_the_commands_understand(page: Path) -> None:
    for line in command_lines(page):
        refusal = refused(line)
        assert not refusal, f"{name(page)}: {line}: {refusal}"


@pytest.mark.parametrize(
    "line",
    [
        "penstock watch flights --from-the-start",
        "penstock beget flights",
        "penstock publish",
        "python -m penstock.examples.cards_data --cards 3",
        "python -m penstock.examples.no_such_data",
    ],
)
def test_a_command_line_that_nothing_understands_is_noticed(line: str) -> None:
    assert refused(line)


def refused(line: str) -> str:
    """Why a command line is not understood, or nothing."""
    words = shlex.split(line)
    with (
        contextlib.redirect_stderr(io.StringIO()) as said,
        contextlib.redirect_stdout(io.StringIO()) as helped,
    ):
        try:
            if words[0] == "penstock":
                cli.parser(words[1]).parse_args(words[1:])
            else:
                if importlib.util.find_spec(words[2]) is None:
                    return f"there is no module {words[2]}"
                with contextlib.suppress(SystemExit):
                    importlib.import_module(words[2]).main(["--help"])
                return ", ".join(
                    word for word in words[3:] if word[:2] == "--" and word not in helped.getvalue()
                )
        except SystemExit as ended:
            return said.getvalue() if ended.code else ""
    return ""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_flag_of_a_command_named_in_a_sentence_exists(page: Path) -> None:
    for span in spans(page):
        words = re.sub(r"[\[\]…|\\]", " ", span).split()
        if len(words) < 2 or words[0] != "penstock" or not re.fullmatch(r"[a-z][a-z-]+", words[1]):
            continue
        assert words[1] in cli.COMMANDS, f"{name(page)}: {span}"
        known = flags(cli.parser(words[1]))
        for word in words[2:]:
            assert not word.startswith("--") or word in known, f"{name(page)}: {span}: {word}"


def flags(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = {"--help"}
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found = found.union(*(flags(under) for under in action.choices.values()))
    return found


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = {span.split()[1] for span in spans(page) if span.startswith("make ")}
        for block in blocks(page, *SHELL):
            named |= set(re.findall(r"^make ([a-z-]+)", block.text, re.MULTILINE))
        assert named <= targets, name(page)


# -- names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_and_module_that_is_named_exists(page: Path) -> None:
    for span in spans(page):
        if re.fullmatch(r"(features|stream|monitors|tests|examples|benchmarks|docs|\.ci)/[\w./-]*", span):
            assert (ROOT / span).exists(), f"{name(page)}: {span}"
        if re.fullmatch(r"penstock(\.[a-z_]+)+", span) and span not in EVENT_TYPES:
            assert importlib.util.find_spec(span) is not None, f"{name(page)}: {span}"


def test_every_test_that_a_guarantee_names_is_in_the_file_it_names() -> None:
    named = re.findall(
        r"`(tests/[\w/.]+)`: `(test_\w+)`", (ROOT / "docs/pages/explanation/guarantees.md").read_text()
    )
    assert len(named) > 20
    for path, test in named:
        assert re.search(rf"def {test}\(", (ROOT / path).read_text()), f"{path}: {test}"


def test_every_setting_that_is_named_exists() -> None:
    known = {*generator().setting_names(), "PENSTOCK_ENGINE", "PENSTOCK_MODEL_ENGINE"}
    for page in [*PAGES, ROOT / "docker-compose.yml", ROOT / "Dockerfile"]:
        for named in re.findall(r"\bPENSTOCK_[A-Z_]*[A-Z]\b", page.read_text()):
            assert named in known or named.startswith("PENSTOCK_KAFKA"), f"{name(page)}: {named}"


def test_every_metric_that_is_named_exists() -> None:
    known = {metric.name for metric in METRICS}
    for page in PAGES:
        for named in set(re.findall(r"\bpenstock_[a-z_]+\b", page.read_text())) - {FIXTURE}:
            assert named.removesuffix("_total") in known, f"{name(page)}: {named}"
    monitor = (ROOT / "docs/pages/how-to/monitor.md").read_text()
    for named in re.findall(r"^\| `([a-z_]+)", monitor, re.MULTILINE):
        assert f"penstock_{named.removesuffix('_total')}" in known, named


def test_every_type_of_event_and_every_fate_of_a_label_is_explained() -> None:
    for page in ("reference/control-events.md", "how-to/answer-an-alert.md"):
        assert spans(ROOT / "docs/pages" / page) >= EVENT_TYPES, page
    (row,) = re.findall(
        r"^\| `labels_total.*$", (ROOT / "docs/pages/how-to/monitor.md").read_text(), re.MULTILINE
    )
    assert re.findall(r"`([a-z_]+)`", row) == list(LEARNED)


# -- links and generated pages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), f"{name(page)}: {target}"
        assert not anchor or anchor in anchors(there), f"{name(page)}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_every_page_is_in_the_list_of_pages() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "docs" / "mkdocs.yml").read_text()))
    assert listed == {page.relative_to(ROOT / "docs" / "pages").as_posix() for page in PAGES[2:]}


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_tables_say_types_in_words() -> None:
    page = (ROOT / "docs" / "pages" / "reference" / "messages.md").read_text()
    holds = [
        line.split(" | ")[1]
        for line in page.splitlines()
        if line.startswith("| `") and line.count(" | ") == 2
    ]
    named = {word for cell in holds for word in re.findall(r"[A-Z]\w+", re.sub(r"`.*?`", "", cell))}
    assert len(holds) > 50 and named == set(), "those are names of types in Python"


def test_the_reference_is_what_the_code_says() -> None:
    for file, text in generator().pages().items():
        kept = (ROOT / "docs" / "pages" / "reference" / file).read_text()
        assert kept == text, f"{file} is not what the code says: run `make docs` and commit what it wrote"


def test_no_page_names_a_private_place() -> None:
    private = re.compile(r"(?<![\w.])/(work|tmp/[vw]|root|home/\w+)/")
    for page in [*PAGES, ROOT / "docs" / "generate.py", ROOT / "docs" / "mkdocs.yml"]:
        assert not private.search(page.read_text()), name(page)
