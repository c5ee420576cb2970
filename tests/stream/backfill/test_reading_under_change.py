"""Readers on a real server while writers work, restart and change their definition: nothing torn, mixed, gone or set back.

Laws of this file: every amount is 2.0, so that what a document says holds together or is torn; names of features differ between
definitions; every reader has its own client. Readers run in threads all the time, and look once more at every step of the writer,
so that no finding depends on which thread runs when.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count as count_up
from math import fsum
from typing import Any

import pytest
from river import linear_model

from penstock import View, count, last, max, mean, min, sum
from penstock.features.read.client import FeatureReader, OtherDefinition
from penstock.features.redis.keys import live_key, public_key
from penstock.features.redis.keyspace import RedisKeyspace
from penstock.features.redis.store import RedisStateStore, connect
from penstock.stream import topology
from penstock.stream.backfill.run import Backfill
from penstock.stream.definitions import DefinitionError, Label, Pipeline, Source
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from tests.effort import first_here
from tests.stream.generated import MINUTE, START_MS

PAID = Source("till.paid", id="id", time="at", key="card")
VIEWS = ("shop", "city")
SHOPS, CITIES = 30, 5


def definition(letter: str, **more: Any) -> Pipeline:
    """A definition whose features all say `letter`; `more` features are those that only it has."""
    views = []
    for name in VIEWS:
        features = {
            "n": count(),
            "sum": sum("amount"),
            "mean": mean("amount"),
            "max": max("amount"),
            "day": count("1d"),
            **more,
        }
        views.append(View(name, PAID, name, {f"{letter}_{said}": f for said, f in features.items()}))
    return Pipeline(
        "till",
        views=views,
        predict=PAID,
        inputs=["amount"],
        label=Label(PAID, lambda event: event["fraud"], wait="1h", fields=("fraud",)),
        model=linear_model.LogisticRegression(),
    )


FIRST = definition("a")
SECOND = definition("b", last=last("amount"))  # one to rebuild
THIRD = definition("c", min=min("amount"), hour=count("1h"))
ORDER = [FIRST, SECOND, THIRD, FIRST]
LETTER_OF = {view.version: letter for letter, p in zip("abc", ORDER, strict=False) for view in p.views}


def events(chance: random.Random, number: int, first: int) -> list[Out]:
    """Payments of 2.0 each; the very first ones are one of each shop and city."""
    made = []
    for n in range(first, first + number):
        shop = n if n < 20 else chance.randrange(SHOPS)
        event = {"id": n, "at": START_MS + n * MINUTE, "amount": 2.0, "fraud": False}
        event |= {"card": f"c{n % 7}", "shop": f"s{shop}", "city": f"t{shop % CITIES}"}
        made.append(Out(PAID.name, str(n % 7).encode(), json.dumps(event).encode()))
    return made


class Seen:
    """What any reader has seen. Whoever reads later sees at least as much."""

    def __init__(self) -> None:
        self.least: dict[tuple[str, str], float] = {}
        self.lock = threading.Lock()

    def so_far(self) -> dict[tuple[str, str], float]:
        with self.lock:
            return dict(self.least)

    def add(self, found: Mapping[tuple[str, str], float]) -> None:
        with self.lock:
            for one, n in found.items():
                self.least[one] = n if n > self.least.get(one, 0) else self.least[one]


def counted(letter: str, values: Mapping[str, Any]) -> float:
    """How many events a document's values are of; they must be of one version and of one moment."""
    assert values and all(name.startswith(f"{letter}_") for name in values), values
    said = {name.removeprefix(f"{letter}_"): value for name, value in values.items()}
    n = said["n"]
    assert n >= 1 and said["sum"] == 2 * n and 0 <= said["day"] <= n, values
    assert all(said[name] == 2.0 for name in ("mean", "max", "min", "last") if name in said), values
    return float(n)


class Asked:
    """A client that counts questions: what is read in two is not of one moment."""

    def __init__(self, client: Any) -> None:
        self.client, self.questions = client, 0

    def mget(self, keys: Sequence[str], /) -> Any:
        self.questions += 1
        return self.client.mget(keys)


