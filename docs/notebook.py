"""Runs the notebooks under `docs/pages/notebooks`, and keeps what they print: `make notebook`.

Laws of this file:
- What is kept is what a run gives: a test runs them again and compares. Nothing that differs from run to run is kept.
- The kernel has a fixed hash seed, as every process of Penstock has.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "pages" / "notebooks"
TIMEOUT_S = 600


def executed(path: Path) -> Any:
    """The notebook of this file after a run of all its cells. Raises nbclient's `CellExecutionError` for one that fails."""
    import nbclient
    import nbformat

    found = nbformat.read(path, as_version=4)
    os.environ["PYTHONHASHSEED"] = "0"  # the kernel inherits it
    where = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(found, timeout=TIMEOUT_S, resources=where).execute()
    found.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in found.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            if output.output_type in ("execute_result", "display_data"):
                output.data.pop("text/html", None)  # says what the text says, in many more bytes
    return found


def main() -> None:
    """Run every notebook, and write it."""
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        found = executed(path)
        nbformat.write(found, path)
        print(
            f"{path}: {sum(cell.cell_type == 'code' for cell in found.cells)} cells, {path.stat().st_size:,} bytes"
        )


if __name__ == "__main__":
    main()
