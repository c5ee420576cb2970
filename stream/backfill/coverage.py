"""Whether topics still reach back as far as the features that are to be rebuilt from them look."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.features.define.view import View
from penstock.features.engine.change import ViewChange
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.formats.reading import reader_of
from penstock.stream.log.protocol import TP, Log


def short_of(pipeline: Pipeline, log: Log, change: ViewChange, now_at: int) -> Iterator[str]:
    """Say where rebuilt features look back further than their topic does, as of event time `now_at` in ms."""
    view = next((view for view in pipeline.views if view.name == change.name), None)
    if view is None or not change.rebuilt:
        return
    horizon_ms = _horizon_ms(view, change)
    tps = [(view.source.name, partition) for partition in range(log.partitions(view.source.name))]
    for tp, (low, high) in log.bounds(tps).items():
        if low == 0:
            continue
        first_at = _first_at(pipeline, log, tp, low) if low < high else now_at
        if horizon_ms is None or first_at > now_at - horizon_ms:
            yield (
                f"view {view.name}: {', '.join(change.rebuilt)} look back further than {tp[0]}[{tp[1]}], "
                f"whose first {low:,} records are gone"
            )


def before_files_end(pipeline: Pipeline, change: ViewChange, since: int, now_at: int) -> Iterator[str]:
    """Say where rebuilt features look back to what came from files, up to event time `since` (0: not known, -1: no files)."""
    view = next((view for view in pipeline.views if view.name == change.name), None)
    if view is None or not change.rebuilt or since < 0:
        return
    horizon_ms = _horizon_ms(view, change)
    if horizon_ms is None or since == 0 or now_at - horizon_ms < since:
        yield (
            f"view {view.name}: {', '.join(change.rebuilt)} look back to what `penstock bootstrap` read from files, and no "
            "topic has"
        )


def _horizon_ms(view: View, change: ViewChange) -> int | None:
    """How far the rebuilt features of a view look back; None where for ever."""
    rebuilt = {name: view.features[name] for name in change.rebuilt}
    return View(view.name, view.source, view.key, rebuilt, view.ttl).horizon_ms


def _first_at(pipeline: Pipeline, log: Log, tp: TP, low: int) -> int:
    """The event time of a partition's first record that can be used."""
    source = next(source for source in pipeline.sources if source.name == tp[0])
    reader = log.reader({tp: low})
    try:
        items = SourceDecoder(pipeline, source, reader_of(source)).items(reader.poll(1_000, 2.0), -1)
    finally:
        reader.close()
    return next((item.at for item in items if item.event is not None), 0)