class Reader:
    """One way to read, again and again."""

    def __init__(self, url: str, seen: Seen) -> None:
        self.client, self.seen, self.looks = connect(url), seen, 0
        self.asked = Asked(self.client)
        self.wanted = [("shop", f"s{n}") for n in range(SHOPS)] + [("city", f"t{n}") for n in range(CITIES)]

    def look(self) -> None:
        before = self.seen.so_far()
        found = self.read()
        self.looks += 1
        assert self.asked.questions in (0, self.looks)
        if found is None:
            return
        assert found.keys() >= before.keys(), f"{type(self).__name__} lost {before.keys() - found.keys()}"
        for one, n in found.items():
            assert n >= before.get(one, 0), f"{type(self).__name__}: {one} went back to {n}"
        self.seen.add(found)

    def read(self) -> dict[tuple[str, str], float] | None:
        """How many events each entity has that was found; None if the reader was refused."""


class OfDocuments(Reader):
    """`FeatureReader` without definitions: one version in one read, and `at` never back within it."""

    def __init__(self, url: str, seen: Seen) -> None:
        super().__init__(url, seen)
        self.reader = FeatureReader(self.asked, "till")
        self.at: dict[tuple[str, str, str], int] = {}

    def read(self) -> dict[tuple[str, str], float] | None:
        found = [one for one in self.reader.read(self.wanted) if one.found]
        letters = {LETTER_OF[one.recipe or ""] for one in found}
        assert len(letters) <= 1, f"a mixture of {letters}"
        for one in found:
            named = one.view, str(one.entity), one.recipe or ""
            assert (one.at_ms or 0) >= self.at.get(named, 0), named
            self.at[named] = one.at_ms or 0
        return {
            (one.view, str(one.entity)): counted(LETTER_OF[one.recipe or ""], one.values) for one in found
        }


class OfStates(Reader):
    """`FeatureReader` with one of the definitions: refused while another one is live, otherwise everything is there."""

    def __init__(self, url: str, seen: Seen, pipeline: Pipeline) -> None:
        super().__init__(url, seen)
        self.letter = LETTER_OF[pipeline.views[0].version]
        self.reader = FeatureReader(self.asked, "till", pipeline.views)
        self.refused = 0

    def read(self) -> dict[tuple[str, str], float] | None:
        try:
            found = self.reader.read(self.wanted)
        except OtherDefinition:
            self.refused += 1
            return None
        return {(one.view, str(one.entity)): counted(self.letter, one.values) for one in found if one.found}


class Plain(Reader):
    """A `GET` each, as a service in another language reads: a document is of one version, and versions go on in their order."""

    def __init__(self, url: str, seen: Seen) -> None:
        super().__init__(url, seen)
        self.phase: dict[tuple[str, str], int] = {}

    def read(self) -> dict[tuple[str, str], float] | None:
        order = [LETTER_OF[pipeline.views[0].version] for pipeline in ORDER]
        found = {}
        sent: Any = self.client.pipeline(transaction=False)
        for one in self.wanted:
            sent.get(public_key("till", *one))
        for one, text in zip(self.wanted, sent.execute(), strict=True):
            if text is None:
                continue
            document = json.loads(text)
            letter = LETTER_OF[document["recipe"]]
            phase = self.phase.get(one, 0)
            assert letter in order[phase:], f"{one} went back to {letter}"
            self.phase[one] = phase + order[phase:].index(letter)
            found[one] = counted(letter, document["values"])
        return found


class Crash(Exception):
    """The process is gone."""


