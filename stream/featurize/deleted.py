"""State that was lost is built again from what the topics still hold: where that is not all of it, it is said."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping

from penstock.stream.log.protocol import TP

logger = logging.getLogger("penstock.featurize")


def warn_of_deleted(bounds: Mapping[TP, tuple[int, int]], committed: Container[TP]) -> None:
    """Say of which partitions records are gone that this group has read, by the (start, end) of what is left."""
    for (topic, partition), (start, _) in sorted(bounds.items()):
        if start and (topic, partition) in committed:
            logger.warning(
                "the features of %s/%d are rebuilt without its first %s records, which Kafka has deleted: windows that reach "
                "further back, and features without a window, have other values than before, also in new samples",
                topic, partition, f"{start:,}",
            )  # fmt: skip
