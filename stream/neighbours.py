"""Modules beside a definition file: found for its imports, in every role and for as long as the process lives.

Laws of this file:
- What is installed, and Penstock itself, always comes first: a project's `kafka.py` is never taken for the client.
- What lies beside the definition comes before everything else on the path: a project's own `features` is what it imports.
- One definition's neighbours are gone when another is loaded, and are read again when the same is; of several that a process
  runs, those of the one that is in use are there.
"""

from __future__ import annotations

import importlib
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

OWN = "penstock"
_INSTALLED = [sysconfig.get_path(name) for name in ("purelib", "platlib")]


class Aside(NamedTuple):
    """One definition's neighbours while another's are found: their folder, the names looked for, the modules imported so far."""

    folder: str
    found: frozenset[str]
    modules: dict[str, ModuleType]


class Neighbours:
    """Finds the top-level modules of one folder, which the last loaded definition lies in. One stands in `sys.meta_path`.

    It stays there: models refer to functions of these modules by name, and some are imported when a function first runs.
    """

    def __init__(self) -> None:
        self.folder = ""
        self.found: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Python's protocol of finders: the module's spec if it lies in the folder, else None."""
        if path is not None or not self.folder or name == OWN or name in sys.stdlib_module_names:
            return None
        spec = PathFinder.find_spec(name, [self.folder])
        if spec is None or PathFinder.find_spec(name, _INSTALLED) is not None:
            return None
        self.found.add(name)
        return spec

    def set_aside(self) -> Aside:
        """Forget the folder and what was imported from it; it is as it was after `take_back`."""
        names = [name for name in self.found if name in sys.modules]
        # All of what is imported is looked through only for what lies inside packages: that are thousands of names.
        inside = tuple(f"{name}." for name in names if hasattr(sys.modules[name], "__path__"))
        names += [name for name in sys.modules if name.startswith(inside)] if inside else []
        aside = Aside(self.folder, frozenset(self.found), {name: sys.modules.pop(name) for name in names})
        self.folder = ""
        self.found.clear()
        return aside

    def take_back(self, aside: Aside) -> None:
        """Find that folder's modules again, and have those that were imported from it; others must be aside."""
        self.folder = aside.folder
        self.found.update(aside.found)
        sys.modules.update(aside.modules)

    def move_to(self, folder: Path) -> None:
        """Forget what was imported from where the last definition lay, and look in this folder from now on."""
        self.set_aside()
        self.folder = str(folder)
        importlib.invalidate_caches()
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)


neighbours = Neighbours()
