"""The rules of the source tree that no type checker sees."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("stream", "features", "monitors")
TOP_LEVEL = {
    "pyproject.toml",
    "requirements.lock",
    "README.md",
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
CLIENTS = {"features/store.py", "features/client.py", "features/keyspace.py"}
#: The file that asks the environment which engine runs; the engines agree in every bit.
CHOOSERS = {"features/engines.py"}
#: The pure steps of the flow; the rest of `stream` is the shell around them.
PURE_STEPS = {
    "stream/anchors.py",
    "stream/digest.py",
    "stream/events.py",
    "stream/export.py",
    "stream/featurize.py",
    "stream/learn.py",
    "stream/lineage.py",
    "stream/merge.py",
    "stream/messages.py",
    "stream/places.py",
    "stream/policy.py",
    "stream/train.py",
    "stream/watch.py",
}
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 70
#: Larger for a reason; a file that shrank again must leave this list.
LARGE_FILES = {"stream/featurize.py": 330, "stream/learn.py": 310}


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
            found.add((node.module or "").split(".")[0])
    return found


def test_there_is_something_to_check() -> None:
    for package in PACKAGES:
        assert len(sources(package)) > 3, package


def test_the_lists_above_name_files_that_exist() -> None:
    for path in CLIENTS | CHOOSERS | PURE_STEPS | set(LARGE_FILES):
        assert (ROOT / path).is_file(), path


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
        if name(path) == "stream/digest.py":
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
            "features",
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
        foreign = imports(path) - set(sys.stdlib_module_names) - {*PACKAGES, "examples"}
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
