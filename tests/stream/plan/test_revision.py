"""The former file of a git revision, with what lies beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from penstock.stream.definitions import DefinitionError
from penstock.stream.plan.revision import former_file
from penstock.stream.plan.run import plan
from tests.stream.test_own_project import project


def git(folder: Path, *line: str) -> None:
    who = ["-c", "user.name=me", "-c", "user.email=me@here"]
    subprocess.run(["git", *who, *line], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A definition with neighbours, in a folder of a repository, changed since its commit."""
    project(tmp_path / "pipelines")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


@pytest.mark.parametrize("against", ["HEAD", "HEAD:pipelines/definition.py"])
def test_a_former_file_is_loaded_with_the_neighbours_that_it_had(repository: Path, against: str) -> None:
    file = repository / "pipelines" / "definition.py"
    assert plan(file, against=against, offline=True).verdict() == "nothing"
    rules = repository / "pipelines" / "features" / "rules.py"
    rules.write_text(rules.read_text().replace(">= LEAST", "> LEAST"))
    found = plan(file, against=against, offline=True)
    assert found.before != found.after and found.changes == ["what a label means"]
    said = subprocess.run(
        ["git", "status", "--short"], cwd=repository, capture_output=True, check=True, text=True
    ).stdout
    assert said.split() == ["M", "pipelines/features/rules.py"], "the working tree is not touched"


def test_a_file_that_the_revision_lacks_is_new_unless_it_was_named(repository: Path) -> None:
    new = repository / "pipelines" / "new.py"
    new.write_text((repository / "pipelines" / "definition.py").read_text())
    found = plan(new, against="HEAD", offline=True)
    assert found.before == "" and found.exit_code() == 0
    with pytest.raises(DefinitionError, match="revision 'HEAD' has no file 'pipelines/new.py'"):
        plan(new, against="HEAD:pipelines/new.py", offline=True)


@pytest.mark.parametrize("against", ["no-such-branch", "HEAD~7", "no-such:pipelines/definition.py"])
def test_what_git_does_not_know_is_said(repository: Path, against: str) -> None:
    with (
        pytest.raises(DefinitionError, match=r"neither a file nor something that git knows"),
        former_file(against, repository / "pipelines" / "definition.py"),
    ):
        pass


def test_outside_of_a_repository_only_files_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    file = project(tmp_path)
    with pytest.raises(DefinitionError, match="neither a file nor"), former_file("HEAD", file):
        pass
    with former_file(str(file), file) as found:
        assert found == file
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DefinitionError, match="git cannot be run"), former_file("HEAD", file):
        pass
