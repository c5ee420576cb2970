"""The rules of the source tree that no type checker sees."""

from __future__ import annotations

import ast
import graphlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("stream", "features", "monitors")
#: The rooms of `stream`, from the top down: a room imports from those below its own line, and never from its neighbours.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("cli",),
    ("demo",),
    ("roles", "stack"),
    ("backfill", "operate"),
    ("featurize", "learn", "control"),
    ("models", "definition_file"),
    ("recipes",),
    ("definitions", "log"),
    ("topology", "messages", "meaning", "neighbours"),
    ("process",),
)
#: The same inside `features`; its `__init__` gathers the words of a definition file from `define`.
FEATURE_LAYERS: tuple[tuple[str, ...], ...] = (
    ("__init__", "read"),
    ("redis",),
    ("engine", "units"),
    ("define",),
    ("windows",),
)
#: And inside `monitors`: two kinds of drift that know nothing of each other.
MONITOR_LAYERS: tuple[tuple[str, ...], ...] = (("losses", "inputs"), ("episodes",))
#: What one neighbour may take from another, with the reason.
NEIGHBOURLY = {
    ("engine", "units"),  # the engine writes what a unit of work holds
}
TOP_LEVEL = {
    "penstock",
    "pyproject.toml",
    "requirements.lock",
    "README.md",
    "CONTRIBUTING.md",
    "docs",
    "docker-compose.yml",
    "Dockerfile",
    "Makefile",
    "LICENSE",
    "stream",
    "features",
    "monitors",
    "tests",
    "examples",
    "benchmarks",
}
#: What a fold may not know: whoever replays the log must get the same result at another time, in another process.
IMPURE = {
    "asyncio", "confluent_kafka", "faust", "io", "kafka", "logging", "multiprocessing", "os", "pathlib", "random",
    "redis", "secrets", "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time", "uuid",
}  # fmt: skip
#: The files of `features` that talk to Redis.
CLIENTS = {"features/redis/store.py", "features/read/client.py", "features/redis/keyspace.py"}
#: The file that asks the environment which engine runs; the engines agree in every bit.
CHOOSERS = {"features/engine/choose.py"}
#: The pure steps of the flow; the rest of `stream` is the shell around them.
PURE_STEPS = {
    "stream/learn/anchors.py",
    "stream/models/digest.py",
    "stream/featurize/decode.py",
    "stream/operate/training_set.py",
    "stream/featurize/step.py",
    "stream/featurize/careful.py",
    "stream/featurize/counts.py",
    "stream/featurize/dead_letters.py",
    "stream/featurize/dead_share.py",
    "stream/featurize/labels.py",
    "stream/learn/fold.py",
    "stream/learn/state.py",
    "stream/recipes.py",
    "stream/featurize/merge.py",
    "stream/messages.py",
    "stream/featurize/position.py",
    "stream/control/policy.py",
    "stream/learn/learner.py",
    "stream/learn/drift.py",
}
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 70
#: Larger for a reason; a file that shrank again must leave this list.
LARGE_FILES = {"stream/featurize/step.py": 330}


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def cython_sources() -> list[Path]:
    return sorted([*(ROOT / "features").rglob("*.pyx"), *(ROOT / "features").rglob("*.pxi")])


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path, *, at_run_time: bool = False) -> set[str]:
    """The top-level names a file imports; with `at_run_time` without those under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if at_run_time and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)} imports relatively"
            parts = (node.module or "").split(".")
            if parts == ["penstock"]:
                found |= {alias.name for alias in node.names} & {*PACKAGES, "examples"} or {"penstock"}
            else:
                found.add(parts[1] if parts[0] == "penstock" else parts[0])
    return found


def imported_modules(path: Path) -> set[str]:
    """Every dotted name a file imports, type checking included: modules, and what is taken from them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    """The folder of a package that a file lies in, or the file itself if it lies in none."""
    parts = path.relative_to(ROOT).parts
    return parts[1].removesuffix(".py")


def test_there_is_something_to_check() -> None:
    for package in PACKAGES:
        assert len(sources(package)) > 3, package


def test_the_lists_above_name_files_that_exist() -> None:
    for path in CLIENTS | CHOOSERS | PURE_STEPS | set(LARGE_FILES):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize(
    ("package", "layers"), [("stream", LAYERS), ("features", FEATURE_LAYERS), ("monitors", MONITOR_LAYERS)]
)
def test_imports_go_down_only(package: str, layers: tuple[tuple[str, ...], ...]) -> None:
    level = {one: index for index, layer in enumerate(layers) for one in layer}
    assert {room(path) for path in sources(package)} - set(level) <= {"__init__"}
    for path in sources(package):
        here = room(path)
        if package == "stream" and here == "__init__":
            continue
        for module in imported_modules(path):
            parts = module.split(".")
            if parts[:2] != ["penstock", package] or len(parts) < 3 or parts[2] == here:
                continue
            there = parts[2]
            assert (here, there) in NEIGHBOURLY or level[there] > level[here], (
                f"{name(path)} imports {module}: {here} may not know {there}"
            )


def test_modules_import_one_another_in_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    modules = {name(path)[:-3].replace("/", "."): path for path in sources(*PACKAGES)}
    for module, path in modules.items():
        named = {one.removeprefix("penstock.") for one in imported_modules(path)}
        graph[module] = {
            one for found in named for one in (found, found.rpartition(".")[0]) if one in modules
        } - {module}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the modules of a circle


def test_our_own_modules_are_imported_by_their_installed_names() -> None:
    for path in sources(*PACKAGES, "tests", "examples", "benchmarks"):
        for module in imported_modules(path):
            assert module.split(".")[0] not in PACKAGES, (
                f"{name(path)} imports {module}: say penstock.{module}"
            )


