"""Where a benchmark's figures go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(figures: Any, to: str | Path | None) -> None:
    """Write figures as one JSON object: to standard output for "-", to a file otherwise, nowhere for None or an empty text."""
    if to == "-":
        print(json.dumps(figures))
    elif to:
        Path(to).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
