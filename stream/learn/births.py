"""When experts are born, and when they go.

Laws of this file:
- A fresh model is born whenever the leader's loss is suspected to rise (often wrongly: it then gets no weight, and goes), and by
  the count of labels, since what drifts slowly raises no suspicion (Daniely, Gonen and Shalev-Shwartz, "Strongly adaptive online
  learning", 2015: one learner for each scale of time).
- The leader is copied and frozen every `FREEZE_EVERY` labels, and where a guard fires: whatever comes, one stays that never saw
  it, and what comes back finds the model of before. A frozen one that takes the lead goes on as a learning copy, and stays.
- The copy that leaves out values far outside what was learned is made at the first record that has one.
- A frozen copy is kept as a version, under the id it will always have.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.stream.learn import departures
from penstock.stream.learn.events import KINDS
from penstock.stream.learn.expert import YOUNG_LABELS, Expert
from penstock.stream.learn.experts import Experts
from penstock.stream.learn.state import FoldState
from penstock.stream.models.version import dump, restore

FREEZE_EVERY = 4_000
LEAD_EVERY = 4
LOOK_EVERY = 24


def is_due(labels: int) -> bool:
    """Whether a fresh model is due at this many labels, whatever happens: each time they have doubled, and every 4,000.

    >>> [labels for labels in range(1, 12_001) if is_due(labels)]
    [500, 1000, 2000, 4000, 8000, 12000]
    """
    if labels % YOUNG_LABELS:
        return False
    age = labels // YOUNG_LABELS
    return age & (age - 1) == 0 or age % 8 == 0


def at_label(state: FoldState, position: int, at: int, rose: bool) -> None:
    """After a label was learned: who leads now, who is born, who goes."""
    experts, labels = state.experts, state.counts.learned
    if rose:
        experts.suspect(labels)
    elif labels % LEAD_EVERY == 0:
        top = experts.lead(labels)
        if top is not None:
            _leads(state, position, at, top)
    if labels % LOOK_EVERY == 0:
        for one in departures.hopeless(experts, labels):
            experts.remove(one)
        departures.quiet(experts, state.counts.samples)
    due = rose or is_due(labels)
    if due:
        experts.add("new", state.fresh(), state.new_id(), (labels, at, position))
    freezes = labels % FREEZE_EVERY == 0 and experts.leader.learns
    if freezes:
        freeze(state, position, at)
    if due or freezes:
        leave(state)


def leave(state: FoldState) -> None:
    """Let those go for whom there is no room."""
    for one in departures.surplus(state.experts, state.counts.learned):
        state.experts.remove(one)
    state.drop_versions()


def _leads(state: FoldState, position: int, at: int, top: Expert) -> None:
    state.counts.leads += 1
    if top.kind == "frozen":  # it stays as it is; a copy of it goes on learning
        resumed(state, position, at, top)
        leave(state)
    state.name_models()
    weight = state.experts.leader_weight
    told = f"{top.version} ({KINDS[top.kind]}) takes the lead with {weight:.0%} of the weight"
    # where the committed one predicts alone, it is live for the reason that it was
    state.publish(told if state.live is top else state.why, told)


def resumed(state: FoldState, position: int, at: int, frozen: Expert) -> Expert:
    """A learning copy of a frozen expert, with half of its weight."""
    assert frozen.payload is not None, "a frozen expert was made from bytes"
    return state.experts.add(
        "resumed", restore(frozen.payload), state.new_id(), (state.counts.learned, at, position), of=frozen, halved=True
    )  # fmt: skip


def freeze(state: FoldState, position: int, at: int) -> Expert:
    """Freeze a copy of the leader, and keep it as a version."""
    leader = state.experts.leader
    payload = dump(leader.model)
    born = (state.counts.learned, at, position)
    frozen = state.experts.add("frozen", restore(payload), state.new_id(), born, of=leader)
    frozen.payload = payload
    frozen.taught = leader.taught
    why = f"a copy of {leader.version}, which led after {state.counts.learned:,} labels"
    state.keep(frozen, "copy", why, of=leader)
    return frozen


def fork(state: FoldState, position: int, at: int, outside: Sequence[str]) -> None:
    """Copy the best learner as the one that leaves out values far outside what was learned."""
    careful_copy(state.experts, state.new_id(), (state.counts.learned, at, position))
    leave(state)


def careful_copy(experts: Experts, version: str, born: tuple[int, int, int]) -> None:
    """Add that copy, of the best learner as it is."""
    source = experts.best_learner()
    copy = experts.add("careful", restore(dump(source.model)), version, born, of=source, halved=True)
    copy.taught = source.taught
