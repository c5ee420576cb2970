"""Roles that run for hours: a steady producer, somebody who asks, faults now and then, and samples of what everything holds.

Laws of this file:
- Two pipelines run. One is the faults' own, which the checker can judge: featurize twice, learn, control, serve and console. The
  other is whole, with all that a definition may ask for, in one process (`--role all`): it is sampled only.
- What is judged by its slope is never begun again: faults kill the second featurize worker and control, and harm the servers.
- Entities are bounded, and events run fast in event time: windows slide, and states expire, as in months.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from penstock.features.redis.store import connect
from penstock.stream.stack.server import free_ports
from tests.faults.flows import CARDS, FLOWS, ROLES, Flow, mixed
from tests.faults.round import Round
from tests.faults.rows import say
from tests.faults.running import STUCK_S
from tests.patience import PATIENCE_S
from tests.places import PARCELS, Place, Role
from tests.pressure.watching import held
from tests.stream.generated import START_MS, card_events, outs, parcel_events

CHUNK_S, ASK_EVERY_S = 60.0, 0.5
CARDS_THERE, DEPOTS_THERE = 2_000, 40
BESIDE_SHARE = 0.2
ROLES_HERE = {"featurize": 2, "learn": 1, "control": 1, "serve": 1, "console": 1}
#: Event time goes a tenth as fast as elsewhere in the tests, or two workers would spend their time keeping abreast in it.
SLOWER = 10
FLOWS["soak"] = Flow(CARDS.replace("30d", "3d"), 4, {}, lambda records, seed: [])
WHOLE = PARCELS.replace(
    "    model=",
    """    interval=0.9, calibrate=True, segments=["depot"], retrain=[OnLabels(20_000)],
    model=""",
).replace(
    "from penstock import Label", "from penstock.stream.triggers import OnLabels\nfrom penstock import Label"
)
LONG_BATCHES = "\n".join(line for line in ROLES.splitlines() if "BATCH_RECORDS" not in line)


class Soak(Round):
    """One soak under way."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given, asks=LONG_BATCHES)
        self.ports = dict(zip(("serve", "console"), free_ports(2), strict=True))
        self.over = threading.Event()
        self.samples: list[dict[str, Any]] = []
        self.faults: list[dict[str, Any]] = []
        self.answers_seen = {"serve": 0, "console": 0, "failed": 0}
        self.began = time.monotonic()
        name = self.place.pipeline.name.replace("soak", "whole")
        folder = self.place.folder / "whole"
        folder.mkdir()
        text = WHOLE.replace("NAME", name)
        client: Any = connect(self.url)
        self.beside = Place(self.log, self.servers.bootstrap, client, self.url, folder, text, "")
        self.produced = 0
        self.sending: list[Any] = []
        self.card_stream = slower(card_events(1 << 40, self.seed, cards=CARDS_THERE))

    # -- what goes in ------------------------------------------------------------------------------------------------------

    def produce(self, rate: float) -> None:
        """Publish at so many records a second until it is over; a chunk is sent while the next one is made."""
        name = self.place.pipeline.predict.name
        beside = {source.name.partition(".")[2]: source.name for source in self.beside.pipeline.sources}
        parcels = parcel_chunks(self.seed)
        for number in itertools.count():
            made = outs(itertools.islice(self.card_stream, round(rate * CHUNK_S)))
            records = [one._replace(topic=name) for one in mixed(made, self.seed + number)]
            more = [one._replace(topic=beside[one.topic.partition(".")[2]]) for one in next(parcels)(rate)]
            for one in self.sending:
                one.wait(STUCK_S * 4)
            if self.over.is_set():
                return
            self.sending = [self.publish(records, rate), self.publish(more, rate * BESIDE_SHARE)]
            self.produced += len(records)
            self.over.wait(CHUNK_S * 0.8)

    def ask_pages(self) -> None:
        """Somebody who asks for predictions, features and pages, twice a second."""
        name = self.place.pipeline.name
        for number in itertools.count():
            if self.over.wait(ASK_EVERY_S):
                return
            event = {
                "payment": f"q{number}",
                "paid_at": 4 * 10**12,
                "card": f"c{number % 90}",
                "amount": 12.5,
                "fraud": False,
            }
            asked = (
                ("serve", "POST", f"/v1/pipelines/{name}:predict", event),
                ("serve", "GET", f"/v1/pipelines/{name}/features/card/c{number % 90}", None),
                ("console", "GET", f"/pipelines/{name}" if number % 2 else "/", None),
            )
            for role, method, path, body in asked[: 2 if number % 10 else 3]:
                self.answers_seen[role if self.page(role, method, path, body) else "failed"] += 1

    def page(self, role: str, method: str, path: str, body: Any) -> bool:
        """Whether a page answers, whatever it says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[role], timeout=PATIENCE_S)
        with suppress(OSError, http.client.HTTPException):
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            answer.read()
            return answer.status < 500
        connection.close()
        return False

    # -- what is harmed ----------------------------------------------------------------------------------------------------

    def in_turn(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """The faults, in turn, for ever."""
        assert self.valkey is not None
        spare = next(one for one in self.of("featurize") if one.slot == 1)
        [control] = self.of("control")
        for number in itertools.count():
            yield "kill the second featurize", lambda: self.kill(spare)
            yield "redis begun again", self.redis_again
            yield "hold and resume", lambda number=number: self.hold(number)  # type: ignore[misc]
            yield "broker stands still", self.broker_still
            yield "kill control", lambda: (control.kill(), control.start(), None)[-1]
            yield "redis paused", lambda: self.place.client.execute_command("CLIENT", "PAUSE", 1_500, "ALL")  # type: ignore[no-untyped-call]

    def redis_again(self) -> None:
        """Killed and begun again on its append-only file."""
        assert self.valkey is not None
        self.valkey.kill()
        self.valkey.start()

    def broker_still(self) -> None:
        """For three seconds."""
        self.servers.kafka.pause()
        time.sleep(3.0)
        self.servers.kafka.resume()

    def hold(self, number: int) -> None:
        """A person has learning held, and soon go on."""
        models = self.following("control.models")
        for verb in ("hold", "resume"):
            self.ask(f"{verb}-{number}", verb)
            self.until_carried_out(f"{verb}-{number}", models)

    # -- what is seen ------------------------------------------------------------------------------------------------------

    def sample(self) -> None:
        """What every process and Redis hold now."""
        found: dict[str, Any] = {}
        for role in (*self.place.roles, *self.beside.roles):
            one = held(role.process.pid) if role.process is not None else None
            if one is not None and role.process is not None:
                said = {"rss_mb": round(one.rss_mb, 1), "files": one.files, "threads": one.threads}
                found[f"{role.role}-{role.slot}"] = {"pid": role.process.pid, **said}
        with suppress(Exception):
            client: Any = self.place.client
            used = client.info("memory")["used_memory"] / (1 << 20)
            found["redis"] = {"redis_keys": client.dbsize(), "redis_mb": round(used, 2)}
        lag = self.lag()
        self.samples.append(
            {
                "s": round(time.monotonic() - self.began, 1),
                "of": found,
                "behind": lag,
                "produced": self.produced,
            }
        )

    def lag(self) -> int:
        """How many records featurize and learn have not committed; -1 where nobody knows."""
        with suppress(Exception):
            groups = {"featurize": self.place.sources(), "learn": [(self.place.samples, 0)]}
            left = 0
            for role, tps in groups.items():
                at = self.log.committed(f"{self.place.pipeline.name}.{role}", tps)
                left += sum(end - at.get(tp, 0) for tp, (_, end) in self.log.bounds(tps).items())
            return left
        return -1

    def start_all(self) -> None:
        """Every role of both pipelines."""
        for role, count in ROLES_HERE.items():
            for slot in range(count):
                more = ("--port", str(self.ports[role])) if role in self.ports else ()
                self.start(role, slot, more)
        self.beside.role("all", 0)

    def tend_beside(self) -> None:
        """Begin the other pipeline again if it ended: that is told, too."""
        for role in self.beside.roles:
            if role.process is not None and role.process.poll() is not None:
                self.ends.append(("all", role.process.returncode, role.said().splitlines()[-1]))
                role.start()

    def quiet(self) -> None:
        """Tell the producer, whoever asks, and the other pipeline to end."""
        self.over.set()
        for role in self.beside.roles:
            code = stopped(role)
            if code != 0:
                self.ends.append(("all", code, role.said().splitlines()[-1]))

    def fault(self, name: str, do: Callable[[], None]) -> None:
        """Do one, and note when."""
        say(f"fault: {name}")
        self.faults.append({"s": round(time.monotonic() - self.began, 1), "fault": name})
        self.injected += 1
        do()


def slower(events: Iterator[tuple[str, str, dict[str, Any]]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The same events, closer together in event time."""
    for topic, key, event in events:
        yield topic, key, {**event, "paid_at": START_MS + (event["paid_at"] - START_MS) // SLOWER}


def stopped(role: Role) -> int:
    """The exit code of a role that is told to end."""
    return role.stop() if role.process is not None and role.process.poll() is None else 0


def parcel_chunks(seed: int) -> Iterator[Callable[[float], list[Any]]]:
    """For the other pipeline: parcels of so many a second for a chunk, each chunk's event times after the one before."""
    events = parcel_events_for_ever(seed)
    while True:
        yield lambda rate: outs(itertools.islice(events, round(rate * BESIDE_SHARE * CHUNK_S)))


def parcel_events_for_ever(seed: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Parcels in stretches of a thousand, each of which begins when the one before has ended."""
    shift = 0
    for number in itertools.count():
        newest = 0
        for topic, key, event in parcel_events(1_000, seed + number, depots=DEPOTS_THERE):
            time_name = "sent_at" if "sent_at" in event else "done_at"
            newest = max(newest, event[time_name])
            event[time_name] += shift
            event["parcel"] = f"{number}-{event['parcel']}"
            yield topic, key, event
        shift += newest - START_MS
