"""Two real workers that share a topic's partitions and catch up, one of them slowed: they keep abreast in event time.

Laws of this file: those of `test_kill`; who is slow is told by the slot, in the definition file that both read.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request

import pytest

from penstock.stream.messages import LabelRecord, Sample, decode_entry
from tests.integration.test_kill import CARDS, Making, Place, Role, place
from tests.patience import PATIENCE_S
from tests.stream.generated import card_events, outs
from tests.stream.naive_flow import NaiveFlow, everything

pytestmark = pytest.mark.long

__all__ = ["place"]

SKEW_MS = 3_600_000  # a tenth of what labels may take
SLOW = """
import sys, time
_turn = featurize_worker.FeaturizeWorker.process_batch
def _slow_turn(self, timeout_s):
    time.sleep(0.1)
    return _turn(self, timeout_s)
if sys.argv[-2:] == ["--slot", "1"]:
    featurize_worker.FeaturizeWorker.process_batch = _slow_turn
"""
SMALL_BATCHES = "from penstock.stream.featurize import worker as featurize_worker\n"


def ready(role: Role) -> bool:
    found = re.findall(r"health page on (http://[\d.:]+)", role.output.read_text())
    try:
        return bool(found) and urllib.request.urlopen(f"{found[-1]}/readyz", timeout=PATIENCE_S).status == 200
    except (urllib.error.HTTPError, OSError):
        return False


def worst_disorder(here: Place) -> int:
    """How far any entry of the samples log stands behind one that is newer, in ms."""
    newest, worst = 0, 0
    for record in everything(here.log, here.samples):
        entry = decode_entry(record.value or b"")
        if isinstance(entry, Sample | LabelRecord):
            newest = max(newest, entry.at)
            worst = max(worst, newest - entry.at)
    return worst


@pytest.mark.parametrize("waits", [True, False])
def test_a_slow_worker_holds_the_other_to_the_skew_and_only_where_that_is_asked_for(
    place: Making,  # noqa: F811
    waits: bool,
) -> None:
    here = place(CARDS.replace('wait="1h"', 'wait="10h"') + SMALL_BATCHES + SLOW, 4)
    if not waits:
        here.env["PENSTOCK_FEATURIZE_SKEW_S"] = "0"
    workers = [here.role("featurize", slot) for slot in (0, 1)]
    here.until(lambda: all(ready(one) for one in workers), "they did not join")
    here.produce(
        [one._replace(topic=here.pipeline.predict.name) for one in outs(card_events(6_000, cards=300))],
        seed=3,
    )
    here.until(lambda: here.committed_all("featurize", here.sources()), "they did not come to the end")
    for role in workers:
        assert role.stop() == 0, role.said()
    naive = NaiveFlow(here.pipeline, here.log)
    assert naive.samples and naive.wrong_samples(here.log, here.samples) == []
    # beside the skew, a batch may still be on its way to the log
    assert (worst_disorder(here) <= 2 * SKEW_MS) == waits, worst_disorder(here)
    print(f"waits: {waits}, worst disorder {worst_disorder(here) / 1000:.0f} s")
