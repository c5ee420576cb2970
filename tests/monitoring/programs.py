"""Prometheus' programs, as the machine has them."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str) -> str:
    """Where `prometheus` or `promtool` is; without them a test is skipped, in CI it fails."""
    found = shutil.which(name)
    if found is None:
        reason = f"no {name}: install it, on Debian by `apt-get install prometheus`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found
