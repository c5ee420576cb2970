"""What fuzzing found, mended: bytes that once raised what nobody expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from penstock import View, distinct, last
from penstock.features.engine.compute import CompiledView, StateMismatch
from penstock.stream.definitions import DefinitionError
from penstock.stream.featurize.after_files import plan_of_samples
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.featurize.position import decode_position
from penstock.stream.formats.nesting import too_deep
from penstock.stream.formats.reading import JsonReader
from penstock.stream.formats.registry import HttpRegistry
from penstock.stream.formats.unread import Unreadable
from penstock.stream.learn.entries import entry_of
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Origin, Sample, encode_entry
from penstock.stream.models.version import BadEnvelope, Envelope, Version, key_id, unseal
from penstock.stream.operate.dead_letters import letter
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.serve.asking import Refusal
from penstock.stream.serve.limits import USUAL
from penstock.stream.serve.open_inference import OpenInference
from penstock.stream.serve.requests import events_of, moment_of
from tests.stream.featurize.test_decode import changed, record
from tests.stream.generated import DELIVERED, SENT, parcels

DEEP = b"\x91" * 100_000
SAMPLE = msgspec.msgpack.decode(encode_entry(Sample(Origin("t", 0, 0), "a", "k", 1, [1.0])))
VIEW = View("v", SENT, "van", {"last": last("street", holds="text")})


def array(parts: list[Any], *more: bytes) -> bytes:
    """MessagePack of an array, with these bytes as its last parts."""
    return bytes([0x90 + len(parts) + len(more)]) + b"".join([*map(msgspec.msgpack.encode, parts), *more])


def test_a_nested_record_in_the_samples_log_is_no_entry_and_stops_nobody() -> None:
    assert entry_of(array(SAMPLE)) is not None
    assert entry_of(array(SAMPLE, DEEP)) is None


def test_what_a_samples_log_begins_with_need_not_be_an_entry() -> None:
    log = MemoryLog()
    log.create("p.samples")
    sample = encode_entry(Sample(Origin("t", 0, 0), "a", "k", 1, [1.0]))
    log.append(
        [Out("p.samples", None, value) for value in (b"\xc1", array(SAMPLE, DEEP), b"\xa1\xff", sample)]
    )
    assert plan_of_samples(log, "p.samples") == ""


def test_a_nested_envelope_is_refused_as_any_other_that_was_not_signed() -> None:
    with pytest.raises(BadEnvelope, match="not a model envelope"):
        unseal(array([b"h", b"p", "k", b"m"], DEEP), "secret", Version)
    forged = Envelope(b"", b"", key_id("secret"), b"")
    with pytest.raises(BadEnvelope, match="signature"):
        unseal(msgspec.msgpack.encode(forged), "secret", Version)


NO_POSITION = [
    b"",
    b"\xc0",
    b"\x90",
    b"\x91\x03",
    b"Q",
    b"\xa1\xff",
    DEEP,
    array([3, "r", {"topic/x": [1, 2, "i"]}]),
]


@pytest.mark.parametrize("stored", NO_POSITION)
def test_a_position_that_somebody_changed_is_refused_in_a_sentence(stored: bytes) -> None:
    with pytest.raises(DefinitionError, match="that Redis keeps with this pipeline.s state cannot be read"):
        decode_position(stored)


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize("wrong", [b"\xa1\xff", DEEP], ids=["no text", "nested"])
def test_both_engines_say_that_text_that_is_none_is_no_state(engine: Any, wrong: bytes) -> None:
    view = CompiledView(VIEW, engine)
    state = view.new()
    view.update(state, 5, 1, {"street": "\x01\x02"})
    stored = view.encode(state)
    assert view.values(view.decode(stored), 5) == ["\x01\x02"]
    with pytest.raises(StateMismatch):
        view.decode(stored.replace(b"\xa2\x01\x02", wrong))


@pytest.mark.parametrize(
    "asks",
    [
        lambda: moment_of("²"),
        lambda: moment_of("9" * 5_000),
        lambda: events_of(b"[" * 100_000, 10),
        lambda: OpenInference({}).request(None, b"{}", USUAL, "9" * 5_000),  # type: ignore[arg-type]
        lambda: OpenInference({}).request(None, b'{"x":' + b"[" * 100_000, USUAL),  # type: ignore[arg-type]
    ],
)
def test_a_request_that_cannot_be_read_is_refused_and_is_no_failure_of_the_server(
    asks: Callable[[], object],
) -> None:
    with pytest.raises(Refusal) as refused:
        asks()
    assert 400 <= refused.value.status < 500


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999"])
def test_a_setting_that_is_no_finite_number_is_named(number: str) -> None:
    for name in ("PENSTOCK_PORT", "PENSTOCK_SERVE_ACCESS_LOG", "PENSTOCK_CONNECT_TIMEOUT_S"):
        with pytest.raises(SettingError, match=name):
            Settings.from_env({name: number})


@pytest.mark.parametrize("url", ["http://[::1", "http://[::11111111]:1", "http://host:port"])
def test_an_address_of_a_registry_that_is_none_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingError, match="PENSTOCK_SCHEMA_REGISTRY_URL"):
        HttpRegistry(Settings(schema_registry=url))


def test_a_dead_letter_whose_note_is_no_offset_is_shown_without_one() -> None:
    notes = {"penstock-topic": b"t", "penstock-partition": b"0", "penstock-offset": b"9" * 5_000}
    found = letter(0, 0, None, b"v", notes.items())
    assert (found.topic, found.of) == ("", 0)


def nested(deep: int) -> bytes:
    return changed()[:-1] + b', "x": ' + b"[" * deep + b"]" * deep + b"}"


def under(frames: int, call: Callable[[], Any]) -> Any:
    """What a call gives that many frames further down."""
    return call() if frames == 0 else under(frames - 1, call)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("deep", [300, 399, 400, 500, 700])
def test_how_deep_a_record_may_be_nested_does_not_depend_on_who_reads_it(deep: int, native: bool) -> None:
    decoder = SourceDecoder(parcels(), DELIVERED)
    if not native:
        decoder._compiled = None
    records = [record(nested(deep)), record(changed(x="[" * 3_000, y='\\"[{' * 900))]
    seen = [
        [item.reject for item in under(frames, lambda: decoder.items(records, -1))] for frames in (0, 350)
    ]
    assert (
        seen[0] == seen[1] == [None if deep < 400 else "not a JSON object: nested more than 400 deep", None]
    )


def test_an_envelope_that_is_nested_too_deeply_is_refused_wherever_it_is_read() -> None:
    value = b'{"x": ' + b"[" * 500 + b"]" * 500 + b"}"
    for frames in (0, 350):
        with pytest.raises(Unreadable, match="nested more than 400 deep"):
            under(frames, lambda: JsonReader().value(value))


def test_looking_for_depth_takes_no_longer_for_quotes_that_do_not_end() -> None:
    # Quadratic, this would take hours.
    assert not too_deep(b'"' + b'\\"' * 400_000) and not too_deep(b'"' * 800_000)
    assert too_deep(b'["' * 300_000) and too_deep(b'[{"\\' * 200_000)


@pytest.mark.parametrize("engine", ["native", "python"])
def test_a_number_where_a_set_is_stored_is_no_state_and_takes_no_memory(engine: Any) -> None:
    view = CompiledView(View("v", SENT, "van", {"kinds": distinct("street")}), engine)
    state = view.new()
    view.update(state, 5, 1, {"street": "x"})
    mark, newest, [_], *rest = msgspec.msgpack.decode(view.encode(state))
    for number in (2**40, 2**63 + 1):
        with pytest.raises(StateMismatch):
            view.decode(msgspec.msgpack.encode([mark, newest, [number], *rest]))
