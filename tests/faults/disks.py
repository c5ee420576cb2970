"""File systems of a few megabytes, which one can fill."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def disk(mb: int) -> Iterator[Path]:
    """A file system of so many megabytes of its own."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-small-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mb}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def no_root() -> str:
    """Why no file system can be made here."""
    return (
        "" if os.geteuid() == 0 and shutil.which("mount") else "it needs root, for a file system of its own"
    )


def fill(filler: Path) -> None:
    """Write a file until its disk is full."""
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 65_536)
