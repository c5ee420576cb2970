"""One act: its form; then, of a form that is filled in, what it would do, and the confirmation. Posted, it is asked for.

Laws of this file:
- Pure. Nothing is asked for by looking: the preview is an address, the confirmation a post.
- What is posted is judged again, whatever the page before it showed: who may, whether it can be done now, what is in the form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from penstock.stream.console.act.acts import ACTS, Act, cannot, role_for, waiting
from penstock.stream.console.act.asked import command_of, example, proposed, request_of
from penstock.stream.console.act.preview import preview, trained
from penstock.stream.console.page import Asked, Asking, NotFound, Page, Refused
from penstock.stream.operate.asking import command_line
from penstock.stream.operate.expert_lines import kind_in_words, role

WINDOWS = ("", "all", "since-onset", "7d", "30d", "90d")
FIELDS = ("reason", "version", "other", "pin", "from_position", "window", "waits", "once")


def _act(asked: Asked) -> Act:
    act = ACTS.get(asked.path["act"])
    if act is None:
        raise NotFound(f"there is no act {asked.path['act']!r}; there are: {', '.join(ACTS)}")
    return act


def shown(asked: Asked) -> Mapping[str, Any]:
    """The form, or the preview of what it comes to."""
    state, act = asked.state, _act(asked)
    given = {name: asked.query.get(name, "") for name in FIELDS}
    given["once"] = given["once"] or asked.once
    filled = "once" in asked.query
    form = request_of(act, given, state, asked.person, asked.now_ms)
    request = form.request if filled else None
    needs = role_for(act, state, request.verb if request is not None else None)
    live = state.live
    return {
        "state": state,
        "act": act,
        "given": given,
        "wrong": form.wrong if filled else {},
        "request": request,
        "command": command_line(request) if request is not None else example(act, state),
        "preview": preview(request, state, asked.definition) if request is not None else None,
        "cannot": cannot(act, state),
        "needs": needs,
        "may": asked.asks and asked.person.may(needs),
        "asks": asked.asks,
        "person": asked.person,
        "versions": [
            (one.version, kind_in_words(one.kind), role(one, live), f"{one.weight:.1%}", trained(one, live))
            for one in sorted(live.experts, key=lambda one: -one.weight)
            if one.kind != "base"
        ]
        if live
        else [],
        "windows": WINDOWS,
        "waits": [(one, command_of(proposed(one, state.name), state.name)) for one in waiting(state)],
        "form_at": f"/pipelines/{quote(state.name)}/act/{act.name}",
        "back": "?" + urlencode({name: value for name, value in given.items() if value and name != "once"}),
    }


def posts(asked: Asked) -> Asking:
    """The request of a confirmation."""
    state, act = asked.state, _act(asked)
    form = request_of(act, asked.query, state, asked.person, asked.now_ms)
    needs = role_for(act, state, form.request.verb if form.request is not None else None)
    if not asked.person.may(needs):
        raise Refused(403, f"{_who(asked)} may not ask for this: it takes {a(needs)}.")
    if form.request is None:
        raise Refused(400, " ".join(form.wrong.values()))
    if why := cannot(act, state):
        raise Refused(409, why)
    return Asking(form.request, f"/pipelines/{quote(state.name)}/asked/{quote(form.request.id)}")


def _who(asked: Asked) -> str:
    person = asked.person
    return f"{person.name}, {a(person.role)}," if person.name else "Somebody who is not logged in"


def a(role: str) -> str:
    """A role with its article."""
    return f"{'an' if role[0] in 'aeiou' else 'a'} {role}"


PAGE = Page("act_one", "Act", "/pipelines/{pipeline}/act/{act}", shown, posts=posts)
