"""The fold's live predictions beside the same model left alone and river's restarts, on flights, files and generated streams.

Every row is predicted before its label. passive is the river model alone; restart the better of river's
DriftRetrainingClassifier with DDM and a model begun anew at ADWIN; gate what the fold predicts live; best the one
expert that would have lost least, the gate's own loss standing where it was not asked. All with the same delays, in
nats per label, probabilities clipped to [0.002, 0.998]. The policy takes no part: what the fold asks for (retrain,
rollback, promotion) is counted as committed, and not carried out. pred/l and lrn/l are predictions and learnings of
experts per label; week and after are the gate's losses in the incident's week and the four weeks after it, over
those of the year without incident. Streams are river's generators unless a folder or a file is given.

Run: python -m benchmarks.gate [--model ht] [--streams DIR] [--no-flights] [--json FILE]
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gate_flights import CLEAN, NAME, around_incident
from benchmarks.gate_fold import Watched, watch
from benchmarks.gate_options import chosen, parser
from benchmarks.gate_rivals import CLIP, MODELS, kept_predictions, losses, model_of
from benchmarks.gate_streams import CannotRead, Opened, Stream
from benchmarks.written import write
from penstock.stream.process.interpreter import settle_memory

TELL_S = 5.0
Tell = Callable[[int], None]
WIDTHS = {
    "n": 7, "passive": 8, "restart": 8, "gate": 8, "best": 8, "to_passive": 10, "to_restart": 10, "leads": 5, "told": 5,
    "committed": 9, "predictions_per_label": 6, "learned_per_label": 6, "incident_week": 6, "after": 6, "drift_to_lead": 0,
}  # fmt: skip
TITLES = {
    "to_passive": "÷ passive", "to_restart": "÷ restart", "predictions_per_label": "pred/l", "learned_per_label": "lrn/l",
    "incident_week": "week", "drift_to_lead": "labels from drift to lead",
}  # fmt: skip


@dataclass
class Clean:
    """Mean losses of the year without incident, in the incident's week and the four after it, of gate and passive."""

    gate: tuple[float, float]
    passive: tuple[float, float]


def measured(
    stream: Stream, opened: Opened, name: str, model: Any, clean: Clean | None, cache: Path | None
) -> dict[str, Any]:
    """One row: this model on this stream. `clean` is the same model's year without incident, for flights with one."""
    tell = progress(f"{stream.name} {name}: rivals", len(opened.truth))
    # What a model of a file does may change without its name.
    rivals = kept_predictions(cache if name in MODELS else None, model, opened, tell)
    watched = watch(model, opened, progress(f"{stream.name} {name}: fold", len(opened.truth)))
    gate = losses(watched.said, opened)
    lost = {rival: losses(said, opened) for rival, said in rivals.items()}
    mean = {rival: float(found.mean()) for rival, found in lost.items()}
    n, restart = len(gate), min(mean["ddm"], mean["adwin"])
    row: dict[str, Any] = {
        "stream": stream.name,
        "model": name,
        "n": n,
        "passive": mean["passive"],
        "restart": restart,
        "gate": float(gate.mean()),
        "best": None if watched.best is None else float(gate.mean()) + watched.best / n,
        **counted(watched),
        "restart_ddm": mean["ddm"],
        "restart_adwin": mean["adwin"],
        "to_passive": float(gate.mean()) / mean["passive"],
        "to_restart": float(gate.mean()) / restart,
    }
    if stream.name.startswith(NAME):
        week, after = around_incident(gate, opened)
        own = Clean((week, after), around_incident(lost["passive"], opened))
        row |= {"week_loss": finite(week), "after_loss": finite(after)}
        row |= beside(own, own if stream.name == CLEAN else clean)
        row["passive_week_loss"], row["passive_after_loss"] = map(finite, own.passive)
    return row


def counted(watched: Watched) -> dict[str, Any]:
    """The figures of a row that are counts."""

    def per_label(number: int | None) -> float | None:
        return None if number is None or not watched.labels else number / watched.labels

    return {
        "leads": watched.leads,
        "told": watched.told,
        "committed": watched.committed,
        "drift_to_lead": watched.found,
        "predictions_per_label": per_label(watched.asked),
        "learned_per_label": per_label(watched.taught),
        "labels": watched.labels,
        "entries": watched.entries,
        "fold_cpu_s": watched.cpu_s,
    }


