"""Two pipelines in one process, on a real broker and a real Valkey: stopped, killed and begun again, as roles of their own are.

Laws of this file: those of `test_kill`; both files define functions of one name, which mean different things.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from penstock.stream import cli, topology
from penstock.stream.definition_file import SideBySide
from penstock.stream.learn.replay import replay
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import OperatorRequest, decode_decision, encode_json
from penstock.stream.prediction import decode_prediction
from tests.integration.test_kill import CARDS, PARCELS, ROOT, SMALL, slowed_no_longer
from tests.patience import PATIENCE_S, eventually
from tests.stream.generated import card_events, outs, parcel_events
from tests.stream.naive_flow import NaiveFlow, everything

pytestmark = pytest.mark.long

OWN = {
    "parcels": """
from river import preprocessing as _p
from beside import scaled
def own(x):
    return {**x, "own": scaled(x, "weight")}
from river import compose
object.__setattr__(pipeline, "model", compose.FuncTransformer(own) | pipeline.model)
""",
    "cards": """
from beside import scaled
def own(x):
    return {**x, "own": scaled(x)}
from river import compose
object.__setattr__(pipeline, "model", compose.FuncTransformer(own) | pipeline.model)
""",
}
BESIDE = {
    "parcels": "def scaled(x, name):\n    return (x[name] or 0.0) / 3\n",
    "cards": "def scaled(x):\n    return (x['amount'] or 0.0) / 7\n",
}


class Place:
    """Two definition files in folders of their own, their topics, and the process that runs both."""

    def __init__(
        self,
        log: KafkaLog,
        bootstrap: str,
        client: redis.Redis,
        url: str,
        folder: Path,
        names: dict[str, str],
    ) -> None:
        self.log, self.client, self.output = log, client, folder / "output.log"
        self.files = []
        for kind, text in (("parcels", PARCELS), ("cards", CARDS)):
            (folder / kind).mkdir()
            (folder / kind / "beside.py").write_text(BESIDE[kind])
            file = folder / kind / "definition.py"
            file.write_text(text.replace("NAME", names[kind]) + OWN[kind] + SMALL)
            self.files.append(str(file))
        for file in self.files:
            assert cli.main(["topics", file, "--create-sources", "--partitions", "2"]) == 0
        self.definitions = SideBySide(self.files)
        self.parcels, self.cards = self.definitions.pipelines
        self.env = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "REDIS_URL": url,
            "PENSTOCK_SECRET": "only here",
            "PYTHONPATH": str(ROOT),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, role: str = "all", files: list[str] | None = None) -> None:
        line = ["-m", "penstock.stream.cli", "run", *(files or self.files), "--role", role]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *line], env=self.env, stdout=output, stderr=output
            )

    def stop(self) -> None:
        assert self.process is not None and self.process.poll() is None, self.said()
        self.process.terminate()
        assert self.process.wait(PATIENCE_S) == 0, self.said()

    def kill(self) -> None:
        assert self.process is not None and self.process.poll() is None, self.said()
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def said(self) -> str:
        return self.output.read_text()[-5_000:]

    def until(self, done: Callable[[], bool], what: str) -> None:
        def over() -> bool:
            return done() or (self.process is not None and self.process.poll() is not None)

        eventually(over)
        assert done(), f"{what}\n{self.said()}"

    def end_of(self, topic: str) -> int:
        return self.log.bounds([(topic, 0)])[(topic, 0)][1]

    def at_the_end(self) -> bool:
        """Whether all that was produced is featurized and folded, and the snapshots say so."""
        for pipeline in self.definitions.pipelines:
            tps = [(source.name, number) for source in pipeline.sources for number in range(2)]
            done = self.log.committed(f"{pipeline.name}.featurize", tps)
            if any(done.get(tp, 0) < end for tp, (_, end) in self.log.bounds(tps).items()):
                return False
        return True

    def page(self, path: str) -> tuple[int, str]:
        """What the newest process's page says, by the address that it printed."""
        ports = re.findall(r"health page on http://127\.0\.0\.1:(\d+)", self.output.read_text())
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports[-1]}{path}", timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:  # the page of a process that has ended: the next one's is not there yet
            return 0, str(error)

    def produce(self, kind: str, number: int, since: int = 0) -> None:
        pipeline = self.parcels if kind == "parcels" else self.cards
        made = outs(parcel_events(number) if kind == "parcels" else card_events(number))
        names = {source.name.partition(".")[2]: source.name for source in pipeline.sources}
        self.log.append([one._replace(topic=names[one.topic.partition(".")[2]]) for one in made][since:])

    def check(self) -> None:
        """Both pipelines against the naive flow, and each model against a fold of its own log; nothing stands twice."""
        for number, pipeline in enumerate(self.definitions.pipelines):
            self.definitions.use(number)
            naive, samples = NaiveFlow(pipeline, self.log), topology.samples(pipeline.name)
            assert naive.samples and naive.wrong_samples(self.log, samples) == []
            assert naive.wrong_documents(self.client.get) == []
            live = json.loads(self.client.get(f"model:{pipeline.name}") or b"{}")
            again = replay(pipeline, self.log, samples, stop=live["position"])
            assert live["digest"] == again.digest()
            made = [
                decode_prediction(record.value or b"").id
                for record in everything(self.log, topology.predictions(pipeline.name))
            ]
            assert len(made) == len(set(made)) == len(naive.samples)


