"""What a fault is: a name, what is done, what is promised, and the functions that do it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from tests.faults.counts import Counts
from tests.faults.round import Round
from tests.faults.servers import Servers

#: What holds of most faults. The others say what they promise instead.
AS_IF_NOTHING = "as if nothing had happened"


class Fault(NamedTuple):
    """One row.

    `prepare` is called before roles start, `inject` while they run, and `judge`, where it is given, instead of waiting for the
    end and comparing everything. `store` are options of the Valkey, `own` gives another store than that, and `broker` another
    broker than that of the whole run. `needs` says why the fault cannot be done on this machine; empty where it can. `workers`
    are of each role, where not as the flow has it. Of one that is done `alone`, the servers serve nobody else.
    """

    name: str
    flow: str
    what: str
    inject: Callable[[Round], None]
    promise: str = AS_IF_NOTHING
    prepare: Callable[[Round], None] | None = None
    judge: Callable[[Round], Counts] | None = None
    store: dict[str, str] = {}
    own: Callable[[], AbstractContextManager[tuple[Any, str, int]]] | None = None
    broker: Callable[[], AbstractContextManager[Servers]] | None = None
    needs: Callable[[], str] | None = None
    workers: dict[str, int] | None = None
    alone: bool = False


def refuses(role: str, sentence: str) -> Callable[[Round], Counts]:
    """Judge that a role ended with exit code 2 and a line like this, and did not go on."""

    def judge(round: Round) -> Counts:
        counts = Counts()
        codes = [(code, said) for name, code, said in round.ends if name == role]
        if not codes:
            counts.add("stuck", f"{role} neither went on nor refused to")
        for code, said in codes:
            if code != 2 or not re.search(sentence, said):
                counts.add("wrong", f"{role} ended with {code}, and said: {said}")
        return counts

    return judge
