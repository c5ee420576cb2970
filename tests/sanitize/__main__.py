"""`python -m tests.sanitize`: the extensions in C, built with AddressSanitizer and UBSan, under their tests and under fuzzing.

They are built in a copy under build/, never in place. Exit code 1 if a sanitizer reported anything or a test failed; 0 with a
line that says why where this machine cannot do it. `--planted` puts a bug into the copy first, which must be reported.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.places import ROOT

FLAGS = (
    "-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -fno-omit-frame-pointer -g1"
)
TOOLS = ("Cython>=3.1", "setuptools>=77")
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "build", "*.so", "__pycache__", ".*_cache", "*.egg-info")
EXTENSIONS = (
    "features/engine/native", "stream/featurize/stepping", "stream/learn/weighing", "stream/learn/linear", "stream/learn/folding",
    "monitors/inputs/counting",
)  # fmt: skip
TESTS = (
    "tests/fuzz/test_targets.py", "tests/fuzz/test_found.py", "tests/flood/test_flood.py", "tests/features/engine/test_native.py",
    "tests/features/engine/test_engine.py", "tests/stream/featurize/test_stepping.py", "tests/stream/learn/test_runs.py",
    "tests/stream/learn/test_linear.py", "tests/stream/learn/test_weighing.py", "tests/monitors/inputs/test_counting.py",
)  # fmt: skip
COMPILED = "not requests and not settings and not texts and not control and not envelopes"
FEWER = 15
PLANTED = (
    "features/engine/c/coding.pxi",
    "malloc(sizeof(Slot) * group.stride * n)",
    "malloc(sizeof(Slot) * group.stride * n - 8)",
)
MINUTES = 12


class CannotBuild(Exception):
    """Why this machine cannot do it, or why the build failed."""


def main() -> int:
    """Build, run, look for reports; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.sanitize", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--planted", action="store_true", help="with a bug that must be reported")
    parser.add_argument(
        "--again", action="store_true", help="on what was built last, if the sources in C are as they were"
    )
    parser.add_argument("tests", nargs="*", help="instead of the usual ones")
    args = parser.parse_args()
    libraries = found()
    if not libraries:
        print("not run: gcc has no libasan and libubsan here (Debian: apt-get install gcc libgcc-12-dev)")
        return 0
    copy = ROOT / "build" / "sanitize"
    if args.again:
        shutil.copytree(ROOT / "tests", copy / "tests", ignore=NOT_COPIED, dirs_exist_ok=True)
    else:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED, symlinks=True)
    ask_less(copy)
    if args.planted:
        plant(copy)
    if not args.again:
        build(copy)
    with tempfile.TemporaryDirectory(prefix="penstock-sanitize-") as folder:
        code = run(copy, libraries, Path(folder), args.tests or TESTS)
        reports = [one.read_text(errors="replace") for one in sorted(Path(folder).glob("report*"))]
    for report in reports:
        print(report[:6_000])
    if args.planted:
        print("the planted bug was reported" if reports else "the planted bug was NOT reported")
        return int(not reports)
    print(f"{len(reports)} reports; the tests {'passed' if code == 0 else f'ended with {code}'}")
    return int(bool(reports) or code != 0)


def found() -> list[str]:
    """The libraries that must be loaded first; none where one of them is missing. C++ is for what else throws in a process."""
    names = ("libasan.so", "libubsan.so", "libstdc++.so.6")
    if shutil.which("gcc") is None:
        return []
    paths = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in names
    ]
    return paths if all(Path(path).is_absolute() and Path(path).exists() for path in paths) else []


def plant(copy: Path) -> None:
    """Write one slot too far, in the copy."""
    name, right, wrong = PLANTED
    text = (copy / name).read_text()
    assert text.count(right) == 1
    (copy / name).write_text(text.replace(right, wrong))


def ask_less(copy: Path) -> None:
    """Try each law on fewer examples, in the copy: what is looked at here is memory, and that takes ten times as long."""
    for path in (copy / "tests").rglob("*.py"):
        text = path.read_text()
        fewer = re.sub(
            r"max_examples=(\d+)", lambda found: f"max_examples={max(int(found[1]) // FEWER, 5)}", text
        )
        fewer = re.sub(
            r"max_examples=examples\((\d+)\)",
            lambda found: f"max_examples={max(int(found[1]) // FEWER, 5)}",
            fewer,
        )
        if fewer != text:
            path.write_text(fewer)


def build(copy: Path) -> None:
    """Build every extension in the copy, with what it is checked by."""
    tools = ROOT / "build" / "sanitize-tools"
    if not (tools / "Cython").exists():
        line = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
            str(tools),
        ]
        subprocess.run([*line, *TOOLS], check=True)
    project = copy / "pyproject.toml"
    text = project.read_text()
    flags = ", ".join(f'"{flag}"' for flag in FLAGS.split())
    text = text.replace(
        'extra-compile-args = ["-O2",',
        f'extra-link-args = ["-fsanitize=address,undefined"]\nextra-compile-args = ["-O1", {flags},',
    )
    project.write_text(text.replace("optional = true", "optional = false"))
    env = {**os.environ, "PYTHONPATH": f"{tools}:{copy}", "CC": "gcc"}
    line = [
        sys.executable,
        "-c",
        "from setuptools import setup; setup()",
        "-q",
        "build_ext",
        "--inplace",
        "-j2",
    ]
    done = subprocess.run(line, cwd=copy, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotBuild(done.stdout[-3_000:] + done.stderr[-6_000:])
    for name in EXTENSIONS:
        (made,) = copy.glob(f"{name}.*.so")
        assert b"__asan_init" in made.read_bytes(), made


def run(copy: Path, libraries: Sequence[str], folder: Path, tests: Sequence[str]) -> int:
    """Run the tests on what was built; their exit code. Reports go to files of the folder."""
    log = f"log_path={folder}/report"
    env = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "LD_PRELOAD": " ".join(libraries),
        "PYTHONMALLOC": "malloc",  # so that every object has its own fence
        "ASAN_OPTIONS": f"detect_leaks=0:halt_on_error=1:allocator_may_return_null=1:detect_stack_use_after_return=0:{log}",
        "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:{log}",
    }
    line = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-x",
        "-p",
        "no:cacheprovider",
        "-k",
        COMPILED,
        *tests,
    ]
    try:
        return subprocess.run(line, cwd=copy, env=env, timeout=MINUTES * 60, check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"the tests took more than {MINUTES} minutes")
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CannotBuild as error:
        sys.exit(str(error))
