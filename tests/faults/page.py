"""The rows of the page that promises, from the faults: `python -m tests.faults.page` prints them."""

from __future__ import annotations

from tests.faults.every import FAULTS


def fault_lines() -> list[str]:
    """A row of the page's table for each fault."""
    return [f"| {one.name} | {one.what} | {one.promise} |" for one in FAULTS]


if __name__ == "__main__":
    print("\n".join(fault_lines()))
