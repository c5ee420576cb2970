"""Signed envelopes open only unchanged, and only under the secret that closed them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import linear_model

from penstock.stream.models.digest import digest
from penstock.stream.models.version import BadEnvelope, Envelope, Version, dump, key_id, restore, seal, unseal

SECRET = "a long and random text"
VERSION = Version(
    id="v3", pipeline="flights", parent="v2", kind="copy", position=812, join_from=700, at=5, labels=400,
    recipe="0123456789ab", digest="00ff",
)  # fmt: skip
SEALED = seal(VERSION, b"the model's bytes", SECRET)


def test_an_envelope_opens_to_what_was_put_in() -> None:
    assert unseal(SEALED, SECRET, Version) == (VERSION, b"the model's bytes")


def test_another_secret_is_refused_and_both_keys_are_named() -> None:
    with pytest.raises(BadEnvelope) as error:
        unseal(SEALED, "another", Version)
    assert key_id(SECRET) in str(error.value) and key_id("another") in str(error.value)
    assert SECRET not in str(error.value)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_one_changed_byte_anywhere_is_refused(place: int, flip: int) -> None:
    changed = bytearray(SEALED)
    changed[place] ^= flip
    try:
        found = unseal(bytes(changed), SECRET, Version)
    except BadEnvelope:
        return
    # Only the key's name is not signed: it is what the refusal says, and opens nothing.
    assert found == (VERSION, b"the model's bytes")
    assert msgspec.msgpack.decode(bytes(changed), type=Envelope).key_id != key_id(SECRET)


@given(st.integers(0, len(SEALED) - 1))
def test_a_torn_envelope_is_refused(kept: int) -> None:
    with pytest.raises(BadEnvelope):
        unseal(SEALED[:kept], SECRET, Version)


@given(st.binary(max_size=60))
def test_any_other_bytes_are_refused(sealed: bytes) -> None:
    with pytest.raises(BadEnvelope):
        unseal(sealed, SECRET, Version)


def test_header_and_payload_of_two_envelopes_do_not_mix() -> None:
    other = seal(msgspec.structs.replace(VERSION, id="v4"), b"other bytes", SECRET)
    one, two = (msgspec.msgpack.decode(sealed, type=Envelope) for sealed in (SEALED, other))
    for mixed in (
        Envelope(one.header, two.payload, one.key_id, one.mac),
        Envelope(two.header, one.payload, one.key_id, one.mac),
        Envelope(two.header, two.payload, one.key_id, one.mac),
    ):
        with pytest.raises(BadEnvelope):
            unseal(msgspec.msgpack.encode(mixed), SECRET, Version)


def test_the_border_between_header_and_payload_is_signed() -> None:
    one = msgspec.msgpack.decode(SEALED, type=Envelope)
    moved = Envelope(one.header + one.payload[:1], one.payload[1:], one.key_id, one.mac)
    with pytest.raises(BadEnvelope):
        unseal(msgspec.msgpack.encode(moved), SECRET, Version)


def test_a_signed_header_of_another_kind_is_refused() -> None:
    class Other(msgspec.Struct):
        colour: str

    with pytest.raises(BadEnvelope):
        unseal(seal(Other("red"), b"", SECRET), SECRET, Version)


def test_the_key_id_tells_secrets_apart_without_telling_them() -> None:
    assert key_id("a") != key_id("b") and len(key_id(SECRET)) == 8 and key_id(SECRET) not in SECRET


def test_a_dumped_model_is_restored_with_its_digest() -> None:
    model = linear_model.LogisticRegression()
    model.learn_one({"a": 1.0}, True)
    assert digest(restore(dump(model))) == digest(model)
