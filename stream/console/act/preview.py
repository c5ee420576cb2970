"""What a request would do, as far as the topics tell: which version, what it scored, what is suppressed, and until when.

Laws of this file:
- Pure. Which version is meant is found as the fold finds it (`learn.commands.target`); what is not known here is said to be so.
- Losses that stand beside one another are means over the same labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from penstock.stream.console.act.acts import waiting
from penstock.stream.console.state import PipelineState
from penstock.stream.console.words import count, moment, nats, position
from penstock.stream.control.policy import BREAKER_COOLDOWNS, SPARED
from penstock.stream.control.state import PolicyConfig
from penstock.stream.definitions import Pipeline
from penstock.stream.messages import ExpertShown, LiveModel, OperatorRequest
from penstock.stream.models.version import CHAMPION, PREVIOUS, named
from penstock.stream.operate.expert_lines import kind_in_words, role
from penstock.stream.triggers import in_words

BLOCKS = 19
"""The newest blocks of labels that versions are compared over."""


class Scored(NamedTuple):
    """A version beside others: what it is, how far it is trained, and its mean loss over the same labels as theirs."""

    version: str
    what: str
    now: str
    trained: str
    mean: float | None
    meant: bool

    @property
    def loss(self) -> str:
        """The loss in nats, as pages show it."""
        return nats(self.mean)


class Preview(NamedTuple):
    """What a request would do: the version meant in words, the versions to compare, and sentences."""

    meant: str
    compared: Sequence[Scored]
    over: str
    does: Sequence[str]
    suppresses: Sequence[str]


def preview(request: OperatorRequest, state: PipelineState, definition: Pipeline | None) -> Preview:
    """What the request would do if it were carried out now."""
    live = state.live
    if request.verb not in ("rollback", "promote"):
        return Preview(
            "", (), "", list(_does(request, state)), list(_suppresses(request, state, definition, None))
        )
    one = target(live, request) if live is not None else None
    compared, over = _compared(state, one)
    return Preview(
        _meant(request, live, one),
        compared,
        over,
        [*_worse(compared), *_does(request, state)],
        list(_suppresses(request, state, definition, one)),
    )


def target(live: LiveModel, request: OperatorRequest) -> ExpertShown | None:
    """The model that a rollback or a promotion means, if it is one of those that take part."""
    models = [one for one in live.experts if one.kind != "base"]
    if request.version is not None:
        meant = {CHAMPION: live.committed, PREVIOUS: live.previous}.get(request.version, request.version)
        meant = named(meant, [one.version for one in models])
        return next((one for one in models if one.version == meant), None)
    if request.verb == "promote":
        made = [one for one in models if one.kind == "retrained"]
        return made[-1] if made else None
    onset = live.position if request.from_position is None else request.from_position
    before = [one for one in models if one.kind == "frozen" and one.born_position <= onset]
    if before:
        return before[-1]
    return next((one for one in models if one.kind == "first"), None)


def _meant(request: OperatorRequest, live: LiveModel | None, one: ExpertShown | None) -> str:
    if live is None:
        return "Learn has not said yet which models there are: it decides which version is meant."
    if one is not None:
        return f"{one.version}: {kind_in_words(one.kind)}, trained {trained(one, live)}."
    if request.version == PREVIOUS and not live.previous:
        return f"No version was committed before {live.committed}: learn will refuse it."
    if request.version is None:
        return "No product of a retrain takes part: control will refuse it. Name a version, or ask for a retrain."
    return (
        f"{request.version} does not take part now. If it is stored, learn fetches it as it was then; "
        "`penstock models` says how far it is trained."
    )


def trained(one: ExpertShown, live: LiveModel) -> str:
    """How far a model is trained."""
    if one.kind == "frozen":
        return f"to {moment(one.born_at)} (event time) {position(one.born_position)}, {count(one.learned)} labels"
    return f"to now, {count(one.learned)} labels as of {position(live.position)}"


def _compared(state: PipelineState, one: ExpertShown | None) -> tuple[list[Scored], str]:
    """The version meant, the one that leads, the committed one and the base rate, over the newest labels that all saw."""
    live = state.live
    if live is None:
        return [], ""
    wanted = {live.version, live.committed, "base"} | ({one.version} if one is not None else set())
    shown = [model for model in live.experts if model.version in wanted]
    names = {model.version for model in shown}
    blocks = [
        losses
        for block in list(state.blocks)[-BLOCKS:]
        if names <= (losses := {then.version: then for then in block.experts}).keys()
        and all(losses[name].loss is not None for name in names)
    ]
    labels = sum(min(block[name].judged for name in names) for block in blocks)
    found = []
    for model in sorted(shown, key=lambda model: -model.weight):
        judged = sum(block[model.version].judged for block in blocks)
        loss = sum((block[model.version].loss or 0.0) * block[model.version].judged for block in blocks)
        found.append(
            Scored(
                model.version,
                kind_in_words(model.kind),
                role(model, live),
                trained(model, live) if model.kind != "base" else "–",
                loss / judged if judged else None,
                one is not None and model.version == one.version,
            )
        )
    over = f"over the same newest {labels:,} labels" if labels else "no labels yet that all of them saw"
    return found, over


def _worse(compared: Sequence[Scored]) -> Iterator[str]:
    """A warning, where the version meant did worse over the labels compared than what predicts without it."""
    meant = next((one for one in compared if one.meant and one.mean is not None), None)
    if meant is None or meant.mean is None:
        return
    better = [one.version for one in compared if one.mean is not None and one.mean < meant.mean]
    if better:
        said = ", ".join("the base rate" if one == "base" else one for one in better)
        yield f"Careful: over these labels {meant.version} lost more than {said}."


def _does(request: OperatorRequest, state: PipelineState) -> Iterator[str]:
    """What happens at once."""
    live, verb = state.live, request.verb
    if verb == "hold":
        yield "Learning stops. Predictions go on from the models as they are, with the weights that they have."
    elif verb == "resume":
        if live is not None and live.held:
            yield f"Learning goes on; it was held since {moment(live.held_since)} (event time)."
            yield "Values that a guard fires on are accepted: their ranges are learned anew."
        if live is not None and live.pinned:
            yield f"{live.committed} is no longer pinned: the models predict together, with the weights that labels gave them."
    elif verb == "accept":
        yield "Today’s loss counts as normal, and the ranges that a guard fires on are learned anew."
        told = [
            f"{event.data.kind} of {event.subject}"
            for event in state.open
            if event.data.kind in ("harm", "guard")
        ]
        yield (
            f"Open now, and over with it: {', '.join(told)}."
            if told
            else "No episode about lost skill is open now."
        )
    elif verb == "retrain":
        begins = (
            f"from position {request.from_position:,} of the samples log on"
            if request.from_position is not None
            else in_words(request.window)
            if request.window
            else "as the definition says, or from all samples"
        )
        yield f"A job trains a fresh model, learning {begins}. Predictions and learning go on meanwhile."
        yield "Its product takes part with little weight, and gains by every label that it foresees better than the others."
        for command in live.retraining if live is not None else ():
            yield f"A retrain is under way ({command}): this one joins it if both learn from the same samples, or is refused."
    else:
        yield from _placed(request, state)
    same = [one for one in waiting(state) if one.verb == verb]
    if same:
        yield f"It answers what waits for a person: {len(same)} request{'s' if len(same) > 1 else ''} to {verb}."


def _placed(request: OperatorRequest, state: PipelineState) -> Iterator[str]:
    """A rollback or a promotion."""
    live = state.live
    always = live is not None and live.alone and not live.pinned
    if always:
        yield "The version is committed and predicts alone, as the definition asks for approval. Weights stay as they are."
    else:
        yield "The version gets all the weight, and becomes the committed one."
    if live is not None and live.held:
        yield "The hold stays: only a resume ends it." if always else "The hold ends: learning goes on."
    if live is not None and live.pinned and not request.pin:
        yield f"{live.committed} is no longer pinned."
    told = [
        f"{event.data.kind} of {event.subject}"
        for event in state.open
        if event.data.kind in ("harm", "lead", "loss")
    ]
    if told:
        yield f"Episodes about the model that is replaced end: {', '.join(told)}."


def _suppresses(
    request: OperatorRequest, state: PipelineState, definition: Pipeline | None, one: ExpertShown | None
) -> Iterator[str]:
    """What will not happen by itself after it, and until when."""
    live, verb = state.live, request.verb
    if verb == "hold":
        yield "Labels of samples that come meanwhile teach nothing, also not after the hold."
        yield "It ends by itself never: a resume ends it, or a rollback or promotion that a person asks for."
    elif verb == "resume":
        yield "Labels of samples that came during the hold stay out."
    elif verb == "accept":
        yield "The old level is not told as lost skill again, until the loss rises above today’s."
    elif verb == "retrain":
        yield from _cooldown(state, definition)
    elif request.pin:
        yield (
            "No evidence commits or weighs another version into place while it is pinned: until a resume, or a rollback or "
            "promotion without a pin."
        )
    elif live is not None:
        yield (
            f"Labels from before it is carried out (now {position(state.position)}, {moment(state.event_at)} event time) cannot "
            "undo it: only labels after that may take the weight away again."
        )
        if one is not None and one.kind == "frozen" and not live.alone:
            yield f"{one.version} learns no more; a copy of it that learns on takes part beside it, with half of the weight."
    for event in state.open:
        until = event.data.cooldown_until
        if until is not None and until > state.event_at:
            what = f"{event.data.kind} of {event.subject}"
            yield f"{what} counts as the same episode if it returns before {moment(until)} (event time)."


def _cooldown(state: PipelineState, definition: Pipeline | None) -> Iterator[str]:
    """What becomes of the cooldown between retrains that evidence asks for."""
    if definition is None:
        return
    config = PolicyConfig.of(definition)
    policy = state.status.policy if state.status else None
    last = [at for verb, at in policy.unattended if verb == SPARED] if policy else []
    hours = config.cooldown_ms / 3_600_000
    if last and last[-1] + config.cooldown_ms > state.event_at:
        until = moment(last[-1] + config.cooldown_ms)
        yield f"A retrain that evidence asks for waits until {until} (event time), {hours:g} h after the last: this ends it."
    else:
        yield "No cooldown runs, and this request begins none: evidence may ask for a retrain at any time."
    if last:
        yield (
            f"It is counted anew how many retrains did not help ({len(last)} of the last {BREAKER_COOLDOWNS * hours:g} h "
            "at most are remembered)."
        )
