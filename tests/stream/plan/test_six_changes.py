"""The six changes of the flights, planned from the two files alone: text, JSON and Markdown as they are kept.

`python -m tests.stream.plan.test_six_changes` writes what is kept anew; look at the difference before you commit it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from benchmarks.plan_changes import CHANGES, changed, definition
from penstock.stream import cli
from penstock.stream.plan.planned import Plan
from penstock.stream.plan.run import plan
from penstock.stream.plan.telling import markdown, text

KEPT = Path(__file__).parents[2] / "golden" / "plan"
CODES = {"add": 0, "drop": 3, "window": 3, "key": 3, "model": 0, "label": 3}


def planned(name: str, folder: Path) -> Plan:
    """One of the changes beside the definition as it is, in a folder of their own."""
    (folder / "former.py").write_text(definition())
    (folder / "flights.py").write_text(changed(name))
    before = Path.cwd()
    os.chdir(folder)
    try:
        return plan("flights.py", against="former.py", offline=True)
    finally:
        os.chdir(before)


def told(found: Plan) -> dict[str, str]:
    """Every format by its file's ending, digests left out: they are those of whatever else a description says."""
    as_json = json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n"
    written = {"txt": text(found) + "\n", "md": markdown(found), "json": as_json}
    return {
        ending: said.replace(found.before, "BEFORE").replace(found.after, "AFTER")
        for ending, said in written.items()
    }


@pytest.mark.parametrize("name", CHANGES)
def test_a_plan_says_of_each_change_what_is_kept(name: str, tmp_path: Path) -> None:
    found = planned(name, tmp_path)
    for ending, said in told(found).items():
        assert said == (KEPT / f"{name}.{ending}").read_text(), f"{name}.{ending}"
    assert found.exit_code() == CODES[name]


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_the_exit_code_of_the_command_is_the_verdict(
    name: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "former.py").write_text(definition())
    (tmp_path / "flights.py").write_text(changed(name))
    line = [
        "plan",
        str(tmp_path / "flights.py"),
        "--against",
        str(tmp_path / "former.py"),
        "--offline",
        "--format",
        "json",
    ]
    assert cli.main(line) == code
    said = json.loads(capsys.readouterr().out)
    assert said["exit_code"] == code
    assert said["verdict"] == {0: "safe", 3: "breaks"}[code]
    assert cli.main([*line, "--accept", "readers"]) == 0


def test_the_page_shows_what_a_plan_says() -> None:
    page = KEPT.parents[2] / "docs" / "pages" / "how-to" / "plan-a-change.md"
    (shown,) = re.findall(r"^```text\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    kept = (KEPT / "window.txt").read_text().splitlines()
    for line in shown.splitlines():
        if line.startswith(("  recipe ", "  ships by ")):
            continue
        assert any(one.startswith(line.removesuffix("…")) for one in kept), line


def main() -> None:
    """Write all of it anew."""
    import tempfile

    KEPT.mkdir(exist_ok=True)
    for name in CHANGES:
        with tempfile.TemporaryDirectory() as folder:
            found = planned(name, Path(folder))
        for ending, said in told(found).items():
            (KEPT / f"{name}.{ending}").write_text(said)


if __name__ == "__main__":
    sys.exit(main())