class Writers:
    """The pipeline's writers, one after the other, with a look of every reader at each of their steps."""

    def __init__(self, url: str, seed: int, readers: Sequence[Reader]) -> None:
        self.client, self.readers = connect(url), readers
        self.chance = random.Random(seed)
        self.clock = count_up(0, 300)
        self.log, self.made = MemoryLog(), 0
        self.log.create(PAID.name, 2)
        for topic in topology.owned("till"):
            self.log.create(topic.name, 1)
        self.worker: FeaturizeWorker | None = None

    def wall_ms(self) -> int:
        return next(self.clock)

    def feed(self, number: int) -> None:
        self.log.append(events(self.chance, number, self.made))
        self.made += number

    def start(self, pipeline: Pipeline) -> None:
        """A new worker, in the place of one that may have gone without a word."""
        if self.worker is not None and self.chance.random() < 0.5:
            self.worker.close()
        self.worker = FeaturizeWorker(
            pipeline,
            self.log,
            lambda task: RedisStateStore(self.client, "till", task),
            self.wall_ms,
            instance_id="0",
        )

    def turn(self) -> int:
        stepped = self.worker.process_batch(0.0) if self.worker is not None else 0
        for reader in self.readers:
            reader.look()
        return stepped

    def work(self, pipeline: Pipeline, chunks: int) -> None:
        """Work chunks of events off, and start anew now and then."""
        self.start(pipeline)
        for _ in range(chunks):
            self.feed(self.chance.randrange(1, 40))
            for _ in range(self.chance.randrange(1, 4)):
                self.turn()
            if self.chance.random() < 0.3:
                self.start(pipeline)

    def settle(self) -> None:
        quiet = 0
        while quiet < 5:
            quiet = 0 if self.turn() else quiet + 1

    def backfill(self, pipeline: Pipeline) -> None:
        """Change the definition beside the worker, which stops by itself; stopped somewhere, and finished by another run."""
        crash_at = self.chance.randrange(40)
        steps = count_up()

        def meanwhile(what: str, done: int, total: int) -> None:
            if next(steps) == crash_at:
                raise Crash
            if what.startswith("rebuilding"):
                self.feed(self.chance.randrange(0, 5))
            try:
                self.turn()
            except DefinitionError as error:
                assert "under way" in str(error) or "changed since" in str(error)
                self.worker = None

        while True:
            one = Backfill(
                pipeline,
                self.log,
                lambda task: RedisStateStore(self.client, "till", task),
                RedisKeyspace(self.client),
                self.wall_ms,
                progress=meanwhile,
            )
            try:
                one.run()
                return
            except Crash:
                continue


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units, batches and passes so small that there is something between them."""
    monkeypatch.setattr("penstock.stream.featurize.step.UNIT_KEYS", 6)
    monkeypatch.setattr("penstock.stream.backfill.convert.UNIT_KEYS", 12)
    monkeypatch.setattr("penstock.features.redis.keyspace.BATCH_KEYS", 20)
    monkeypatch.setattr("penstock.stream.backfill.run.NEAR_RECORDS", 10)


@pytest.fixture
def following() -> Iterator[Callable[[Sequence[Reader]], list[BaseException]]]:
    """Lets readers look, each in its own thread, until the test ends; gives what they found wrong."""
    over = threading.Event()
    threads: list[threading.Thread] = []
    wrong: list[BaseException] = []

    def follow(reader: Reader) -> None:
        try:
            while not over.is_set():
                reader.look()
        except BaseException as error:
            wrong.append(error)

    def start(readers: Sequence[Reader]) -> list[BaseException]:
        for reader in readers:
            threads.append(threading.Thread(target=follow, args=(reader,), daemon=True))
            threads[-1].start()
        return wrong

    yield start
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong


def readers_of(url: str, seen: Seen) -> list[Reader]:
    return [
        OfDocuments(url, seen),
        Plain(url, seen),
        *(OfStates(url, seen, pipeline) for pipeline in ORDER[:3]),
    ]


def check(writers: Writers, seen: Seen, here: Sequence[Reader], wrong: Sequence[BaseException]) -> None:
    """All that was written was read, under the first definition again, and nobody read anything wrong."""
    assert not wrong, wrong
    least = seen.so_far()
    for view in VIEWS:
        assert writers.made == fsum(n for (of, _), n in least.items() if of == view)
    assert json.loads(writers.client.get(live_key("till")) or b"")["recipe"] == FIRST.digest  # type: ignore[arg-type]
    states = [reader for reader in here if isinstance(reader, OfStates)]
    assert all(0 < reader.refused < reader.looks for reader in states), "each was live for a while"


@pytest.mark.parametrize("seed", first_here(range(3)))
@pytest.mark.usefixtures("valkey", "small")
def test_no_reader_sees_anything_torn_mixed_lost_or_older_while_writers_restart_and_definitions_change(
    valkey_url: str, seed: int, following: Callable[[Sequence[Reader]], list[BaseException]]
) -> None:
    seen = Seen()
    here = readers_of(valkey_url, seen)
    writers = Writers(valkey_url, seed, here)
    wrong = following(readers_of(valkey_url, seen))
    for before, after in zip(ORDER, ORDER[1:], strict=False):
        writers.work(before, chunks=writers.chance.randrange(2, 5))
        writers.backfill(after)
    writers.work(FIRST, chunks=3)
    writers.settle()
    check(writers, seen, here, wrong)