@pytest.mark.parametrize(
    ("package", "strangers"), [("features", {"stream", "monitors"}), ("monitors", {"stream", "features"})]
)
def test_features_and_monitors_know_neither_each_other_nor_stream(package: str, strangers: set[str]) -> None:
    for path in sources(package):
        assert not imports(path) & (strangers | {"examples", "tests", "benchmarks"}), name(path)


def test_stream_knows_no_example_test_or_benchmark() -> None:
    for path in sources("stream"):
        if not name(path).startswith(("stream/demo/", "stream/cli/demo.py")):  # which show the examples
            assert not imports(path) & {"examples", "tests", "benchmarks"}, name(path)


def test_pure_files_import_no_client_clock_or_chance() -> None:
    pure = [path for path in sources("features", "monitors") if name(path) not in CLIENTS]
    pure += [ROOT / path for path in PURE_STEPS]
    for path in pure:
        forbidden = imports(path, at_run_time=True) & IMPURE
        if name(path) == "stream/models/digest.py":
            forbidden -= {"random"}  # it recognises generators among a model's parts, and draws nothing
        if name(path) in CHOOSERS:
            forbidden -= {"os"}
        assert not forbidden, f"{name(path)} imports {sorted(forbidden)}"


def test_pure_files_ask_no_calendar_for_now() -> None:
    now = re.compile(r"\.(now|utcnow|today)\(")
    for path in sources("features", "monitors") + [ROOT / path for path in PURE_STEPS]:
        if name(path) not in CLIENTS:
            assert not now.search(path.read_text()), name(path)


def test_files_are_short_enough_to_be_read() -> None:
    for path in sources(*PACKAGES, "examples"):
        lines = len(path.read_text().splitlines())
        limit = LARGE_FILES.get(name(path), MAX_FILE_LINES)
        assert lines <= limit, f"{name(path)} has {lines} lines"
        assert name(path) not in LARGE_FILES or lines > MAX_FILE_LINES, f"{name(path)} is no longer large"


def test_functions_are_short_enough_to_be_read() -> None:
    for path in sources(*PACKAGES, "examples"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= MAX_FUNCTION_LINES, f"{name(path)}: {node.name} has {lines} lines"


def test_cython_is_short_enough_and_imports_only_what_is_pure() -> None:
    """As the other files of `features`: Python modules by one-way imports, C by the standard library's."""
    assert cython_sources()
    for path in cython_sources():
        text = path.read_text()
        assert len(text.splitlines()) <= MAX_FILE_LINES, name(path)
        assert text.startswith("#"), f"{name(path)} says what it is"
        for line in text.splitlines():
            assert len(line) <= 130, f"{name(path)}: {line}"
        modules = set(re.findall(r"^(?:from|import|cimport) ([\w.]+)", text, re.MULTILINE))
        assert {module.split(".")[0] for module in modules} <= {
            "cpython",
            "cython",
            "libc",
            "msgspec",
            "penstock",
        }
        assert not {
            module for module in modules if module.startswith(("penstock.stream", "penstock.monitors"))
        }
        for block in re.split(
            r"^(?=(?:    )?(?:cdef|def|cpdef) .*(?:\(|:)$|(?:    )?(?:cdef|def) .*:$)",
            text,
            flags=re.MULTILINE,
        ):
            assert len(block.strip().splitlines()) <= MAX_FUNCTION_LINES, f"{name(path)}: {block[:60]}"


def test_the_extension_is_rebuilt_when_any_of_its_files_changes() -> None:
    (extension,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
    assert {*extension["sources"], *extension["depends"]} == {name(path) for path in cython_sources()}
    assert "-ffast-math" not in extension["extra-compile-args"]
    assert "-ffp-contract=off" in extension["extra-compile-args"]


def test_each_module_says_what_it_is() -> None:
    for path in sources(*PACKAGES, "examples"):
        text = path.read_text()
        assert not text.strip() or ast.get_docstring(ast.parse(text)), name(path)


def test_the_top_level_is_fixed() -> None:
    found = {
        path.name for path in ROOT.iterdir() if not path.name.startswith((".", "_")) and path.name != "build"
    }
    extra = {entry for entry in found - TOP_LEVEL if not entry.endswith(".egg-info")}
    assert not extra


def test_every_third_party_import_is_declared_and_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[>=<]", line)[0] for line in project["dependencies"]}
    pinned = {
        line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line
    }
    extras = {
        re.split(r"[\[>=<]", line)[0] for group in project["optional-dependencies"].values() for line in group
    }
    assert declared | extras <= pinned
    distribution = {"confluent_kafka": "confluent-kafka", "kafka": "kafka-python", "faust": "faust-streaming",
                    "mode": "faust-streaming", "prometheus_client": "prometheus-client"}  # fmt: skip
    import sys

    declared.add("pyarrow")  # an extra, imported where a parquet file is opened
    for path in sources(*PACKAGES, "examples"):
        foreign = imports(path) - set(sys.stdlib_module_names) - {*PACKAGES, "examples", "penstock"}
        assert {distribution.get(module, module) for module in foreign} <= declared, name(path)


def test_nothing_names_a_private_place() -> None:
    private = re.compile(r"(?<![\w.])/(work|tmp/v|root|home/\w+)/")
    for path in sources(*PACKAGES, "tests", "examples", "benchmarks") + [
        ROOT / entry
        for entry in (
            "pyproject.toml",
            "requirements.lock",
            "Makefile",
            "Dockerfile",
            "docker-compose.yml",
            ".ci/run",
        )
    ]:
        assert path == Path(__file__) or not private.search(path.read_text()), name(path)
