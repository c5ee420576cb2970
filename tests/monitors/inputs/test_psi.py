"""PSI: the formula, its traps, its false alarms, its windows and its replay."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import chdtrc, stdtr  # type: ignore[import-untyped]

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs.histogram import Histogram, Value
from penstock.monitors.inputs.psi import DAY_MS, PsiMonitor
from penstock.monitors.inputs.stability import judge, psi

counts = st.lists(st.integers(0, 500), min_size=2, max_size=12)
EDGES = np.array([-1.2816, -0.8416, -0.5244, -0.2533, 0, 0.2533, 0.5244, 0.8416, 1.2816])


def deciles(values: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(EDGES, values), minlength=10)


@given(counts)
def test_psi_of_equal_shares_is_zero(reference: list[int]) -> None:
    assert psi(reference, reference) == pytest.approx(0.0, abs=1e-12)


@given(counts, st.randoms(use_true_random=False))
def test_psi_is_the_sum_by_hand(reference: list[int], rnd: object) -> None:
    window = [int(getattr(rnd, "randrange")(500)) for _ in reference]  # noqa: B009
    bins, total, size = len(reference), sum(reference), sum(window)
    expected = 0.0
    for r, w in zip(reference, window, strict=True):
        p, q = (r + 0.5) / (total + bins / 2), (w + 0.5) / (size + bins / 2)
        expected += (q - p) * math.log(q / p)
    assert psi(reference, window) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(counts, st.data())
def test_psi_is_finite_and_never_negative(reference: list[int], data: st.DataObject) -> None:
    window = data.draw(st.lists(st.integers(0, 500), min_size=len(reference), max_size=len(reference)))
    assert 0 <= psi(reference, window) + 1e-12 < math.inf


@pytest.mark.parametrize(("alpha", "samples"), [(0.05, 1_000), (0.05, 200), (0.01, 500)])
def test_false_alarms_on_independent_data_are_the_nominal_share(alpha: float, samples: int) -> None:
    rng, runs = np.random.default_rng(7), 2_500
    rows = [rng.multinomial(samples, np.full(10, 0.1), size=29) for _ in range(runs)]
    found = [judge(row[:-1], row[-1]) for row in rows]
    share = np.mean([judgement is not None and judgement.p_value < alpha for judgement in found])
    assert share == pytest.approx(alpha, abs=0.2 * alpha + 2 * math.sqrt(alpha / runs))


@pytest.mark.parametrize("shares", [np.full(10, 0.1), 1 / np.arange(2, 12) / np.sum(1 / np.arange(2, 12))])
def test_small_windows_alarm_neither_more_nor_less_often_than_the_nominal_share(shares: np.ndarray) -> None:
    """With 1/n in the place of 1/(n + B/2) the shares are 0.043 and 0.046."""
    rng, runs = np.random.default_rng(11), 12_000
    table = rng.multinomial(100, shares, size=runs + 28)
    found = [judge(table[at : at + 28], table[at + 28]) for at in range(runs)]
    share = np.mean([judgement is not None and judgement.p_value < 0.05 for judgement in found])
    assert 0.0475 <= share <= 0.0575


def test_false_alarms_under_daily_noise_stay_below_the_nominal_share() -> None:
    rng = np.random.default_rng(8)
    alarms = 0
    for _ in range(400):
        rows = [deciles(rng.standard_normal(500) + 0.5 * rng.standard_normal()) for _ in range(29)]
        judgement = judge(np.array(rows[:-1]), rows[-1])
        assert judgement is not None
        assert judgement.test == "t"
        alarms += judgement.p_value < 0.05
    assert alarms <= 400 * 0.05 * 1.2 + 2 * math.sqrt(20)


def test_a_shift_of_half_a_sigma_is_found_in_independent_data() -> None:
    rng = np.random.default_rng(9)
    past = np.array([deciles(rng.standard_normal(500)) for _ in range(28)])
    judgement = judge(past, deciles(rng.standard_normal(500) + 0.5))
    assert judgement is not None
    assert judgement.p_value < 1e-4
    assert judgement.effect == pytest.approx(0.24, abs=0.12)


def test_one_bin_or_one_window_cannot_be_judged() -> None:
    assert judge(np.array([[5, 0], [7, 0]]), np.array([9, 0])) is None
    assert judge(np.array([[5, 1]]), np.array([9, 1])) is None


numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.integers(-5, 5).map(float))


@given(st.lists(numbers, max_size=200), st.lists(numbers, max_size=200))
def test_every_number_has_exactly_one_bin(sample: list[Value], column: list[Value]) -> None:
    assert Histogram.learn(sample).count(column).sum() == len(column)


@given(st.lists(numbers, min_size=1, max_size=100), st.lists(st.floats(-10, 10), max_size=100))
def test_counting_numbers_agrees_with_comparing_edges(sample: list[Value], column: list[float]) -> None:
    bins = Histogram.learn(sample)
    assert bins.edges is not None
    naive = [0] * (len(bins.edges) + 2)
    for value in column:
        naive[sum(value > edge for edge in bins.edges)] += 1
    assert bins.count(column).tolist() == naive


def test_a_point_mass_has_one_bin_of_its_own() -> None:
    bins = Histogram.learn([0.0] * 900 + [float(i) for i in range(1, 101)])
    group, names = bins.coarse(bins.count([0.0] * 900 + [float(i) for i in range(1, 101)]), 10)
    assert names[0] == "(-inf, 0]"
    assert group[0] != group[1]


def test_unseen_text_and_null_have_bins_of_their_own() -> None:
    bins = Histogram.learn(["a", "a", "b", None])
    assert bins.count(["a", "c", "b", None, math.nan, "d"]).tolist() == [1, 1, 2, 2]


def test_text_in_a_column_of_numbers_counts_as_null() -> None:
    assert Histogram.learn([1.0, 2.0]).count(["x", 1.0]).tolist()[-1] == 1


def days(monitor: PsiMonitor, column: list[list[Value]], first: int = 0) -> list[Transition]:
    said: list[Transition] = []
    for day, values in enumerate(column, first):
        for i, value in enumerate(values):
            said += monitor.update(day * DAY_MS + i * 1_000, day * 1_000 + i, (value,))
    return said + monitor.advance((first + len(column)) * DAY_MS, (first + len(column)) * 1_000)


def normal_days(seed: int, count: int, shift: float = 0.0) -> list[list[Value]]:
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal(400) + shift).tolist() for _ in range(count)]


def test_a_stationary_stream_spends_its_budget_and_no_more() -> None:
    names = list("abcd")
    monitor = PsiMonitor(names, budget_per_year=60)
    rng = np.random.default_rng(10)
    episodes, judged = 0, 200
    for day in range(1 + 10 + judged):
        for i, row in enumerate(rng.standard_normal((400, len(names))).tolist()):
            episodes += sum(t.state == "firing" for t in monitor.update(day * DAY_MS + i, day * 400 + i, row))
    expected = 60 * judged / 365.25
    assert expected / 2 <= episodes <= 1.2 * expected + 2 * math.sqrt(expected)


def test_a_shift_is_one_episode_that_ends_when_the_level_is_normal_again() -> None:
    monitor = PsiMonitor(["x"])
    days(monitor, normal_days(11, 40))
    said = days(monitor, normal_days(12, 10, shift=1.0), first=40)
    assert [(t.subject, t.state) for t in said][:1] == [("x", "firing")]
    fired = said[0]
    assert (fired.since_ms, fired.since_position) == (40 * DAY_MS, 40_000)
    assert fired.at_ms == 41 * DAY_MS
    assert fired.statistic < fired.threshold
    json.dumps(fired.detail)
    said += days(monitor, normal_days(13, 30, shift=1.0), first=50)
    assert [t.state for t in said] == ["firing", "resolved"]


def test_the_detail_names_the_bin_that_moved_most_first() -> None:
    monitor = PsiMonitor(["x"])
    rng = np.random.default_rng(14)
    days(monitor, [rng.choice(["a", "b", "c"], 400).tolist() for _ in range(20)])
    (fired,) = days(monitor, [[*["a"] * 100, *["new"] * 300]], first=20)
    shares = fired.detail["shares"]
    assert isinstance(shares, list)
    assert shares[0]["bin"] == "other"
    assert shares[0]["window"] == pytest.approx(0.75)


def test_a_column_that_turns_null_is_found() -> None:
    monitor = PsiMonitor(["x"])
    days(monitor, normal_days(15, 20))
    (fired,) = days(monitor, [[None] * 400], first=20)
    assert fired.state == "firing"


@pytest.mark.parametrize("value", [5.0, None, "same"])
def test_a_column_that_never_varies_is_never_judged(value: Value) -> None:
    assert days(PsiMonitor(["x"]), [[value] * 300 for _ in range(30)]) == []


def test_values_far_outside_the_first_range_still_count() -> None:
    monitor = PsiMonitor(["x"])
    days(monitor, normal_days(16, 20))
    (fired,) = days(monitor, [[*[1e12] * 200, *[-math.inf] * 200]], first=20)
    assert math.isfinite(fired.effect)
    assert fired.effect > 1


def test_nothing_is_judged_before_ten_windows() -> None:
    monitor = PsiMonitor(["x"])
    assert days(monitor, normal_days(17, 10) + normal_days(18, 1, shift=9.0)) == []


def test_a_late_sample_joins_the_open_window() -> None:
    monitor = PsiMonitor(["x"])
    monitor.update(5 * DAY_MS, 1, (1.0,))
    assert monitor.update(4 * DAY_MS, 2, (1.0,)) == []
    assert monitor.advance(5 * DAY_MS + 1, 3) == []


@settings(max_examples=12)
@given(st.integers(0, 24 * 400))
def test_a_pickled_monitor_says_the_same_as_one_that_never_stopped(split: int) -> None:
    rows = [v for day in normal_days(19, 20) + normal_days(20, 4, shift=1.0) for v in day]

    def run(monitor: PsiMonitor, start: int, stop: int) -> list[Transition]:
        said = []
        for i in range(start, stop):
            said += monitor.update(i // 400 * DAY_MS, i, (rows[i],))
        return said

    straight, broken = PsiMonitor(["x"]), PsiMonitor(["x"])
    expected = run(straight, 0, len(rows))
    found = run(broken, 0, split)
    found += run(pickle.loads(pickle.dumps(broken)), split, len(rows))
    assert found == expected
    assert expected


def test_a_setting_without_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="windows"):
        PsiMonitor(["x"], windows=3)
    with pytest.raises(ValueError, match="positive"):
        PsiMonitor(["x"], budget_per_year=0)


numbers = st.floats(-3.0, 3.0) | st.sampled_from(
    [None, math.nan, math.inf, -math.inf, 0.0, -0.0, True, "text", 1]
)


@given(
    st.lists(numbers, max_size=80),
    st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=9, unique=True),
)
def test_a_value_is_counted_in_the_bin_whose_upper_edge_it_does_not_exceed(
    column: list[Value], edges: list[float]
) -> None:
    edges.sort()
    found = [0] * (len(edges) + 2)
    for value in column:
        null = value is None or isinstance(value, str) or value != value
        found[-1 if null else sum(edge < value for edge in edges)] += 1  # type: ignore[operator]
    assert Histogram(edges, None).count(column).tolist() == found


def of_arrays(past: np.ndarray, window: np.ndarray) -> tuple[float, float, str]:
    """PSI, its p-value and which test gave it, written with numpy's own means and deviations."""

    def relatives(references: np.ndarray, windows: np.ndarray) -> np.ndarray:
        n_reference, n_window = references.sum(axis=1, keepdims=True), windows.sum(axis=1, keepdims=True)
        p = (references + 0.5) / (n_reference + windows.shape[1] / 2)
        q = (windows + 0.5) / (n_window + windows.shape[1] / 2)
        unit = 1 / (n_reference + windows.shape[1] / 2) + 1 / (n_window + windows.shape[1] / 2)
        return ((q - p) * np.log(q / p)).sum(axis=1) / ((windows.shape[1] - 1) * unit[:, 0])

    used = (past.sum(axis=0) + window) > 0
    table, window = past[:, used], window[used]
    total, free, windows = table.sum(axis=0), int(used.sum()) - 1, len(table)
    relative = float(relatives(total[None], window[None])[0])
    own = relatives(total - table, table)
    logs = np.log(np.maximum(own, 1e-9))
    spread = max(float(logs.std(ddof=1)), math.sqrt(2 / free)) * math.sqrt(1 + 1 / windows)
    p_t = float(stdtr(windows - 1, -(math.log(max(relative, 1e-9)) - float(logs.mean())) / spread))
    bins = free + 1
    value = relative * free * (1 / (int(total.sum()) + bins / 2) + 1 / (int(window.sum()) + bins / 2))
    if own.mean() < 1 + 2 * math.sqrt(2 / (free * windows)):
        return value, max(float(chdtrc(free, relative * free)), p_t**2), "chi2"
    return value, p_t, "t"


def test_a_judgement_has_the_bits_of_numpys_own_means_and_deviations() -> None:
    rng, tests = np.random.default_rng(3), set()
    for turn in range(300):
        shares = rng.dirichlet(np.full(int(rng.integers(3, 13)), rng.choice([0.3, 3.0])))
        windows = int(rng.integers(2, 29))
        past = np.array([
            rng.multinomial(int(rng.integers(30, 2_000)), rng.dirichlet(shares * 90 + 0.01) if turn % 2 else shares)
            for _ in range(windows)
        ])  # fmt: skip
        window = rng.multinomial(int(rng.integers(30, 2_000)), shares)
        found = judge(past, window)
        if found is not None:
            assert (found.psi, found.p_value, found.test) == of_arrays(past, window)
            tests.add(found.test)
    assert tests == {"chi2", "t"}
