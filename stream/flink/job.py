"""The job: Kafka → partitions → shards → samples → Kafka, built and submitted.

Laws of this file:
- Everything between two checkpoints becomes visible at once, or never: the sink's transactions are committed with a checkpoint.
- A job goes on from the newest checkpoint in its folder, if there is one. Nothing else says where it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pyflink
from pyflink.common import Configuration, Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from penstock.stream.definitions import Pipeline
from penstock.stream.flink.operators import (
    MESSAGE,
    OUT,
    TO_SAMPLES,
    ReadOperator,
    SamplesOperator,
    ShardOperator,
)
from penstock.stream.flink.settings import JobSettings, java_properties
from penstock.stream.flink.tables import sink_table, source_table

KEPT_CHECKPOINTS = 3


class Submission(NamedTuple):
    """How a job is run: `cluster` is the address of a JobManager's REST API, empty for a cluster in this process.

    `checkpoints` is a URI; `start_from` the checkpoint to go on from, empty for a beginning.
    """

    jar: str
    checkpoints: str
    start_from: str = ""
    cluster: str = ""
    parallelism: int = 1
    checkpoint_every_ms: int = 2_000
    python: str = "thread"


def configuration(how: Submission, executable: str) -> Configuration:
    """Flink's own settings."""
    given = {
        "pipeline.jars": ";".join(jar.absolute().as_uri() for jar in jars(how)),
        "table.local-time-zone": "UTC",
        "parallelism.default": str(how.parallelism),
        "python.execution-mode": how.python,
        "python.executable": executable,
        "python.client.executable": executable,
        "python.fn-execution.bundle.time": "20",
        "execution.checkpointing.interval": f"{how.checkpoint_every_ms} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.dir": how.checkpoints,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": str(KEPT_CHECKPOINTS),
    }
    if how.start_from:
        given["execution.state-recovery.path"] = how.start_from
    if how.cluster:
        host, _, port = how.cluster.rpartition(":")
        given |= {"execution.target": "remote", "rest.address": host, "rest.port": port}
    else:
        given |= {
            "execution.target": "local",
            "taskmanager.numberOfTaskSlots": str(how.parallelism),
            "rest.port": "0",
        }
    found = Configuration()
    for name, value in given.items():
        found.set_string(name, value)
    return found


def jars(how: Submission) -> list[Path]:
    """What the job needs where it runs; on a cluster of others Flink's own part of PyFlink, too."""
    of_python = (Path(pyflink.__file__).parent / "opt").glob("flink-python-*.jar")
    return [Path(how.jar), *(of_python if how.cluster else ())]


def environment(given: Configuration, cluster: str) -> StreamExecutionEnvironment:
    """Flink's environment; PyFlink's own way to one ignores where it is told to submit to."""
    if not cluster:
        return StreamExecutionEnvironment.get_execution_environment(given)
    java = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    return StreamExecutionEnvironment(java(given._j_configuration))


def build(pipeline: Pipeline, settings: JobSettings, how: Submission, executable: str) -> Any:
    """The environment with the whole job in it; `execute_async` submits it."""
    env = environment(configuration(how, executable), how.cluster)
    tables = StreamTableEnvironment.create(env)
    properties = {"bootstrap.servers": settings.bootstrap, **java_properties(settings.kafka)}
    tables.execute_sql(source_table(pipeline, properties))
    seeds = ", ".join(f"('{pipeline.sources[s].name}', {n})" for s, n in settings.heads)
    read = tables.sql_query(
        "SELECT k, v, `topic`, `partition`, `offset`, "
        "EXTRACT(EPOCH FROM `at`) * 1000 + EXTRACT(MILLISECOND FROM `at`), `headers` FROM penstock_sources UNION ALL "
        "SELECT CAST(NULL AS BYTES), CAST(NULL AS BYTES), CAST(t AS STRING), p, CAST(-1 AS BIGINT), "
        "CAST(0 AS BIGINT), CAST(NULL AS MAP<STRING, BYTES>) "
        f"FROM (VALUES {seeds}) AS heads(t, p)"
    )
    records = tables.to_data_stream(read)
    partitions = (
        records.key_by(lambda r: f"{r[2]}/{r[3]}", Types.STRING())
        .process(ReadOperator(settings), MESSAGE)
        .name("read")
        .uid("read")
    )
    shards = (
        partitions.key_by(lambda r: r[0], Types.INT())
        .process(ShardOperator(settings), MESSAGE)
        .name("views")
        .uid("views")
    )
    outs = (
        partitions.get_side_output(TO_SAMPLES)
        .union(shards)
        .key_by(lambda r: r[0], Types.INT())
        .process(SamplesOperator(settings), OUT)
        .name("samples")
        .uid("samples")
        .set_parallelism(1)
    )
    tables.execute_sql(sink_table(pipeline, settings.prefix, properties))
    inserting = tables.create_statement_set()
    inserting.add_insert("penstock_outs", tables.from_data_stream(outs))
    inserting.attach_as_datastream()
    return env
