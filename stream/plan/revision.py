"""A definition file as it is in a git revision, with what lies beside it.

Laws of this file:
- The working tree is not touched: the revision's folder is unpacked elsewhere, and is gone afterwards.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.stream.definitions import DefinitionError


@contextmanager
def former_file(against: str, beside: Path) -> Iterator[Path]:
    """The file that `against` names: a file, `REVISION:FILE`, or a git revision in which it has the path of `beside`.

    Raises `DefinitionError` for what is none of these.
    """
    if Path(against).is_file():
        yield Path(against)
        return
    revision, colon, named = against.partition(":")
    inside = beside.absolute().parent
    root = Path(_git(inside, against, "rev-parse", "--show-toplevel").decode().strip())
    path = Path(named) if colon else beside.resolve().relative_to(root.resolve())
    folder = "" if path.parent == Path() else path.parent.as_posix()
    packed = _git(root, against, "archive", "--format=tar", f"{revision}:{folder}")
    with tempfile.TemporaryDirectory(prefix="penstock-plan-") as there:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(there, filter="data")
        found = Path(there) / path.name
        if not found.is_file():
            raise DefinitionError(
                f"--against {against}: revision {revision!r} has no file {path.as_posix()!r}"
            )
        yield found


def _git(folder: Path, against: str, *line: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(folder), *line], capture_output=True, check=False)  # noqa: S607 - git is the user's
    except OSError as error:
        raise DefinitionError(
            f"--against {against}: git cannot be run ({error}), and there is no such file"
        ) from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise DefinitionError(
            f"--against {against}: neither a file nor something that git knows ({said}); give a file, REVISION:FILE, a revision "
            "such as origin/main, or `live`"
        )
    return done.stdout
