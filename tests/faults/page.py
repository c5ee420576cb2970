"""The rows of the page that promises, and the figures of a JSON file: `python -m tests.faults.page [FILE]` prints either."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.faults.every import FAULTS


def fault_lines() -> list[str]:
    """A row of the page's table for each fault."""
    return [f"| {one.name} | {one.what} | {one.promise} |" for one in FAULTS]


def figure_lines(found: dict[str, Any]) -> list[str]:
    """A table of what a run counted, and one of its planted bugs."""
    columns = ("rounds", "injected", "records", "lost", "repeated", "wrong")
    lines = [
        "| Fault | rounds | done | records | lost | repeated | wrong | p50, s | most, s |",
        "|---|" + "---|" * 8,
    ]
    order = {one.name: number for number, one in enumerate(FAULTS)}
    for row in sorted(found["rows"], key=lambda row: order.get(row["fault"], len(order))):
        times = [row["recovery_p50_s"], row["recovery_max_s"]]
        said = [f"{row[name]:,}" for name in columns] + [
            "–" if one is None else f"{one:.1f}" for one in times
        ]
        lines.append(f"| {row['fault']} | {' | '.join(said)} |")
    if found["planted"]:
        lines += ["", "| Planted bug | found as | rounds |", "|---|---|---|"]
    for one in found["planted"]:
        lines.append(f"| {one['bug']} | {one['caught_by'] or 'not found'} | {one['rounds']} |")
    return lines


if __name__ == "__main__":
    given = sys.argv[1:]
    print("\n".join(figure_lines(json.loads(Path(given[0]).read_text())) if given else fault_lines()))
