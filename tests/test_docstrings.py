"""What docstrings and comments say of the code itself: examples that run, files that are there."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.test_architecture import PACKAGES, ROOT, name, sources

TEXTS = [
    *sources(*PACKAGES, "penstock", "examples", "tests", "benchmarks"),
    *(ROOT / "features" / "engine").rglob("*.p*x*"),
    *(
        ROOT / entry
        for entry in ("pyproject.toml", "Makefile", "Dockerfile", "docker-compose.yml", ".ci/run")
    ),
]
WITH_EXAMPLES = [path for path in sources(*PACKAGES, "examples") if ">>> " in path.read_text()]
#: A file of this project, as comments name it.
NAMED = re.compile(
    r"(?<![\w./<])(?:(?:tests|stream|features|monitors|examples|benchmarks)/[\w/]+\.[a-z]{2,4})\b"
)
#: What is installed is called `penstock`, in every example, too.
BARE = re.compile(r"^\W*(?:from|import) (?:stream|features|monitors)\b", re.MULTILINE)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=name)
def test_the_examples_of_a_docstring_are_true(path: Path) -> None:
    module = import_module("penstock." + name(path)[:-3].replace("/", "."))
    ran = doctest.testmod(module)
    assert ran.attempted and not ran.failed


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_what_a_file_says_of_others_is_there(path: Path) -> None:
    text = path.read_text()
    missing = [found for found in NAMED.findall(text) if not (ROOT / found).exists()]
    assert not missing, missing
    if path.name != "test_own_project.py":  # whose project has packages of these names
        assert not BARE.search(text), BARE.search(text)
