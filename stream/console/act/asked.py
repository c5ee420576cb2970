"""A form → the request it asks for, as the command would make it, or what is wrong with the form.

Laws of this file:
- Pure. Beside its id, who asks and where, the request is the one that the shown command line makes.
- The id follows from what is asked, by whom, and from the form's own mark: the same confirmation is the same request, and another
  choice on the same form is another one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from penstock.stream.console.act.acts import APPROVE, Act, Waiting, waiting
from penstock.stream.console.page import Person
from penstock.stream.console.state import PipelineState
from penstock.stream.messages import OperatorRequest, encode_json
from penstock.stream.operate.asking import asked_by, command_line, wrong_in

SOURCE = "console"
ONCE = re.compile(r"[0-9a-f]{32}")
LABELS = {
    "reason": "The reason",
    "version": "The version",
    "other": "The version",
    "window": "The window",
    "from_position": "The position",
    "waits": "The request",
    "by": "Your name",
    "id": "The form’s mark",
}


class Form(NamedTuple):
    """What a form comes to: a request, or what is wrong, by field."""

    request: OperatorRequest | None
    wrong: Mapping[str, str]


def request_of(act: Act, form: Mapping[str, str], state: PipelineState, person: Person, wall_ms: int) -> Form:
    """The request of a form, or what is wrong with it."""
    wrong: dict[str, str] = {}
    reason = form.get("reason", "").replace("\r\n", "\n").strip()  # as browsers end the lines of a form
    if not reason:
        wrong["reason"] = "Say why: the reason is kept with the decision and the model."
    once = form.get("once", "")
    if not ONCE.fullmatch(once):
        wrong["id"] = "This form is not complete. Begin again from the page of acts."
    fields = _approved(form, state, wrong) if act.name == APPROVE else _chosen(act, form, wrong)
    if wrong or fields is None:
        return Form(None, wrong)
    request = OperatorRequest(
        id="-", pipeline=state.name, reason=reason, by=person.name, source=SOURCE, **fields
    )
    for found in wrong_in(request):
        wrong.setdefault(found.field, f"{LABELS.get(found.field, found.field)} {found.said}.")
    if wrong:
        return Form(None, wrong)
    digest = hashlib.sha256(once.encode() + encode_json(request)).hexdigest()[:16]
    return Form(msgspec.structs.replace(request, id=f"{SOURCE}-{once[:16]}-{digest}", wall_ms=wall_ms), {})


def _chosen(act: Act, form: Mapping[str, str], wrong: dict[str, str]) -> dict[str, Any] | None:
    """The fields of an act that a person begins."""
    fields: dict[str, Any] = {"verb": act.verb}
    if "version" in act.fields:
        version = form.get("other", "").strip() or form.get("version", "").strip()
        if not version and act.pin:
            wrong["version"] = "Choose the version that is to be pinned."
        fields |= {"version": version} if version else {}
    if act.pin or ("pin" in act.fields and form.get("pin") == "yes"):
        fields["pin"] = True
    position = form.get("from_position", "").strip().removeprefix("@").replace(",", "")
    if "from_position" in act.fields and position:
        if position.isascii() and position.isdecimal() and len(position) < 20:
            fields["from_position"] = int(position)
        else:
            wrong["from_position"] = "The position must be a whole number: an offset of the samples log."
    if "window" in act.fields and form.get("window", "").strip():
        fields["window"] = form["window"].strip()
    return fields


def _approved(form: Mapping[str, str], state: PipelineState, wrong: dict[str, str]) -> dict[str, Any] | None:
    """The fields of the request that waits, as its command says them."""
    found = next((one for one in waiting(state) if one.id == form.get("waits", "")), None)
    if found is None:
        wrong["waits"] = "Choose what you approve. What you chose before waits no more, if you had chosen."
        return None
    return proposed(found, state.name)


def proposed(one: Waiting, pipeline: str) -> dict[str, Any]:
    """What a waiting request asks for, without its reason: as its event's command line says, where that is of this pipeline."""
    said = asked_by(one.event.data.command) if one.event is not None else None
    if said is None or said["verb"] != one.verb or said["pipeline"] != pipeline:
        return {"verb": one.verb}
    return {name: value for name, value in said.items() if name not in ("reason", "pipeline")}


def example(act: Act, state: PipelineState) -> str:
    """The command line of an act, with a reason still to be given."""
    if act.name == APPROVE:
        waits = waiting(state)
        return command_of(proposed(waits[0], state.name), state.name) if waits else ""
    version = {"version": "VERSION"} if "version" in act.fields else {}
    return command_of({"verb": act.verb, **version, **({"pin": True} if act.pin else {})}, state.name)


def command_of(fields: Mapping[str, Any], pipeline: str, reason: str = "…") -> str:
    """The command line of a request's fields."""
    made = OperatorRequest(id="-", pipeline=pipeline, reason=reason, by="", **fields)
    return command_line(made).replace("'…'", "…")
