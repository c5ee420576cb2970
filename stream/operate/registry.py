"""The registry as people use it: which version they mean, names they give, and files that carry a version elsewhere.

Laws of this file:
- A name is a stored copy of a version, under an id of its own: what it names neither changes nor goes, whatever the fold keeps.
- A file is the sealed envelope that the store holds. It is taken in only where its signature fits and its model opens here.
- Nothing here changes what is live: a rollback or a promotion that names the version does.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from penstock.stream.definitions import Pipeline
from penstock.stream.messages import MAX_NAME_CHARACTERS
from penstock.stream.models.store import ModelStore
from penstock.stream.models.version import (
    ALIASES,
    CHAMPION,
    NAMED,
    PREVIOUS,
    BadEnvelope,
    Keys,
    Version,
    named,
    open_version,
    seal,
    unseal,
)

IMPORTED = "import-"
"""What the id of an imported version begins with."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_LIKE_AN_ID = re.compile(r"v\d+|latest|base")
_PICKLE = b"\x80"
WARNING = (
    "A pickle runs code when it is opened: open only what you got from somebody you trust. It opens under the river and the "
    "Python named here."
)


class RegistryError(ValueError):
    """What was asked for cannot be done; the message says why, and what to do."""


def find(store: ModelStore, wanted: str, live: dict[str, Any]) -> tuple[Version, bytes]:
    """The stored version that a person means, by id, alias or name.

    Raises:
        RegistryError: there is none; says which there are, and for an alias what it stands for.
        BadEnvelope: it must not be opened.

    """
    meant = {CHAMPION: live.get("committed"), PREVIOUS: live.get("previous")}.get(wanted, wanted)
    if not meant:
        raise RegistryError(f"there is no {wanted} version: nothing was committed before the one that is")
    found = store.get(meant) or store.get(NAMED + meant)
    if found is None and meant not in live.get("states", {}):
        found = store.get(named(meant, [version.id for version in store.versions()]))
    if found is not None:
        return found
    versions = store.versions()
    there = ", ".join(version.id for version in versions) or "none"
    if meant in live.get("states", {}):
        copies = [version.id for version in versions if version.parent == meant]
        copy = f"; its newest stored copy is {copies[-1]}" if copies else ""
        said = f"{wanted} is {meant}, which" if wanted in ALIASES else f"{meant}"
        raise RegistryError(
            f"{said} takes part and is not stored{copy}. `penstock promote --version {meant}` commits it, and stores it as it is"
        )
    raise RegistryError(f"there is no version {wanted!r}; there are: {there}")


def to_ask_for(store: ModelStore, wanted: str) -> tuple[str, str | None]:
    """What a request calls a version: its id and, for a named or an imported one, which the fold does not know, its digest."""
    if wanted in ALIASES:
        return wanted, None
    outside = {one for one in store.ids() if one.startswith((NAMED, IMPORTED))}
    meant = named(wanted, sorted(outside))
    found = store.get(meant) if meant in outside else None
    return (wanted, None) if found is None else (found[0].id, found[0].digest)


# -- names ----------------------------------------------------------------------------------------------------------------


def give_name(store: ModelStore, name: str, wanted: str, live: dict[str, Any], by: str, why: str) -> Version:
    """Give a version a name, or move the name to it; the named copy. Raises like `find`, and `RegistryError` for a bad name."""
    if not NAME.fullmatch(name) or _LIKE_AN_ID.match(name) or name in ALIASES:
        raise RegistryError(
            f"{name!r} cannot be a name: it takes up to 100 letters, digits, '_' and '-', begins with a letter, and is neither "
            f"{CHAMPION} nor {PREVIOUS}, which Penstock gives itself, nor like an id"
        )
    version, payload = find(store, wanted, live)
    before = store.get(NAMED + name)
    was = f" (before: {_origin(before[0])}, by {before[0].author})" if before is not None else ""
    made = msgspec.structs.replace(
        version, id=NAMED + name, parent=_origin(version), author=by, why=f"{why}{was}"
    )
    store.put(made, payload)
    return made


