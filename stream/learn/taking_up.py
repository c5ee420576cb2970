"""What a learn worker finds when it becomes the owner, and says of what it finds later."""

from __future__ import annotations

import logging

from penstock.features.redis.store import StateLost, StateStore
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.snapshot import SamplesGone, restore_fold
from penstock.stream.learn.stored_snapshot import StoredSnapshot
from penstock.stream.log.protocol import Log
from penstock.stream.messages import Recipe
from penstock.stream.models.version import BadEnvelope

logger = logging.getLogger("penstock.learn")


def acquired(store: StateStore) -> bytes | None:
    """Take the task; its stored position, None where nothing is stored or half of it is lost."""
    try:
        return store.acquire()
    except StateLost as error:
        logger.warning("%s; folding the log anew", error)
        store.clear()
        return None


def restored(
    snapshot: StoredSnapshot, pipeline: Pipeline, log: Log, topic: str, *, guard: bool
) -> Fold | None:
    """The fold of the stored snapshot; None where there is none, or none that may be used.

    Raises `SamplesGone` where the log no longer has what comes next: another model is not begun unasked.
    """
    try:
        taken = snapshot.load()
        return None if taken is None else restore_fold(pipeline, taken, log, topic, guard=guard)
    except BadEnvelope as error:
        logger.warning("the snapshot is not used: %s", error)
        return None
    except SamplesGone as error:
        raise SamplesGone(
            f"{error}: keep the samples log longer, and start over with `penstock reset FILE`; or, to begin a new model with "
            f"what is left, delete the key {snapshot.key} in Redis"
        ) from None


def note_recipe(fold: Fold, recipe: Recipe, emitted_below: int) -> None:
    """Say under which recipe the log goes on, where it is news."""
    if fold.recipes.foreign and fold.position > emitted_below:
        logger.warning(
            "the samples log goes on under recipe %s, this worker's is %s: it predicts and learns what both define alike, "
            "and decides nothing, until featurize runs under its own; start learn with featurize's definition",
            recipe.digest,
            fold.recipe,
        )


def note_unknown(before: int, position: int, topic: str) -> int:
    """Say where the first record stands that is no entry; `before` is how many there were, and the answer how many there are."""
    if before == 0:
        logger.warning(
            "record %d of %s is nothing that this release knows: it is passed over, and so is all that is like it "
            "(penstock_unreadable_records counts them). If a newer release of Penstock wrote it, run that release for learn, too",
            position,
            topic,
        )
    return before + 1
