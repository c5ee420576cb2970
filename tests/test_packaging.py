"""What is installed: one name at the top, and under it everything that the sources hold."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("stream", "features", "monitors", "examples")


def given() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, Any] = tomllib.load(file)
    return found


def packages() -> set[str]:
    """The packages as setuptools finds them."""
    setuptools = pytest.importorskip("setuptools")
    asked = given()["tool"]["setuptools"]["packages"]["find"]
    return set(setuptools.find_packages(str(ROOT), include=asked["include"]))


def test_an_installation_has_one_name_at_the_top() -> None:
    found = packages()
    assert {name.partition(".")[0] for name in found} == {"penstock"}
    names = {module["name"] for module in given()["tool"]["setuptools"]["ext-modules"]}
    assert names == {
        "penstock.features.engine.native",
        "penstock.stream.featurize.stepping",
        "penstock.stream.learn.weighing",
        "penstock.stream.learn.linear",
        "penstock.stream.learn.folding",
        "penstock.monitors.inputs.counting",
    }
    assert given()["project"]["scripts"] == {"penstock": "penstock.stream.cli:main"}


def test_every_folder_of_the_sources_is_installed() -> None:
    wanted = {
        "penstock." + path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    assert packages() == wanted | {"penstock"}
    for folder in FOLDERS:
        assert (ROOT / "penstock" / folder).resolve() == ROOT / folder


def test_files_that_are_no_modules_are_installed_too() -> None:
    data: dict[str, list[str]] = given()["tool"]["setuptools"]["package-data"]
    for package, patterns in data.items():
        for pattern in patterns:
            assert list((ROOT / package.replace(".", "/")).glob(pattern)), f"{package}: {pattern}"
    others = {
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".so", ".c", ".md", ".html"}
    }
    installed = {
        path.resolve().relative_to(ROOT)
        for package, patterns in data.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    assert others <= installed