def beside(own: Clean, clean: Clean | None) -> dict[str, float | None]:
    """The losses around the incident over those of the year without it; None where that was not run or has none."""
    if clean is None:
        return dict.fromkeys(("incident_week", "after", "incident_week_passive", "after_passive"))
    return {
        "incident_week": finite(own.gate[0] / clean.gate[0]),
        "after": finite(own.gate[1] / clean.gate[1]),
        "incident_week_passive": finite(own.passive[0] / clean.passive[0]),
        "after_passive": finite(own.passive[1] / clean.passive[1]),
    }


def finite(value: float) -> float | None:
    """JSON has no NaN: None for it."""
    return value if math.isfinite(value) else None


def rows(
    streams: Iterable[Stream], models: Sequence[tuple[str, Any]], cache: Path | None = None
) -> Iterable[dict[str, Any]]:
    """Every stream with every model, one after the other."""
    clean: dict[str, Clean] = {}
    for stream in streams:
        say(f"{stream.name}: reading")
        try:
            opened = stream.open()
        except CannotRead as error:
            raise CannotRead(f"{stream.name}: {error}") from None
        if all(y is None for y in opened.truth):
            raise CannotRead(f"{stream.name}: no label comes; read more rows")
        settle_memory()
        for name, model in models:
            row = measured(stream, opened, name, model, clean.get(name), cache)
            if stream.name == CLEAN and row["week_loss"] and row["after_loss"]:
                clean[name] = Clean(
                    (row["week_loss"], row["after_loss"]),
                    (row["passive_week_loss"], row["passive_after_loss"]),
                )
            yield row
        # Before the next is read: a year of flights fills much memory.
        del opened


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is written as JSON. The fold's speed is that of the flights without incident if they were run, else of all."""
    timed = [row for row in found if row["stream"] == CLEAN] or found
    return {
        "rows": found,
        "worst_to_passive": max(row["to_passive"] for row in found),
        "worst_to_restart": max(row["to_restart"] for row in found),
        "fold_entries_per_cpu_s": sum(row["entries"] for row in timed)
        / max(sum(row["fold_cpu_s"] for row in timed), 1e-9),
        "clip": CLIP,
    }


# -- what is printed -----------------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


def progress(what: str, total: int) -> Tell:
    """Tell about every five seconds how many samples are done."""
    last = [time.monotonic()]

    def tell(number: int) -> None:
        if time.monotonic() - last[0] >= TELL_S:
            last[0] = time.monotonic()
            say(f"{what}: {number:,} of {total:,} samples")

    return tell


def shown(value: Any) -> str:
    """A figure of the table."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join("-" if one is None else f"{one:,}" for one in value) or "-"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


def line(first: str, second: str, width: int, cells: dict[str, str]) -> str:
    """One line of the table."""
    rest = "  ".join(f"{cells[name]:>{size}}" for name, size in WIDTHS.items())
    return f"{first:<{width}}  {second:<5}  {rest}".rstrip()


# -- the command ---------------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    args = parser(__doc__).parse_args(arguments)
    try:
        streams, models = chosen(args), [model_of(text) for text in args.model or ["lr"]]
        width = max(len(one.name) for one in streams)
        print(f"log loss in nats per label, probabilities clipped to [{CLIP}, {1 - CLIP}]", flush=True)
        print(line("stream", "model", width, {name: TITLES.get(name, name) for name in WIDTHS}), flush=True)
        found = []
        for row in rows(streams, models, args.cache):
            found.append(row)
            cells = {name: shown(row.get(name)) for name in WIDTHS}
            print(line(row["stream"], row["model"], width, cells), flush=True)
    except (CannotRead, FileNotFoundError) as error:
        print(f"penstock bench gate: {error}", file=sys.stderr)
        return 2
    figures = summary(found)
    print(f"worst: {figures['worst_to_passive']:.4f} × passive, {figures['worst_to_restart']:.4f} × restart")
    print(f"the fold: {figures['fold_entries_per_cpu_s']:,.0f} entries per CPU second")
    write(figures, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
