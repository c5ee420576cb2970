"""A race of models beside the live one: what the race makes of twelve configurations, against each alone and river's own races.

    python -P -m benchmarks.race [--streams DIR] [--only NAME] [--rows N] [--days N] [--cache DIR] [--most N] [--json FILE]

Every row is one stream: the log loss (clipped at 0.002, as everywhere) of each configuration alone, of the definition's own model
in the fold without a race, of the fold with the race, of river's `SuccessiveHalvingClassifier` and `BanditClassifier` over the
same twelve, and the CPU seconds of each. All predict at the sample and learn when the label has come.

Laws of this file:
- The race is the one of `stream.challenge`, the fold the real one; who wins enters by an `adopt` in the log, at that place.
- `--most` bounds how many challengers run at a time, as a share of CPU would; the others wait their turn.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from river import (
    bandit,
    forest,
    linear_model,
    metrics,
    model_selection,
    naive_bayes,
    optim,
    preprocessing,
    tree,
)

from benchmarks.gate_flights import CLEAN, flights
from benchmarks.gate_rivals import losses
from benchmarks.gate_streams import Opened, Stream, Variant, folder, generated, lessons
from penstock import grid
from penstock.stream.challenge.race import Race, Runner
from penstock.stream.challenge.worker import TURN_RECORDS
from penstock.stream.definition_file import seeded
from penstock.stream.learn.engine import learn, probability
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import at_once, training, vector
from penstock.stream.messages import Command, Entry, Sample
from penstock.stream.models.digest import digest
from penstock.stream.models.version import dump, restore
from penstock.stream.recipes import RecipeHistory, recipe_of

BUDGET = 2_000


def linear(lr: float) -> Any:
    """Scaled logistic regression at one learning rate."""
    return preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(lr))


def configurations() -> dict[str, Any]:
    """The twelve: six learning rates, five trees and forests, one Bayes."""
    models = {
        **grid(linear, "linear", lr=[0.001, 0.003, 0.01, 0.03, 0.1, 0.3]),
        "bayes": naive_bayes.GaussianNB(),
        "tree": tree.HoeffdingTreeClassifier(),
        "tree-50": tree.HoeffdingTreeClassifier(grace_period=50, delta=1e-3),
        "adaptive-tree": tree.HoeffdingAdaptiveTreeClassifier(seed=7),
        "adam": preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.Adam(0.01)),
        "mondrian-3": preprocessing.StandardScaler() | forest.AMFClassifier(n_estimators=3, seed=7),
    }
    return {name: seeded(model) for name, model in models.items()}


def alone(model: Any, opened: Opened) -> tuple[float, float]:
    """Mean loss of one model that predicts at samples and learns at labels, and its CPU seconds."""
    pipeline = opened.pipeline(linear(0.01))
    names = pipeline.vector_names
    said, waits = array("d"), {}
    samples = (entry.x for entry in opened.entries if isinstance(entry, Sample))
    began = time.process_time()
    for number, y in lessons(opened.entries, pipeline.label.wait_ms):
        if y is None:
            x = vector(names, next(samples))
            waits[number] = x
            said.append(probability(model, x))
        else:
            learn(model, waits.pop(number), y)
    return float(losses(said, opened).mean()), time.process_time() - began


class Raced:
    """The fold with a race beside it, over one stream."""

    def __init__(self, opened: Opened, challengers: dict[str, Any], most: int) -> None:
        self.pipeline = replace(opened.pipeline(linear(0.01)), challengers=challengers)
        self.race = Race(self.pipeline, challengers, time.process_time)
        self.most, self.fold = most, Fold(self.pipeline)
        self.entries: list[tuple[int, Entry]] = []
        self.fold_s = self.race_s = 0.0
        self.adopted: list[tuple[int, str]] = []

    def run(self, opened: Opened) -> array[float]:
        """What the fold said live at each sample."""
        said, looked = array("d"), 0
        while self.race.waiting and len(self.race.runners) <= self.most:
            self._enter(self.race.waiting[0])
        for entry in [recipe_of(self.pipeline), *opened.entries]:
            position = len(self.entries)
            self.entries.append((position, entry))
            began = time.process_time()
            self.fold.step(position, entry)
            middle = time.process_time()
            self.fold_s += middle - began
            if isinstance(entry, Sample):
                said.append(self.fold.outputs.predictions[-1].p)
            if position % 5_000 == 0:
                for told in (
                    self.fold.outputs.predictions,
                    self.fold.outputs.versions,
                    self.fold.outputs.live,
                ):
                    told.clear()
                self.fold.drift.requests.clear()
            self.race.step(position, entry)
            if self.race.looks(looked):
                looked = self.race.labels
                self._look()
            self.race_s += time.process_time() - middle
        return said

    def _look(self) -> None:
        race = self.race
        names = {one.version: one for one in self.fold.experts.models if one.kind == "challenger"}
        inside = frozenset(
            (one.parent or "").rpartition("-")[0].removeprefix("challenger-") for one in names.values()
        )
        found = race.asks(inside)
        if found is not None:
            self._adopt(found)
        if not race.waiting:
            return
        if len(race.runners) > self.most:
            light = race.lightest(inside)
            if light is None:
                return
            race.stop(light)
        self._enter(race.waiting[0])

    def _enter(self, name: str) -> None:
        stop = len(self.entries)
        start = max(0, stop - TURN_RECORDS)
        runner = Runner(name, self.race.fresh(name), start)
        history = RecipeHistory(self.pipeline.digest, self.pipeline.vector_names)
        read = self.entries[start:stop]
        at_once(training(runner.model, history, self.pipeline, read, learn_from=start))
        self.race.enter(runner)

    def _adopt(self, runner: Runner) -> None:
        race, position = self.race, len(self.entries)
        runner.asked = race.labels
        command = Command(
            f"adopt-{runner.name}-{position}",
            "adopt",
            version=f"challenger-{runner.name}-{position}.{digest(runner.model)[:6]}",
            from_position=runner.start,
            trained_to=position,
            challenger=runner.name,
        )
        self.entries.append((position, command))
        race.step(position, command)
        began = time.process_time()
        self.fold.step(position, command, restore(dump(runner.model)))
        self.fold_s += time.process_time() - began
        self.adopted.append((race.labels, runner.name))


def row(stream: Stream, most: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """All figures of one stream."""
    opened = stream.open()
    found: dict[str, Any] = {"stream": stream.name, "n": len(opened.at), "alone": {}, "cpu_s": {}}
    models = configurations()

    def note(name: str, loss: float, cpu_s: float) -> None:
        found["alone" if name in models else "of"] = found.get("alone" if name in models else "of", {})
        found["alone" if name in models else "of"][name] = round(loss, 5)
        found["cpu_s"][name] = round(cpu_s, 2)
        tell(f"{stream.name}: {name} {loss:.4f} in {cpu_s:.1f} s")

    for name, model in models.items():
        note(name, *alone(model.clone(), opened))
    for name, race in {
        "halving": model_selection.SuccessiveHalvingClassifier(
            [model.clone() for model in models.values()],
            metrics.LogLoss(),
            budget=BUDGET * len(models),
            seed=7,
        ),
        "bandit": model_selection.BanditClassifier(
            [model.clone() for model in models.values()],
            metric=metrics.LogLoss(),
            policy=bandit.EpsilonGreedy(epsilon=0.1, decay=0.001, burn_in=100, seed=7),
        ),
    }.items():
        note(name, *alone(race, opened))
    for name, challengers in (("fold without a race", {}), ("fold with the race", models)):
        raced = Raced(opened, challengers, most)
        said = raced.run(opened)
        note(name, float(losses(said, opened).mean()), raced.fold_s)
        if challengers:
            found["cpu_s"]["race"] = round(raced.race_s, 2)
            found["adopted"] = raced.adopted
    best = min(found["alone"].values())
    found["to_best_alone"] = round(found["of"]["fold with the race"] / best, 4)
    return found


def main(argv: list[str] | None = None) -> int:
    """Run the streams asked for."""
    parser = argparse.ArgumentParser(
        prog="penstock bench race", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--streams", type=Path, metavar="DIR", help="the *.csv of a folder instead of generated streams"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="only this stream; may be repeated")
    parser.add_argument("--rows", type=int, default=0, metavar="N", help="at most so many rows of a stream")
    parser.add_argument("--days", type=int, default=60, metavar="N", help="of the flights (default 60)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the flights' samples here")
    parser.add_argument(
        "--most", type=int, default=12, metavar="N", help="challengers that run at a time (default 12)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures")
    args = parser.parse_args(argv)
    variant = Variant(rows=args.rows)
    streams = folder(args.streams, variant) if args.streams else generated(variant)
    streams += [one for one in flights(args.cache, args.rows, args.days) if one.name == CLEAN]
    rows = []
    for stream in streams:
        if args.only and stream.name not in args.only:
            continue
        rows.append(row(stream, args.most, lambda line: print(line, file=sys.stderr, flush=True)))
        last = rows[-1]
        best = min(last["alone"], key=last["alone"].__getitem__)
        print(
            f"{last['stream']:28} best alone {best} {last['alone'][best]:.4f}, median alone "
            f"{np.median(list(last['alone'].values())):.4f}, halving {last['of']['halving']:.4f}, bandit "
            f"{last['of']['bandit']:.4f}, fold {last['of']['fold without a race']:.4f}, with the race "
            f"{last['of']['fold with the race']:.4f} ({last['to_best_alone']:.3f} of the best alone)",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps({"most": args.most, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
