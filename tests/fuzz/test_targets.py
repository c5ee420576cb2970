"""The laws of every decoder, on bytes that are made without being guided: what `make fuzz` does at length."""

from __future__ import annotations

import pytest

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
