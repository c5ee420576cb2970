"""The workflow and the hooks of docs/ci, run as far as a runner can be here: their shell, in a git repository of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import penstock
from tests.places import PARCELS
from tests.stream.generated import outs, parcel_events

ROOT = Path(penstock.__file__).parents[1]
CI = ROOT / "docs" / "ci"
PAGE = ROOT / "docs" / "pages" / "how-to" / "plan-a-change.md"
FORMER = PARCELS.replace("NAME", "parcels")
DONE = 'done_1h=count("1h")'
pytestmark = pytest.mark.long  # a dozen commands of git and penstock each


class Project:
    """A user's repository with a definition and its golden log, and what a runner gives a step."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.temp, self.programs = folder / "project", folder / "temp", folder / "bin"
        for one in (self.folder / "pipelines" / "golden", self.temp, self.programs):
            one.mkdir(parents=True)
        self.program("penstock", f'exec {sys.executable} -P -m penstock.stream.cli "$@"')
        self.program("pip", 'echo "pip $*"')
        # GitHub's client: notes what it is asked, and answers with the comments there are.
        self.program(
            "gh",
            f'echo "$*" >> {self.temp}/gh; case "$*" in *--jq*) cat {self.temp}/comments 2>/dev/null || true;; esac',
        )
        self.file = self.folder / "pipelines" / "parcels.py"
        self.file.write_text(FORMER)
        self.git("init", "-q", "-b", "main")
        self.env = {
            "PATH": f"{self.programs}:{os.environ['PATH']}", "HOME": str(folder), "PYTHONPATH": str(ROOT), "NUMBER": "7",
            "RUNNER_TEMP": str(self.temp), "GITHUB_STEP_SUMMARY": str(self.temp / "summary"), "GITHUB_REPOSITORY": "me/it",
            "KAFKA_BOOTSTRAP_SERVERS": "", "REDIS_URL": "", "READERS": "", "WORSE": "", "PARTIAL": "", "GH_TOKEN": "t",
        }  # fmt: skip
        self.keep_golden()
        self.env["BASE"] = self.commit()

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def git(self, *line: str) -> str:
        who = ["-c", "user.name=me", "-c", "user.email=me@here"]
        return subprocess.run(
            ["git", *who, *line], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", "as it is now")
        return self.git("rev-parse", "HEAD")

    def keep_golden(self) -> None:
        """What `--keep` would make of the topics."""
        from penstock.stream.definition_file import load
        from penstock.stream.log.memory import MemoryLog
        from penstock.stream.plan import golden

        log = MemoryLog(lambda: 1_800_000_000.0)
        pipeline = load(self.file)
        for source in pipeline.sources:
            log.create(source.name, 1)
        log.append(outs(parcel_events(60)))
        golden.write(
            self.folder / "pipelines" / "golden" / "parcels.ndjson", golden.newest_of(pipeline, log, 10**6)
        )
        done = self.run("penstock golden pipelines/parcels.py pipelines/golden/parcels.ndjson --record")
        assert done.returncode == 0, done.stderr

    def run(self, shell: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One step, in the shell that a runner takes."""
        line = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", shell]
        return subprocess.run(
            line, cwd=self.folder, env={**self.env, **more}, capture_output=True, text=True, check=False
        )

    def steps(self, **more: str) -> dict[str, subprocess.CompletedProcess[str]]:
        """Every step that runs a shell, in order; after one that failed those that run anyway."""
        done: dict[str, subprocess.CompletedProcess[str]] = {}
        for step in workflow()["jobs"]["plan"]["steps"]:
            if "run" in step and (
                all(one.returncode == 0 for one in done.values()) or "!cancelled()" in step.get("if", "")
            ):
                done[step["name"]] = self.run(step["run"], **more)
        return done

    def asked(self) -> list[str]:
        """What GitHub was asked."""
        path = self.temp / "gh"
        return path.read_text().splitlines() if path.exists() else []


def workflow() -> Any:
    return yaml.safe_load((CI / "plan.yml").read_text())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def codes(done: dict[str, subprocess.CompletedProcess[str]]) -> dict[str, int]:
    return {name: one.returncode for name, one in done.items() if one.returncode}


def test_a_pull_request_that_breaks_readers_gets_its_plan_as_a_comment_and_fails(project: Project) -> None:
    project.file.write_text(FORMER.replace(f", {DONE}", ""))
    project.run("penstock golden pipelines/parcels.py pipelines/golden/parcels.ndjson --record")
    project.commit()
    done = project.steps()
    assert codes(done) == {"Verdict": 3}, {name: one.stderr for name, one in done.items()}
    comment = (project.temp / "comment.md").read_text()
    assert comment.startswith("<!-- penstock plan -->\n### Penstock plan of `parcels`: breaks readers")
    assert "depot.done_1h goes" in comment and (project.temp / "summary").read_text() == comment
    assert project.asked()[-1].startswith("api --method POST repos/me/it/issues/7/comments -F body=@")
    (project.temp / "comments").write_text("41\n")
    assert codes(project.steps(READERS="--accept=readers")) == {}
    assert project.asked()[-1].startswith("api --method PATCH repos/me/it/issues/comments/41 -F body=@")


def test_a_change_whose_golden_log_was_not_kept_anew_fails_and_has_its_plan_all_the_same(
    project: Project,
) -> None:
    project.file.write_text(FORMER.replace(DONE, f'{DONE}, done_6h=count("6h")'))
    project.commit()
    done = project.steps()
    assert codes(done) == {"Fold golden logs": 1}
    assert "DIFFERENT  view depot: " in done["Fold golden logs"].stdout
    assert "depot.done_6h" in (project.temp / "comment.md").read_text()


def test_what_definitions_share_concerns_all_of_them_and_a_new_one_has_a_plan(project: Project) -> None:
    (project.folder / "pipelines" / "shared").mkdir()
    (project.folder / "pipelines" / "shared" / "rules.py").write_text("LATE = 15\n")
    (project.folder / "pipelines" / "more.py").write_text(FORMER.replace('"parcels"', '"more"'))
    project.commit()
    assert codes(project.steps()) == {}
    assert (project.temp / "changed").read_text().split() == ["pipelines/more.py", "pipelines/parcels.py"]
    comment = (project.temp / "comment.md").read_text()
    assert "plan of `more`: safe" in comment and "plan of `parcels`: nothing changes" in comment


def test_a_pull_request_that_changes_no_definition_leaves_no_comment(project: Project) -> None:
    (project.folder / "README.md").write_text("words\n")
    project.commit()
    assert codes(project.steps()) == {} and not [one for one in project.asked() if "--method" in one]


def test_with_servers_the_plan_is_made_beside_what_runs(project: Project) -> None:
    project.program("penstock", f'echo "$*" >> {project.temp}/penstock')
    project.file.write_text(FORMER.replace(DONE, 'done_1h=count("2h")'))
    project.commit()
    project.steps(KAFKA_BOOTSTRAP_SERVERS="kafka:9092", WORSE="--accept=worse", PARTIAL="--accept=partial")
    said = (project.temp / "penstock").read_text().splitlines()
    assert (
        said[-1]
        == "plan pipelines/parcels.py --backtest 30d --format markdown --accept=worse --accept=partial"
    )


def test_the_workflow_asks_for_no_more_than_it_needs_and_nothing_of_a_stranger_reaches_its_shell() -> None:
    said = workflow()
    assert said["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert set(said[True]) == {"pull_request"}, "YAML reads `on` as true"
    for step in said["jobs"]["plan"]["steps"]:
        assert "${{" not in step.get("run", ""), (
            f"{step['name']}: an expression in a shell is text that somebody else wrote"
        )


def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    found = shutil.which("actionlint") or next(map(str, (ROOT / "build").glob("actionlint/actionlint")), None)
    if found is None:
        pytest.skip(
            "no actionlint: `GOBIN=$PWD/build/actionlint go install github.com/rhysd/actionlint/cmd/actionlint@latest`"
        )
    done = subprocess.run(
        [found, "-no-color", str(CI / "plan.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


# -- the hooks ------------------------------------------------------------------------------------------------------------------


def hooks() -> dict[str, Any]:
    said = yaml.safe_load((CI / "pre-commit-config.yaml").read_text())
    return {one["id"]: one for one in said["repos"][0]["hooks"]}


def hooked(project: Project, name: str, *files: str) -> subprocess.CompletedProcess[str]:
    """A hook, as pre-commit runs it: its entry's words, then the staged files that its pattern takes."""
    import shlex

    taken = [file for file in files if re.search(hooks()[name]["files"], file)]
    line = [*shlex.split(hooks()[name]["entry"]), *taken]
    return subprocess.run(
        line, cwd=project.folder, env=project.env, capture_output=True, text=True, check=False
    )


def test_the_hooks_say_what_a_commit_changes_and_hold_up_what_is_wrong(project: Project) -> None:
    files = ["pipelines/parcels.py", "pipelines/shared/rules.py", "README.md"]
    assert [hooked(project, name, *files).returncode for name in hooks()] == [0, 0, 0]
    project.file.write_text(FORMER.replace(DONE, 'done_1h=count("2h")'))
    told = {name: hooked(project, name, *files) for name in hooks()}
    assert [one.returncode for one in told.values()] == [0, 1, 0]
    assert "depot.done_1h means something else" in told["penstock-plan"].stdout
    project.file.write_text(FORMER.replace(DONE, 'done_1h=count("2 parsecs")'))
    wrong = hooked(project, "penstock-check", *files)
    assert wrong.returncode == 2 and "parcels.py:" in wrong.stderr


def test_the_page_shows_the_files_as_they_are() -> None:
    text = PAGE.read_text()
    for name in ("plan.yml", "pre-commit-config.yaml"):
        shown = re.search(rf'^```yaml title="[^"]*{name}"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
        assert shown is not None, name
        assert shown.group(1) == (CI / name).read_text(), f"docs/ci/{name}"
