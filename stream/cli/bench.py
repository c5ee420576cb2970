"""`penstock bench [NAME]`: run one of the benchmarks of a source checkout."""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
from pathlib import Path

import penstock
from penstock.stream.process.settings import Settings

EXAMPLES = """\
examples:
  penstock bench                                    which there are
  penstock bench drift --json drift.json            run one; what follows its name is its own
  penstock bench drift --help                       what it understands

Benchmarks lie in benchmarks/ of a source checkout (the one Penstock is installed from, or the working directory), not in
an installed package. Each runs in a process of its own, and its exit code is this command's. --json FILE writes what was
measured as one object."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "bench",
        help="run a benchmark, or list them",
        description="Run one of the benchmarks; without a name, list them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("name", metavar="NAME", nargs="?", help="the benchmark")
    command.add_argument(
        "arguments", metavar="...", nargs=argparse.REMAINDER, help="passed on, such as --json FILE"
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """List, or run one; its exit code."""
    folder = checkout()
    if folder is None:
        print("penstock: no benchmarks/ here: run this from a source checkout of Penstock", file=sys.stderr)
        return 2
    found = benchmarks(folder)
    if args.name is None:
        width = max(map(len, found), default=0)
        print("\n".join(f"{name:<{width}}  {line}" for name, line in found.items()))
        return 0
    name = args.name.replace("-", "_")
    if name not in found:
        there = ", ".join(found) or "none"
        print(f"penstock: no benchmark {args.name!r} in {folder}; there are: {there}", file=sys.stderr)
        return 2
    root = str(folder.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    # -P: another benchmarks/ in the working directory must not come first.
    line = [sys.executable, "-P", "-m", f"benchmarks.{name}", *args.arguments]
    return subprocess.run(line, env={**os.environ, "PYTHONPATH": path}, check=False).returncode


def checkout() -> Path | None:
    """The folder of benchmarks: beside the package, or in the working directory if that is a checkout of Penstock."""
    for root in (Path(penstock.__file__).parents[1], Path.cwd()):
        if (root / "benchmarks").is_dir() and (root / "penstock" / "stream").is_dir():
            return root / "benchmarks"
    return None


def benchmarks(folder: Path) -> dict[str, str]:
    """The first line of what each says about itself, by name: modules with a `main`. Nothing is imported."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").split("\n")[0]
    return found
