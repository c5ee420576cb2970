"""The laws of every decoder, on bytes that are made without being guided: what `make fuzz` does at length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.stream.formats.avro import AvroReader
from penstock.stream.formats.protobuf import ProtobufReader
from penstock.stream.formats.unread import Unreadable
from tests.fuzz.every import TARGETS
from tests.fuzz.mutate import mutations
from tests.fuzz.target import Target

MANY = {
    "batches of records": 40,
    "entries of the samples log": 30,
    "dead letters": 100,
    "requests over HTTP": 300,
}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_whatever_bytes_come_the_law_of_a_decoder_holds(target: Target) -> None:
    one, seeds = target.make(), target.seeds()
    for data in mutations(seeds, MANY.get(target.name, 1_000), 1):
        try:
            one(data)
        except Exception as error:
            error.add_note(f"it was given {data[:2_000]!r}")
            raise


def drops_everything(read: Callable[[Any, bytes], Any]) -> Callable[[Any, bytes], Any]:
    def value(reader: Any, body: bytes) -> Any:
        raise Unreadable("broken")

    return value


def swaps_two_fields(read: Callable[[Any, bytes], Any]) -> Callable[[Any, bytes], Any]:
    def value(reader: Any, body: bytes) -> Any:
        found = read(reader, body)
        return {**found, "online": found["fraud"], "fraud": found["online"]}

    return value


def takes_what_is_cut(read: Callable[[Any, bytes], Any]) -> Callable[[Any, bytes], Any]:
    good: list[Any] = []

    def value(reader: Any, body: bytes) -> Any:
        try:
            good[:] = [read(reader, body)]
        except Unreadable:
            if not good:
                raise
        return good[0]

    return value


@pytest.mark.parametrize("broken", [drops_everything, swaps_two_fields, takes_what_is_cut])
@pytest.mark.parametrize(
    ("form", "of"), [("avro", AvroReader), ("protobuf", ProtobufReader)], ids=["avro", "protobuf"]
)
def test_a_decoder_that_is_broken_breaks_the_law_of_its_target(
    form: str, of: Any, broken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of, "value", broken(of.value))
    (target,) = [target for target in TARGETS if target.name == f"records in {form}"]
    with pytest.raises(AssertionError, match=", not "):
        test_whatever_bytes_come_the_law_of_a_decoder_holds(target)
