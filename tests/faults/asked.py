"""What was asked for, against what was decided, what stands in the samples log, and what is told of the model."""

from __future__ import annotations

import json
from typing import Any

from tests.faults.counts import Counts
from tests.faults.reference import NaiveLearner


def check_requests(world: Any, parts: list[list[Any]], counts: Counts) -> None:
    """Every request was decided in one way, and carried out once by whoever learns."""
    decided: dict[str, Any] = {}
    for record in world.raw.whole("control.decisions")[0]:
        one = json.loads(record.value or b"")
        if one["pipeline"] != world.name:
            continue
        if decided.setdefault(one["request"], one) != one:
            counts.add("torn", f"{one['request']} was decided in two ways")
    live: dict[str, Any] = {}
    for record in world.raw.whole("control.models")[0]:
        one = json.loads(record.value or b"{}")
        if one.get("pipeline") == world.name:
            live = one
    applied, refused = list(live.get("applied", [])), live.get("refused", {})
    logged = [one.says["id"] for one in parts[0] if one.kind == "command"]
    learner = NaiveLearner([], world.pipeline.model, 0)
    for one in parts[0]:
        if one.kind == "command":
            learner.command(one.position, one.says["id"], one.says["verb"])
    if bool(live.get("held")) != (learner.hold is not None):
        counts.add("wrong", f"learning is held: {live.get('held')}, by the log: {learner.hold is not None}")
    for request in world.asked:
        verdict = decided.get(request)
        if verdict is None:
            counts.add("lost", f"{request} was never decided on")
            continue
        command = (verdict["command"] or {}).get("id")
        if command is None:
            counts.add("wrong", f"{request} was refused: {verdict['why']}")
            continue
        counts.known_repeats += max(logged.count(command) - 1, 0)
        if command not in logged or (command not in applied and command not in refused):
            counts.add("lost", f"{request} was decided on and not carried out")
        if applied.count(command) + (command in refused) > 1:
            counts.add("repeated", f"{request} was carried out again")