def remove_name(store: ModelStore, name: str) -> Version:
    """Take a name away; what it named. Raises `RegistryError` where nothing has it."""
    found = store.get(NAMED + name)
    if found is None:
        names = sorted(one.removeprefix(NAMED) for one in store.ids() if one.startswith(NAMED))
        raise RegistryError(f"no version is named {name!r}; names are: {', '.join(names) or 'none'}")
    store.delete([NAMED + name])
    return found[0]


def _origin(version: Version) -> str:
    """The id of a version, of a named copy that of what was named."""
    return version.parent or version.id if version.id.startswith(NAMED) else version.id


# -- files ----------------------------------------------------------------------------------------------------------------


def export_sealed(version: Version, payload: bytes, path: Path, keys: Keys) -> None:
    """Write the version as a sealed envelope, which `import_file` takes in."""
    path.write_bytes(seal(version, payload, keys))


def export_river(version: Version, payload: bytes, path: Path, pipeline: Pipeline) -> Path:
    """Write the river model alone, as a plain pickle, and a card beside it that says what it is; the card's path."""
    card = path.with_name(path.name + ".json")
    path.write_bytes(payload)
    card.write_text(json.dumps(card_of(version, pipeline), indent=2, ensure_ascii=False) + "\n")
    return card


def card_of(version: Version, pipeline: Pipeline) -> dict[str, Any]:
    """What a reader must know who has nothing but the model: its lineage, its inputs, and how to open it."""
    own = version.recipe == pipeline.digest
    return {
        "warning": WARNING,
        "open": "import pickle; model = pickle.load(open(FILE, 'rb')); model.predict_proba_one({input: value, …})[True]",
        "inputs": pipeline.vector_names if own else None,
        **msgspec.to_builtins(version),
    }


def import_file(
    path: Path, pipeline: Pipeline, store: ModelStore, keys: Keys, by: str, why: str
) -> tuple[Version, bool]:
    """Take a sealed file in as a stored version of this pipeline; the version, and whether it is new here.

    Raises:
        RegistryError: it is no sealed file, of another pipeline, or made under another definition.
        BadEnvelope: its signature does not fit, or its model does not open here.

    """
    sealed = path.read_bytes()
    if sealed.startswith(_PICKLE):
        raise RegistryError(
            f"{path} is a plain pickle, which is opened by nobody who does not know where it is from: export it without --river"
        )
    version, payload = _opened(path, sealed, keys)
    if version.pipeline != pipeline.name:
        raise RegistryError(
            f"{path} holds version {version.id} of pipeline {version.pipeline!r}, the definition is that of {pipeline.name!r}: "
            "give the definition that it belongs to"
        )
    if version.recipe != pipeline.digest:
        raise RegistryError(
            f"{path} was made under definition {version.recipe}, here is {pipeline.digest}: its features differ. Import "
            "it where that definition runs, or retrain under this one"
        )
    open_version(version, payload)
    there = store.get(version.id)
    if there is not None and there[0].digest == version.digest:
        return there[0], False
    origin = _origin(version).removeprefix(IMPORTED)[: MAX_NAME_CHARACTERS // 2]
    made_id = f"{IMPORTED}{origin.removesuffix(f'.{version.digest[:6]}')}.{version.digest[:6]}"
    there = store.get(made_id)
    if there is not None:
        return there[0], False
    made = msgspec.structs.replace(
        version, id=made_id, parent=_origin(version), kind="imported", author=by, why=why
    )
    store.put(made, payload)
    return made, True


def _opened(path: Path, sealed: bytes, keys: Keys) -> tuple[Version, bytes]:
    try:
        return unseal(sealed, keys, Version)
    except BadEnvelope as error:
        raise BadEnvelope(f"{path}: {error}") from None
