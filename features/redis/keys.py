"""The names of everything in Redis.

Laws: public documents live under `features:` and `model:`, everything else under `penstock:`; a part of an entity's
key is percent-encoded, so `:` and `|` only ever separate. `pipeline` is everywhere the pipeline's name with its
deployment's prefix before it (`PENSTOCK_PREFIX`), as in its topics' names: deployments with different prefixes share no key.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote


def entity_of(event: Mapping[str, Any], key_fields: Sequence[str]) -> str | None:
    """Name the entity of an event: its key fields, percent-encoded, joined by `|`.

    None if any part is null or absent: the event has no entity in this view. An integer is written in
    decimal, so `7` and `"7"` name the same entity.

    >>> entity_of({"carrier": "B6", "route": "JFK|LAX"}, ("carrier", "route"))
    'B6|JFK%7CLAX'

    Raises:
        TypeError: if a part is neither text nor an integer.

    """
    if len(key_fields) == 1:  # nearly every view
        part = event.get(key_fields[0])
        if type(part) is str and part.isascii() and part.isalnum():
            return part
        return None if part is None else _encoded(part, key_fields[0])
    parts = []
    for field in key_fields:
        part = event.get(field)
        if part is None:
            return None
        parts.append(_encoded(part, field))
    return "|".join(parts)


def record_key(event: Mapping[str, Any], key_fields: Sequence[str]) -> str | None:
    """Key of an event's Kafka record: the text of its key field; of a compound key the entity's name.

    None if any part is null or absent: such a record has no key.

    >>> record_key({"street": "Elm St"}, ("street",)), record_key({"city": 7, "street": "Elm St"}, ("city", "street"))
    ('Elm St', '7|Elm%20St')

    Raises:
        TypeError: if a part of a compound key is neither text nor an integer.

    """
    if len(key_fields) == 1:
        part = event.get(key_fields[0])
        return None if part is None else str(part)
    return entity_of(event, key_fields)


def entity_key(parts: Sequence[str | int]) -> str:
    """Name an entity by the values of its key fields, in order, as `entity_of` does.

    >>> entity_key(["JFK"])
    'JFK'
    """
    return "|".join(_encoded(part, "key") for part in parts)


def public_key(pipeline: str, view: str, entity: str) -> str:
    """Key of the public JSON document of an entity, as named by `entity_of`."""
    return f"features:{pipeline}:{view}:{entity}"


def live_key(pipeline: str) -> str:
    """Key of the public document that says which version of each view is served: `{"views": {view: version}}`."""
    return f"features:{pipeline}"


def model_key(pipeline: str) -> str:
    """Key of the public document that says which model is live, as of its last snapshot."""
    return f"model:{pipeline}"


def snapshot_key(pipeline: str) -> str:
    """Key of the learner's signed snapshot."""
    return f"penstock:{pipeline}:learn:snapshot"


def replica_key(pipeline: str) -> str:
    """Key of the signed snapshot that the serve role answers from."""
    return f"penstock:{pipeline}:learn:state:replica"


def wanted_key(pipeline: str) -> str:
    """Key that is there while a serve role runs: without it learn stores nothing for one."""
    return f"penstock:{pipeline}:serving"


def versions_key(pipeline: str) -> str:
    """Key of the hash of signed model versions."""
    return f"penstock:{pipeline}:versions"


def reached_key(pipeline: str) -> str:
    """Key of the hash in which featurize workers say how far in event time they are, by task. It expires."""
    return f"penstock:{pipeline}:reached"


def began_key(pipeline: str) -> str:
    """Key of what a Flink job of a pipeline began with."""
    return private_prefix(pipeline, "flink")


def identity_key(pipeline: str) -> str:
    """Key of the document that says whose keys these are; see `identity`."""
    return f"penstock:{pipeline}:identity"


def private_prefix(pipeline: str, task: str = "") -> str:
    """What private keys of a pipeline begin with, those of tasks whose names begin with `task`."""
    return f"penstock:{pipeline}:{task}"


def state_key(pipeline: str, task: str, view: str, version: str, entity: str) -> str:
    """Key of the private state of an entity under one version of its view; without an entity, what they begin with."""
    return f"penstock:{pipeline}:{task}:state:{view}@{version}:{entity}"


def states_prefix(pipeline: str, task: str) -> str:
    """What the state keys of one task begin with, and nothing else does."""
    return f"penstock:{pipeline}:{task}:state:"


def definition_key(pipeline: str, task: str) -> str:
    """Key of the definition that the task's state was written under, as JSON."""
    return f"penstock:{pipeline}:{task}:definition"


def build_task(task: str, recipe: str) -> str:
    """Name the task that builds a task's next state, under another recipe, beside it."""
    return f"{task}+{recipe}"


def pattern(prefix: str) -> str:
    """Glob that matches the keys that begin with `prefix`, and nothing else."""
    return "".join(f"\\{c}" if c in "*?[]^\\" else c for c in prefix) + "*"


def token_key(pipeline: str, task: str) -> str:
    """Key of the random token of the task's owner."""
    return f"penstock:{pipeline}:{task}:token"


def generation_key(pipeline: str, task: str) -> str:
    """Key of the random name of this incarnation of the task's state."""
    return f"penstock:{pipeline}:{task}:generation"


def position_key(pipeline: str, task: str) -> str:
    """Key of the task's position document."""
    return f"penstock:{pipeline}:{task}:position"


def _encoded(part: Any, field: str) -> str:
    """Percent-encode one part."""
    if type(part) is str:
        # Most identifiers need no encoding, and quote() costs more than the rest of this file.
        return part if part.isascii() and part.isalnum() else quote(part, safe="", errors="surrogatepass")
    if type(part) is int:
        return str(part)
    raise TypeError(f"key field {field!r} is {part!r}: a key is text or an integer")
