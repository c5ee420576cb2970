"""The notebooks of the documentation, run again in memory: every cell runs, and prints what is kept.

`make test-notebook` installs what runs them, and runs this and the tests of frames with pandas and polars. Without it, all of it
is skipped.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from penstock.examples import flights_data

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "pages" / "notebooks").glob("*.ipynb"))
MOST_BYTES = 60_000


def kept(path: Path) -> Any:
    return json.loads(path.read_text())


def texts(cell: Any) -> list[str]:
    """What a cell printed and showed, without its pictures."""
    found = []
    for output in cell.get("outputs", ()):
        said = output.get("text") or output.get("data", {}).get("text/plain", "")
        found.append(said if isinstance(said, str) else "".join(said))
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_executed_small_and_without_errors(path: Path) -> None:
    cells = [cell for cell in kept(path)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs and {output["output_type"] for output in outputs} <= {
        "stream",
        "execute_result",
        "display_data",
    }
    assert all(output.get("name") != "stderr" for output in outputs)
    assert path.stat().st_size < MOST_BYTES
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work)/", path.read_text()), (
        "a path of somebody's machine"
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_gives_what_is_kept_when_it_runs_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nbclient", reason="nbclient is not installed: make test-notebook")
    try:
        flights_data.data_folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    spec = importlib.util.spec_from_file_location("docs_notebook", ROOT / "docs" / "notebook.py")
    assert spec is not None and spec.loader is not None
    notebook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(notebook)
    again = notebook.executed(path)
    for before, after in zip(kept(path)["cells"], again.cells, strict=True):
        assert texts(before) == texts(after), "".join(before["source"])
