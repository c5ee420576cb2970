"""Which engine runs: C where the extension was built, Python elsewhere; `PENSTOCK_ENGINE` names one.

Laws: the two agree in every value and every byte, so nothing but speed depends on the choice, and it may change from
one start to the next.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

from penstock.features.engine.program import Program
from penstock.features.engine.python_engine import PythonEngine
from penstock.features.units import Write

EngineName = Literal["native", "python"]


class State(Protocol):
    """What one entity remembers. Opaque outside `features`; mutable, owned by one task."""

    @property
    def newest(self) -> int:
        """Time of the newest event, in ms; `aggregates.NEVER` before the first."""


class Engine(Protocol):
    """What `compute.CompiledView` asks of an engine, and describes. A state belongs to the engine that made it."""

    def new(self) -> Any: ...
    def until(self, state: Any, at: int, /) -> int | None: ...
    def merge(self, a: Any, b: Any, /) -> Any: ...
    def encode(self, state: Any, /) -> bytes: ...
    def decode(self, data: bytes, /) -> Any: ...
    def document(self, state: Any, at: int, written: int, /) -> bytes: ...
    def writes(
        self,
        states: dict[str, Any],
        entities: Iterable[str],
        stored: str,
        public: str,
        at: int,
        written: int,
        ttl: int,
        /,
    ) -> list[Write]: ...
    @property
    def update(self) -> Any: ...
    @property
    def update_own(self) -> Any: ...
    @property
    def values(self) -> Any: ...
    @property
    def vector(self) -> Any: ...


def engine_name(environment: Mapping[str, str] = os.environ) -> EngineName:
    """Say which engine runs.

    Raises:
        ValueError: if `PENSTOCK_ENGINE` names none, or names the native one and it was not built.

    """
    wanted = environment.get("PENSTOCK_ENGINE", "")
    if wanted == "python":
        return "python"
    if wanted not in ("", "native"):
        raise ValueError(f"PENSTOCK_ENGINE={wanted!r}: use native or python, or leave it out")
    try:
        import penstock.features.engine.native  # noqa: F401
    except ImportError as problem:
        if wanted == "native":
            raise ValueError(
                "PENSTOCK_ENGINE=native, but the extension penstock.features.engine.native was not built: "
                "install Penstock where there is a C compiler"
            ) from problem
        return "python"
    return "native"


def make_engine(name: EngineName, program: Program, names: tuple[str, ...], version: str) -> Engine:
    """Make an engine for a program; its features' names and its version stand in documents."""
    if name == "python":
        return PythonEngine(program, names, version)
    from penstock.features.engine.native import NativeEngine

    return NativeEngine(program, names, version)