@pytest.fixture
def place(
    kafka_bootstrap: str,
    valkey: redis.Redis,
    valkey_url: str,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    slowed_no_longer(monkeypatch)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    log = KafkaLog(kafka_bootstrap)
    names = {kind: unique(kind) for kind in ("parcels", "cards")}
    made = Place(log, kafka_bootstrap, valkey, valkey_url, tmp_path, names)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()
    log.close()


def test_two_pipelines_in_one_process_stop_and_go_on_with_nothing_twice_and_decide_on_requests(
    place: Place,
) -> None:
    place.produce("parcels", 900)
    place.produce("cards", 1_500)
    place.start()
    samples = [topology.samples(one.name) for one in (place.parcels, place.cards)]
    place.until(lambda: all(place.end_of(topic) > 300 for topic in samples), "neither began")
    place.stop()  # in the middle, with exit code 0
    before = [place.end_of(topic) for topic in samples]
    place.start()
    place.until(place.at_the_end, "it did not come to the end")
    assert all(place.end_of(topic) > end for topic, end in zip(samples, before, strict=True))

    asked = OperatorRequest(
        id="hold-it", pipeline=place.cards.name, verb="hold", reason="a test", by="a person"
    )
    place.log.append([Out(topology.CONTROL_COMMANDS, place.cards.name.encode(), encode_json(asked))])

    def held() -> bool:
        return 'penstock_model_held{process_part="' + place.cards.name + '/learn"} 1.0' in page()

    def page() -> str:
        return place.page("/metrics")[1]

    place.until(held, "the command was not carried out")
    place.until(lambda: place.page("/readyz")[0] == 200, "it is not ready")
    families = {family.name: family for family in text_string_to_metric_families(page())}
    built = {(one.labels["pipeline"], one.labels["role"]) for one in families["penstock_build_info"].samples}
    assert built == {
        (f"{place.parcels.name},{place.cards.name}", "all"),
        *(
            (one.name, role)
            for one in (place.parcels, place.cards)
            for role in ("control", "featurize", "learn")
        ),
    }
    assert families["penstock_resident_memory_bytes"].samples[0].value > 50e6
    place.stop()
    place.check()
    assert re.search(r"started 2 pipelines \(.*\): \d+ MB of memory", place.said())

    # A role of its own goes on from what this one kept, and does not decide again.
    place.start("control", [place.files[1]])
    place.until(lambda: place.page("/readyz") == (200, "control is ready\n"), "control is not ready")
    place.stop()
    # And back: the app's membership lasts some seconds longer than its process.
    place.start()
    place.until(lambda: place.page("/readyz") == (200, "all is ready\n"), "it is not ready")
    place.stop()
    decided = [
        decode_decision(record.value or b"") for record in everything(place.log, topology.CONTROL_DECISIONS)
    ]
    assert [one.verdict for one in decided if one.pipeline == place.cards.name] == ["accepted"]


def test_killed_it_ends_as_if_it_had_not_been(place: Place) -> None:
    place.produce("parcels", 900)
    place.produce("cards", 1_500)
    samples = topology.samples(place.cards.name)
    for progress in (200, 900):
        place.start()
        place.until(lambda at=progress: place.end_of(samples) > at, "it did not go on")  # type: ignore[misc]
        place.kill()
    place.start()
    place.until(place.at_the_end, "it did not come to the end")
    place.stop()
    for pipeline in place.definitions.pipelines:
        naive = NaiveFlow(pipeline, place.log)
        assert naive.wrong_samples(place.log, topology.samples(pipeline.name)) == []
        assert naive.wrong_documents(place.client.get) == []
