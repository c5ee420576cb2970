"""Learn workers that share shards on a real broker and a real Valkey: killed, added, taken away. Nothing is lost or doubled.

Laws of this file: those of `test_kill`, whose processes these are.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.stream import cli
from penstock.stream.learn.replay import replay
from penstock.stream.log.protocol import TP
from penstock.stream.log.shards import ShardLog
from penstock.stream.shards import of_shard
from tests.integration.test_kill import PARCELS, Making, Place, again, harm, place
from tests.stream.generated import outs, parcel_events
from tests.stream.naive_flow import NaiveFlow

pytestmark = pytest.mark.long

__all__ = ["place"]  # the fixture of these tests

SHARDS = 4
IN_SHARDS = PARCELS.replace('inputs=["weight"],', f'inputs=["weight"], shard_by="van", shards={SHARDS},')


def shards_of(here: Place) -> list[TP]:
    return [(here.samples, shard) for shard in range(SHARDS)]


def total(here: Place) -> int:
    return sum(end for _, end in here.log.bounds(shards_of(here)).values())


def document(here: Place, shard: int) -> dict[str, Any]:
    """What the newest snapshot says of a shard's live model."""
    found: dict[str, Any] = json.loads(here.client.get(f"model:{here.pipeline.name}.{shard}") or b"{}")
    return found


def check(here: Place) -> None:
    """The samples against the naive flow, and every shard's model against a fold of its own samples."""
    naive = NaiveFlow(here.pipeline, here.log)
    assert naive.wrong_samples(here.log, here.samples) == []
    assert naive.wrong_documents(here.client.get) == []
    joined = samples = 0
    for shard in range(SHARDS):
        log, one = ShardLog(here.log, [here.samples], shard), of_shard(here.pipeline, shard)
        live = document(here, shard)
        assert live["digest"] == replay(one, log, here.samples, stop=live["position"]).digest(), shard
        whole = replay(one, log, here.samples)
        assert whole.counts.samples > 0.1 * len(naive.samples)
        joined, samples = joined + whole.counts.joined, samples + whole.counts.samples
    assert samples == len(naive.samples) and joined > 0.8 * len(naive.labels)


def test_workers_that_are_killed_added_and_taken_away_share_the_shards_and_lose_nothing(
    place: Making,
) -> None:
    here = place(IN_SHARDS, 2)
    names = {
        "parcels.sent": here.pipeline.sources[0].name,
        "parcels.delivered": here.pipeline.sources[1].name,
    }
    records = outs(parcel_events(7_000, depots=150))
    here.produce([record._replace(topic=names[record.topic]) for record in records], seed=13)
    featurize, first, second = here.role("featurize"), here.role("learn", 0), here.role("learn", 1)

    def one_less() -> None:
        assert second.stop() == 0, second.said()

    deeds = [
        again(first),
        again(second),
        again(featurize),
        one_less,
        here.client.flushall,
        again(first),
        second.start,
        again(second),
    ]
    # The growth of all shards together is that of the log.
    here.end_of = lambda topic: total(here)  # type: ignore[method-assign]
    harm(here, here.samples, len(records), 3, deeds)
    here.until(lambda: here.committed_all("featurize", here.sources()), "featurize did not come to the end")
    assert featurize.stop() == 0, featurize.said()
    here.until(
        lambda: (
            [document(here, shard).get("position") for shard in range(SHARDS)]
            == [end for _, end in here.log.bounds(shards_of(here)).values()]
        ),
        "learn did not come to the end",
    )
    check(here)
    for role in (first, second):
        assert role.stop() == 0, role.said()


def test_status_tells_of_every_shard_and_requests_reach_all_of_them_or_one(
    place: Making, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = place(IN_SHARDS, 2)
    names = {
        "parcels.sent": here.pipeline.sources[0].name,
        "parcels.delivered": here.pipeline.sources[1].name,
    }
    here.produce([r._replace(topic=names[r.topic]) for r in outs(parcel_events(600, depots=20))], seed=14)
    roles = [here.role("featurize"), here.role("learn", 0), here.role("learn", 1), here.role("control")]
    here.until(lambda: here.committed_all("featurize", here.sources()), "featurize did not come to the end")
    here.until(lambda: all(document(here, shard) for shard in range(SHARDS)), "learn took no snapshot")
    for name, value in here.env.items():
        monkeypatch.setenv(name, value)
    name = here.pipeline.name

    def said(*line: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = cli.main([*line, "--json"])
        return code, json.loads(capsys.readouterr().out)

    code, found = said("hold", name, "--shard", "2", "--reason", "inspection", "--wait", "120")
    assert code == 0 and found["live"]["pipeline"] == f"{name}.2" and found["live"]["held"]
    code, found = said("status", name)
    held = [one["live"] is not None and one["live"]["held"] for one in found["shards"]]
    assert code == 1 and held == [False, False, True, False]
    assert [line for line in found["wrong"] if "held" in line][0].startswith("shard 2: learning is held")
    assert len(found["roles"]["learn"]["members"]) == 2
    assert found["samples"] == sum(one["samples"] for one in found["shards"]) > 500

    code, found = said("hold", name, "--reason", "all of it", "--wait", "120")
    assert code == 1 and sorted(found["shards"]) == [f"{name}.{shard}" for shard in range(SHARDS)]
    assert found["shards"][f"{name}.2"]["refusal"] and not found["shards"][f"{name}.0"]["refusal"]
    code, found = said("resume", name, "--reason", "over", "--wait", "120")
    assert code == 0 and found["settled"]
    assert cli.main(["rollback", name, "--version", "v0", "--reason", "x"]) == 2
    assert "say which with --shard N" in capsys.readouterr().err
    assert cli.main(["hold", name, "--shard", "9", "--reason", "x"]) == 2
    assert "has no shard '9': its shards are 0 to 3" in capsys.readouterr().err

    assert cli.main(["status", name]) in (0, 1)
    assert sum(line.startswith("shard ") for line in capsys.readouterr().out.splitlines()) == SHARDS
    code, found = said("replay", str(here.file), "--shard", "1")
    assert code == 0 and found["equal"] and found["pipeline"] == f"{name}.1"
    for role in roles:
        assert role.stop() == 0, role.said()
    assert cli.main(["reset", str(here.file), "--yes", "--wait", "60"]) == 0
    assert not [key for key in here.client.scan_iter(match=f"*{name}*") if b"identity" not in key]
