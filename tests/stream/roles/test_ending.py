"""A role that is told to end, and does not."""

from __future__ import annotations

import subprocess
import sys

from tests.patience import PATIENCE_S
from tests.places import ROOT

HANGS = """
import os, signal, threading
from penstock.stream.roles.start import until_told
stopped = until_told(0.2)
os.kill(os.getpid(), signal.SIGTERM)
assert stopped()
def closes_for_ever():
    threading.Event().wait()
closes_for_ever()
"""


def test_a_role_that_does_not_come_to_its_end_says_where_it_stands_and_ends_all_the_same() -> None:
    line = [sys.executable, "-c", HANGS]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 1 and "in closes_for_ever" in ended.stderr
