"""What was asked for, against what was decided, what stands in the samples log, and what is told of the model.

Laws of this file: what the log says was commanded is believed only where somebody asked for it, in so many words, once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.faults.counts import Counts
from tests.faults.reference import NaiveLearner


def check_requests(world: Any, parts: list[list[Any]], counts: Counts) -> None:
    """Every request was decided in one way and carried out once by whoever learns, and nothing else was."""
    logged: dict[str, str] = {}
    for one in (one for part in parts for one in part if one.kind == "command"):
        command, verb = one.says["id"], one.says["verb"]
        counts.known_repeats += logged.get(command) == verb
        if logged.setdefault(command, verb) != verb:
            counts.add("torn", f"{command} is a {logged[command]} and, at {one.position}, a {verb}")
    decided = _decided(world, counts) if world.asked else {}
    for request in decided.keys() - world.asked.keys():
        counts.add("wrong", f"{request} was decided on, and nobody asked")
    commands: dict[str, str] = {}
    for request in world.asked:
        verdict = decided.get(request)
        if verdict is None:
            counts.add("lost", f"{request} was never decided on")
        elif (command := (verdict["command"] or {}).get("id")) is None:
            counts.add("wrong", f"{request} was refused: {verdict['why']}")
        else:
            commands[command] = request
    for command, verb in logged.items():
        if command not in commands:
            counts.add("repeated", f"{command} stands in the log, and no request asks for it")
        elif verb != world.asked[commands[command]]:
            counts.add("wrong", f"{commands[command]} was carried out as {verb}")
    if world.asked:
        _carried_out(world, parts[0], logged, commands, counts)


def _decided(world: Any, counts: Counts) -> dict[str, Any]:
    """The decision on each request."""
    decided: dict[str, Any] = {}
    for record in world.raw.whole("control.decisions")[0]:
        one = json.loads(record.value or b"")
        if one["pipeline"] == world.name and decided.setdefault(one["request"], one) != one:
            counts.add("torn", f"{one['request']} was decided in two ways")
    return decided


def _carried_out(
    world: Any, accepted: list[Any], logged: Mapping[str, str], commands: Mapping[str, str], counts: Counts
) -> None:
    """What is told of the model names every command once, and those as refused that the naive learner refuses."""
    live: dict[str, Any] = {}
    for record in world.raw.whole("control.models")[0]:
        one = json.loads(record.value or b"{}")
        if one.get("pipeline") == world.name:
            live = one
    applied, refused = list(live.get("applied", [])), live.get("refused", {})
    learner = NaiveLearner([], world.pipeline.model, 0)
    for one in accepted:
        if one.kind == "command":
            learner.command(one.position, one.says["id"], one.says["verb"])
    if bool(live.get("held")) != (learner.hold is not None):
        counts.add("wrong", f"learning is held: {live.get('held')}, by the log: {learner.hold is not None}")
    for command, request in commands.items():
        if command not in logged or (command not in applied and command not in refused):
            counts.add("lost", f"{request} was decided on and not carried out")
        if applied.count(command) + (command in refused) > 1:
            counts.add("repeated", f"{request} was carried out again")
        if command in refused and command not in learner.refused:
            counts.add("lost", f"{request} was refused by learn: {refused[command]}")
