"""What differs from task to task: what an expert answers, how answers are mixed, and how likely each made what happened."""

from __future__ import annotations

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.tasks.anomaly import Anomaly
from penstock.stream.learn.tasks.binary import Binary
from penstock.stream.learn.tasks.multiclass import Multiclass
from penstock.stream.learn.tasks.regression import Regression
from penstock.stream.learn.tasks.task import Task
from penstock.stream.learn.tasks.unlabelled import Unlabelled
from penstock.stream.task_kind import Kind


def task_of(pipeline: Pipeline) -> Task:
    """The task of a definition, as it begins."""
    kind = pipeline.kind
    if kind == "anomaly":
        return Anomaly(pipeline.alert_share)
    if kind == "unlabelled":
        return Unlabelled(pipeline.alert_share)
    makes: dict[Kind, type[Task]] = {"multiclass": Multiclass, "regression": Regression}
    return makes.get(kind, Binary)()
