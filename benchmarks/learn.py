"""What learning costs: entries a CPU second through the whole fold beside bare river, by model and by number of experts.

    penstock bench learn [--days 20] [--rounds 3] [--model lr|ht|arf]... [--experts 1|4|6|8]... [--watchers on|off]...
                        [--json [FILE]]

One row a model and a number of experts: {"model", "experts", "entries_per_cpu_s", "river_per_cpu_s", "ratio", ...}. Entries
are samples and labels. `experts` is `Pipeline(experts=...)`: how many models may predict together beside the first; with 1 there
is the first alone, and nothing is done but to join, predict, learn and count. `asked` and `taught` say how many models answered
a sample, and learned a label, on average. `watchers` says whether quality and segments are watched, as the
definition asks, or not: switched off, learning is held against learning; on is what a user pays. With 1 expert nobody watches.

Laws of this file:
- Bare river predicts and learns the same entries in the same process, in turn with the fold; figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from river import forest, linear_model, preprocessing, tree

from benchmarks.fold import FLIGHTS, bare, samples_log, without_recipes
from benchmarks.written import write
from penstock.stream.definition_file import load, seeded
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.runs import Runs
from penstock.stream.learn.worker import BATCH_RECORDS
from penstock.stream.messages import Entry, LabelRecord, Sample
from penstock.stream.process.interpreter import settle_memory

MODELS = {
    "lr": preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    "ht": tree.HoeffdingTreeClassifier(),
    "arf": forest.ARFClassifier(seed=7),
}
EXPERTS = (1, 4, 6, 8)

Read = Sequence[tuple[int, Entry]]


def folded(read: Read, pipeline: Pipeline, experts: int) -> tuple[float, Fold]:
    """CPU seconds of the whole fold over `read`, and the fold; with one expert its actions are off."""
    fold = Fold(pipeline if experts == 1 else replace(pipeline, experts=experts), actions=experts > 1)
    outputs, runs = fold.outputs, Runs(fold)
    started = time.process_time()
    for begin in range(0, len(read), BATCH_RECORDS):  # as the worker does it
        batch = read[begin : begin + BATCH_RECORDS]
        positions, entries = [position for position, _ in batch], [entry for _, entry in batch]
        place = 0
        while place < len(batch):
            stepped = runs.run(entries, positions, place)
            if stepped == place:
                fold.step(positions[place], entries[place])
                stepped += 1
            place = stepped
        for told in (outputs.predictions, outputs.versions, outputs.live, fold.drift.requests):
            told.clear()
    seconds = time.process_time() - started
    assert fold.acting or experts == 1, "the log is of another definition"
    return seconds, fold


def rows(
    read: Read, names: Sequence[str], experts: Sequence[int], rounds: int, watchers: Sequence[str] = ("on",)
) -> Iterator[dict[str, Any]]:
    """The figures of each model, one row a number of experts, and whether watchers are on."""
    cases = [(most, one) for most in experts for one in (watchers if most > 1 else ["off"])]
    count = sum(isinstance(entry, Sample | LabelRecord) for _, entry in read)
    for name in names:
        pipeline = replace(load(FLIGHTS), model=seeded(MODELS[name].clone()))
        river: list[float] = []
        pipelines = {"on": pipeline, "off": replace(pipeline, quality=False, segments=())}
        spent: dict[tuple[int, str], list[float]] = {case: [] for case in cases}
        folds: dict[tuple[int, str], Fold] = {}
        for _ in range(rounds):
            river.append(bare(read, pipeline))
            for case in cases:
                seconds, folds[case] = folded(read, pipelines[case[1]], case[0])
                spent[case].append(seconds)
        alone = median(river)
        for case in cases:
            counts, seconds = folds[case].counts, median(spent[case])
            yield {
                "model": name,
                "experts": case[0],
                "watchers": case[1],
                "entries_per_cpu_s": round(count / seconds),
                "river_per_cpu_s": round(count / alone),
                "ratio": round(alone / seconds, 3),
                "best_ratio": round(min(river) / min(spent[case]), 3),
                "asked": round(counts.asked / max(counts.samples, 1), 2),
                "taught": round(counts.taught / max(counts.learned, 1), 2),
            }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=20, help="how many days of flights (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run (default 3)")
    parser.add_argument("--model", action="append", choices=sorted(MODELS), help="only this; may be repeated")
    parser.add_argument(
        "--experts", action="append", type=int, choices=EXPERTS, help="only so many; may be repeated"
    )
    parser.add_argument(
        "--watchers", action="append", choices=("on", "off"),
        help="whether quality and segments are watched; may be repeated (default on)",
    )  # fmt: skip
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-",
        help="write the rows as a JSON list, too; without FILE to standard output, and the table to standard error",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    read = without_recipes(samples_log(args.days))
    settle_memory()
    found = []
    told = sys.stderr if args.json == "-" else sys.stdout
    print("model  experts  watchers  entries/CPU s  river/CPU s   ratio  asked  taught", file=told)
    for row in rows(
        read, args.model or list(MODELS), args.experts or EXPERTS, args.rounds, args.watchers or ["on"]
    ):
        found.append(row)
        print(
            f"{row['model']:5}  {row['experts']:7}  {row['watchers']:8}  {row['entries_per_cpu_s']:13,}"
            f"  {row['river_per_cpu_s']:11,}  {row['ratio']:6.3f}  {row['asked']:5.2f}  {row['taught']:6.2f}",
            file=told,
            flush=True,
        )
    write(found, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
