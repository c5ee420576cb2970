"""`--shard N`: which model of a pipeline that learns in shards is meant, for commands that are about one."""

from __future__ import annotations

import argparse

from penstock.stream.definition_error import DefinitionError
from penstock.stream.definitions import Pipeline
from penstock.stream.shards import of_shard


def add(command: argparse.ArgumentParser) -> None:
    """Register the option."""
    command.add_argument(
        "--shard", type=int, metavar="N", help="of a pipeline that learns in shards: the one that is meant"
    )


def asked(pipeline: Pipeline, shard: int | None) -> Pipeline:
    """The pipeline, or the shard of it that was asked for. Raises `DefinitionError` where it has several and none was named."""
    if shard is not None:
        return of_shard(pipeline, shard)
    if pipeline.shards > 1:
        raise DefinitionError(
            f"{pipeline.name!r} learns in {pipeline.shards} shards, each with a model of its own: say which with --shard N, "
            f"0 to {pipeline.shards - 1}"
        )
    return pipeline
