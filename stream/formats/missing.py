"""Libraries that only some formats need: imported when they are asked for, and named where they are missing."""

from __future__ import annotations

import importlib
from typing import Any

from penstock.stream.definition_error import DefinitionError


def extra(module: str) -> Any:
    """A module of the extra `formats`; raises `DefinitionError`, which says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise DefinitionError(
            f"a topic in Avro or Protobuf is read with {module.split('.', maxsplit=1)[0]}, which is not installed: "
            "pip install 'penstock[formats]'"
        ) from None
