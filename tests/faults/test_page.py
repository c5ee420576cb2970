"""The page that promises names every fault that is done, with what is promised, and no other."""

from __future__ import annotations

from pathlib import Path

from tests.faults.every import FAULTS
from tests.faults.page import fault_lines

PAGE = Path(__file__).parents[2] / "docs/pages/explanation/guarantees.md"


def test_the_page_has_a_row_for_each_fault_and_says_what_is_promised() -> None:
    _, table = PAGE.read_text().split("| Fault | What is done | What holds |\n|---|---|---|\n")
    assert table.split("\n\n")[0].splitlines() == fault_lines()


def test_no_two_faults_have_one_name() -> None:
    names = [one.name for one in FAULTS]
    assert len(set(names)) == len(names)
