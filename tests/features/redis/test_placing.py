"""Names on one server and keys in a cluster: each stands for the other, and any language computes them by the documented rule."""

from __future__ import annotations

import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2
from redis.crc import key_slot

from penstock.features.redis import keys
from penstock.features.redis.placing import Found, found, patterns, placed, task_of
from penstock.stream.log.protocol import partition_for
from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs" / "pages" / "how-to" / "run-on-a-redis-cluster.md"
NAMES = st.text("abc-_.Z0", min_size=1, max_size=6)
TASKS = st.sampled_from(["all", "learn", "0", "17", "3+0a1b"])
PARTS = st.one_of(st.text(max_size=8).filter(lambda text: text.isprintable()), st.integers(-9, 99))


@given(NAMES, TASKS, NAMES, PARTS)
def test_what_a_task_owns_lies_in_its_slot_and_is_found_again_by_its_name(
    pipeline: str, task: str, view: str, part: str | int
) -> None:
    entity = keys.entity_key([part])
    names = [
        keys.state_key(pipeline, task, view, "0a", entity),
        keys.token_key(pipeline, task),
        keys.generation_key(pipeline, task),
        keys.position_key(pipeline, task),
        keys.definition_key(pipeline, task),
        keys.public_key(pipeline, view, entity),
    ]
    lie = [placed(name, task) for name in names]
    assert {key_slot(key.encode()) for key in lie} == {key_slot(f"{{{pipeline}:{task}}}".encode())}
    assert [found(key) for key in lie] == names and [placed(found(key)) for key in lie] == lie
    assert all(isinstance(found(key), Found) for key in lie)
    for name, key in zip(names, lie, strict=True):
        for cut in range(len(name) + 1):
            assert cut <= name.find(":") or any(
                fnmatchcase(key, _shell(glob)) for glob in patterns(name[:cut])
            )


def _shell(glob: str) -> str:
    return glob.replace("\\^", "^")


@given(NAMES)
def test_what_the_learner_writes_lies_in_one_slot_and_the_rest_is_named_as_on_one_server(
    pipeline: str,
) -> None:
    learns = [keys.snapshot_key, keys.replica_key, keys.model_key]
    assert {key_slot(placed(key(pipeline)).encode()) for key in learns} == {
        key_slot(f"{{{pipeline}:learn}}".encode())
    }
    for key in (keys.live_key, keys.wanted_key, keys.versions_key, keys.identity_key):
        assert placed(key(pipeline)) == found(key(pipeline)) == key(pipeline)


@given(st.lists(PARTS, min_size=1, max_size=3), st.integers(1, 50))
def test_an_entity_lies_with_the_task_to_whose_partition_kafka_brings_its_events(
    parts: list[str | int], partitions: int
) -> None:
    fields = [f"f{n}" for n in range(len(parts))]
    key = keys.record_key(dict(zip(fields, parts, strict=True)), fields)
    assert key is not None
    expected = (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
    assert task_of(keys.entity_key(parts), partitions) == str(expected)
    assert expected == partition_for(key.encode(), partitions)
    assert task_of(keys.entity_key(parts), 0) == "all"


COMMANDS = {
    "python": ("python3", ["{python}", "{file}"], "keys.py"),
    "javascript": ("node", ["node", "{file}"], "keys.js"),
    "go": ("go", ["go", "run", "{file}"], "keys.go"),
    "java": ("java", ["java", "{file}"], "Keys.java"),
}


@pytest.mark.long
@pytest.mark.parametrize("language", COMMANDS)
def test_the_page_gives_the_keys_in_this_language(language: str, tmp_path: Path) -> None:
    program, command, name = COMMANDS[language]
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on this machine")
    [block] = blocks(PAGE, language)
    file = tmp_path / name
    file.write_text(block.text)
    cards = ["1", "12", "123", "1234", "4000000000000000", "a b+c", "~*!'()", "Grüße|{x}:y", "漢字", "%"]
    line = [part.format(python=sys.executable, file=file) for part in command]
    said = subprocess.run([*line, *cards], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    entities = [keys.entity_key([card]) for card in cards]
    assert said.splitlines() == [
        placed(keys.public_key("cards", "card", entity), task_of(entity, 4)) for entity in entities
    ]
