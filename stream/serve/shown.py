"""What is told of a pipeline that is served.

Laws of this file:
- A function of the definition and of the models that answer now.
"""

from __future__ import annotations

import msgspec

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.replica import Replica
from penstock.stream.prediction import ModelRef
from penstock.stream.serve.answers import PipelineShown, Routing, ViewShown


def shown(
    pipeline: Pipeline, replica: Replica | None, why: str, challenger: str | None, challenger_why: str
) -> PipelineShown:
    """A pipeline and its models now. `challenger` is the version that is found for that of the definition."""
    views = [
        ViewShown(view.name, list(view.key_fields), list(view.features), list(view.numeric))
        for view in pipeline.views
    ]
    serving = pipeline.serving
    found = PipelineShown(
        name=pipeline.name,
        task=pipeline.kind,
        recipe=pipeline.digest,
        inputs=list(pipeline.inputs),
        views=views,
        ready=replica is not None,
        why=why,
        routing=Routing(
            challenger=serving.challenger, share=serving.share, version=challenger, why=challenger_why
        )
        if serving.challenger
        else None,
    )
    if replica is None:
        return found
    standing = replica.standing
    weights = standing.experts.weights()
    return msgspec.structs.replace(
        found,
        model=ModelRef(replica.live.version, 1.0 if standing.alone else weights[replica.live.version]),
        position=replica.position,
        trained_to=replica.trained_to,
        at=standing.at,
        learning_held=standing.held,
        weights=weights,
    )
