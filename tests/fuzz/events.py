"""Targets: what comes on users' topics in JSON, and what is made of it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

from penstock.stream.log.protocol import Record
from tests.fuzz.target import Target, deep, told

START_MS = 1_700_000_000_000
GOOD = {"payment": "p", "paid_at": START_MS, "card": "c", "amount": 2.5, "fraud": True}


def _json_seeds() -> list[bytes]:
    from tests.flood.stream import stream

    found = {made.value for made in stream(3_000, 2_900, 7, START_MS, bombs=False) if made.value is not None}
    small = sorted((value for value in found if len(value) < 400), key=lambda value: (len(value), value))
    return [json.dumps(GOOD).encode(), *small[:: max(len(small) // 400, 1)]]


def _json() -> Callable[[bytes], object]:
    from penstock.stream.featurize.decode import SourceDecoder
    from tests.flood.decoder import event_of
    from tests.stream.featurize.test_stepping import shop
    from tests.stream.generated import cards, parcels

    pipelines = [cards(), parcels(), shop()]
    pairs = []
    for pipeline in pipelines:
        for source in pipeline.sources:
            native, python = SourceDecoder(pipeline, source), SourceDecoder(pipeline, source)
            python._compiled = None
            pairs.append((source.name, native, python))

    def one(data: bytes) -> None:
        if deep(data):
            return
        for topic, native, python in pairs:
            records = [Record(topic, 0, n, START_MS + 60_000, b"k", data, ()) for n in (0, 1)]
            found = native.items(records, -1)
            assert repr(found) == repr(python.items(records, -1)), "C and Python differ"
            if topic != "cards.paid":
                continue
            wanted = event_of(data, START_MS + 60_000, -1)
            if wanted is not None:
                assert found[0].reject is None, f"good, and rejected: {found[0].reject}"
                assert (found[0].at, found[0].id) == (wanted.at, str(wanted.fields["payment"]))
            elif found[0].event is not None:
                # the label is judged by the step
                assert (
                    event_of(json.dumps({**found[0].event, "fraud": 1}).encode(), START_MS + 60_000, -1)
                    is not None
                )

    return one


def _batches() -> Callable[[bytes], object]:
    from penstock.stream.featurize import dead_share
    from tests.stream.featurize.test_stepping import MADE, stepped

    dead_share.WINDOW_RECORDS = (
        2  # while dead letters are counted Python steps every record: here that is soon over
    )

    def one(data: bytes) -> None:
        if len(data) < 4 or deep(data):
            return
        pipeline = MADE[sorted(MADE)[data[0] % len(MADE)]]()
        topics = [source.name for source in pipeline.sources]
        records, offsets = [], dict[tuple[str, int], int]()
        for chunk in data[2:].split(b"\n")[:40]:
            if len(chunk) < 2:
                continue
            topic, partition = topics[chunk[0] % len(topics)], chunk[0] >> 4 & 1
            offset = offsets.get((topic, partition), 0) + (chunk[1] & 1) * 60
            offsets[topic, partition] = offset + 1
            stamp = START_MS + (chunk[1] >> 1) * 60_000
            value = None if chunk[2:] == b"none" else chunk[2:]
            records.append(Record(topic, partition, offset, stamp, b"k", value, ()))
        batch = data[1] % 8 + 1
        native, python = (
            told(lambda n=n: stepped(pipeline, records, batch, native=n)) for n in (True, False)
        )
        assert native == python, "C and Python differ"
        assert not native.startswith("raises"), native

    return one


def _batch_seeds() -> list[bytes]:
    from tests.stream.featurize.test_stepping import GOOD as GOODS
    from tests.stream.featurize.test_stepping import MADE

    found = []
    for number, name in enumerate(sorted(MADE)):
        topics = [source.name for source in MADE[name]().sources]
        lines = [
            bytes([place % len(topics) | (place % 2) << 4, 64])
            + json.dumps({**GOODS[topics[place % len(topics)]]}).encode()
            for place in range(6)
        ]
        found.append(bytes([number, 3]) + b"\n".join(lines))
        found.append(bytes([number, 1]) + b"\n".join([lines[0], b"\x00@none", b"\x00@{", lines[-1]]))
    return found


def _letters() -> Callable[[bytes], object]:
    from penstock.stream.featurize.dead_letters import dead_letter, kind_of
    from penstock.stream.featurize.decode import Item
    from penstock.stream.log.protocol import MAX_RECORD_BYTES, record_bytes
    from penstock.stream.operate.dead_letters import letter

    def one(data: bytes) -> None:
        at = 0
        parts: list[bytes] = []
        while at + 4 <= len(data) and len(parts) < 12:
            (size,) = struct.unpack_from("<I", data, at)
            repeat = 1 + (size >> 24) * 1_500  # a few bytes say that a part is large
            parts.append(data[at + 4 : at + 4 + (size & 0xFFF)] * repeat)
            at += 4 + (size & 0xFFF)
        if len(parts) < 3:
            return
        key, value, reason, *rest = parts
        headers = tuple(
            (name.decode(errors="replace"), held or None)
            for name, held in zip(rest[::2], rest[1::2], strict=False)
        )
        record = Record("topic", 3, 5, 0, key or None, value or None, headers)
        if sum(len(one) for one in parts) > MAX_RECORD_BYTES - 1_000:
            return  # no topic takes such a record
        item = Item(0, 0, 3, 5, 0, "", None, "r", record)
        said = reason.decode(errors="replace")
        out = dead_letter(item, said, "dead", "id")
        assert record_bytes(out) <= MAX_RECORD_BYTES
        assert len(kind_of(said)) <= 60
        found = letter(0, 0, out.key, out.value, out.headers)
        assert (found.topic, found.partition, found.of) == ("topic", 3, 5)
        letter(0, 0, key, value, headers)

    return one


def _letter_seeds() -> list[bytes]:
    def of(*parts: bytes) -> bytes:
        return b"".join(struct.pack("<I", len(part)) + part for part in parts)

    large = struct.pack("<I", 0x10000004) + b"long"
    return [
        of(b"k", b"v", b"not a JSON object: what"),
        of(
            b"k",
            b"v",
            b"reason",
            b"penstock-partition",
            b"12",
            b"penstock-offset",
            b"9",
            b"penstock-topic",
            b"t",
        ),
        of(b"k") + large + of(b"why") + large + large,
        of(b"", b"", b"", b"h", b""),
        of(b"k", b"v", b"r", b"penstock-partition", b"1" * 4_000, b"penstock-offset", "٣".encode()),
    ]


TARGETS = [
    Target(
        "records in JSON", "C, Python and a naive decoder agree, and nothing is raised", _json, _json_seeds
    ),
    Target(
        "batches of records",
        "C and Python give the same bytes, and nothing is raised",
        _batches,
        _batch_seeds,
    ),
    Target("dead letters", "each fits its topic, and says where it is from", _letters, _letter_seeds),
]
