"""The whole job in one loop on one core, with neither a log nor a store: what connectors, guarantees and kept states cost."""

from __future__ import annotations

import argparse

import msgspec

from benchmarks.features_job import whole_records
from benchmarks.peer_clock import Clock, contend
from benchmarks.peer_fold import fold, new_state
from benchmarks.peer_model import Learner


def run(asked: argparse.Namespace, clock: Clock) -> dict[str, float]:
    """Do it over the records that stand on the topic for the others."""
    read = [(record.key, record.value or b"") for record in whole_records(asked.events, asked.entities)]
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    states: dict[bytes | None, dict[str, object]] = {}
    visits: dict[tuple[bytes | None, int], int] = {}
    documents: dict[bytes | None, bytes] = {}
    learner, predictions = Learner(), []
    clock.restart()
    for key, value in read:
        event = decode(value)
        state = states.get(key)
        if state is None:
            state = states[key] = new_state()
        merchant = (key, event["merchant"])
        values, visits[merchant] = fold(state, event, visits.get(merchant))
        documents[key] = encode({"values": values, "at": event["at"]})
        predictions.append(encode(learner.step(values, event)))
    return {**clock.figures(), "drifts": learner.drifts}


if __name__ == "__main__":
    contend(run, "river")
