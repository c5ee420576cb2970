"""A broker that has just started answers some questions later than others: a bootstrap asks again, and says how to go on."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any, NoReturn

import pytest

from penstock.stream.bootstrap import asking
from penstock.stream.bootstrap.asking import answered
from penstock.stream.bootstrap.plan import CannotBootstrap
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import TP, AppendFailed, LogError, LogUnavailable
from penstock.stream.process.settings import Settings
from penstock.stream.roles import bootstrap
from penstock.stream.roles.bootstrap import Asked, Learning
from tests.stream.generated import cards

NOT_YET = LogUnavailable(
    "Kafka at here did not answer about the offsets of group 'cards.learn': Not coordinator"
)


class NewBroker(MemoryLog):
    """A log that knows of no groups until it was asked so often."""

    refusals = 0

    def committed(self, group: str, tps: Iterable[TP]) -> dict[TP, int]:
        if self.refusals:
            self.refusals -= 1
            raise NOT_YET
        return super().committed(group, tps)


def test_learning_asks_a_new_broker_again_before_it_begins_and_while_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "PAUSE_S", 0.0)
    log = NewBroker()
    learning = Learning(cards(), Asked("cards.py", [], "", []), Settings(), log)
    begun: list[Any] = []

    def begin(line: Any, **_: Any) -> Any:
        assert log.refusals == 0, "the processes that learn find a broker that answers"
        begun.append(line)

    monkeypatch.setattr(bootstrap.subprocess, "Popen", begin)
    log.refusals = 3
    learning.start()
    assert len(begun) == 1
    learning.processes.clear()
    log.refusals = 3
    learning.wait([0], lambda *_: None)
    assert log.refusals == 0


def test_it_is_asked_for_a_minute_and_not_for_ever() -> None:
    clock, slept = count(0, 10), list[float]()

    def ask() -> NoReturn:
        raise NOT_YET

    with pytest.raises(LogUnavailable):
        answered(ask, now_s=lambda: float(next(clock)), sleep=slept.append)
    assert len(slept) == 5


@pytest.mark.parametrize("error", [NOT_YET, AppendFailed(1, 2, "timed out")], ids=["read", "written"])
def test_where_kafka_stays_away_it_says_that_the_same_command_goes_on(
    error: LogError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(bootstrap, "_run", away)
    given: Any = (None,) * 6
    with pytest.raises(CannotBootstrap) as said:
        bootstrap.run(*given)
    assert str(said.value) == f"{error}: give the same command again, it goes on from where it was"
