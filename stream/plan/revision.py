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
def former_file(against: str, beside: Path) -> Iterator[Path | None]:
    """The file that `against` names: a file, `REVISION:FILE`, or a git revision in which it has the path of `beside`.

    None where a revision alone is named and has no such file: then it is new. Raises `DefinitionError` for what is none of these.
    """
    if Path(against).is_file():
        yield Path(against)
        return
    revision, colon, named = against.partition(":")
    inside = beside.absolute().parent
    _git(inside, against, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    root = Path(_git(inside, against, "rev-parse", "--show-toplevel").decode().strip())
    path = Path(named) if colon else beside.resolve().relative_to(root.resolve())
    if not _git(root, against, "ls-tree", revision, "--", path.as_posix()).strip():
        if colon:
            raise DefinitionError(
                f"--against {against}: revision {revision!r} has no file {path.as_posix()!r}"
            )
        yield None
        return
    folder = "" if path.parent == Path() else path.parent.as_posix()
    packed = _git(root, against, "archive", "--format=tar", f"{revision}:{folder}")
    with tempfile.TemporaryDirectory(prefix="penstock-plan-") as there:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(there, filter="data")
        yield Path(there) / path.name


def _git(folder: Path, against: str, *line: str) -> bytes:
    """What git prints. Raises `DefinitionError` for what it refuses."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *line], capture_output=True, check=False)
    except OSError as error:
        raise DefinitionError(
            f"--against {against}: git cannot be run ({error}), and there is no such file"
        ) from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split()) or "unknown revision"
        raise DefinitionError(
            f"--against {against}: neither a file nor something that git knows ({said}); give a file, REVISION:FILE, a revision "
            "such as origin/main, or `live`"
        )
    return done.stdout
