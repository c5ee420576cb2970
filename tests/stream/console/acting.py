"""People, and consoles that they act from: requests go to a list, or to a flow in memory."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from penstock.stream.console.page import Role
from penstock.stream.console.state import States
from penstock.stream.console.who import passwords
from penstock.stream.console.who.password_file import PasswordFile
from penstock.stream.console.who.people import People
from penstock.stream.console.who.proxy import Proxies
from penstock.stream.definitions import Pipeline
from penstock.stream.messages import OperatorRequest
from tests.stream.console.year import console_of
from tests.stream.generated import parcels

PASSWORD = "correct horse battery"
OURS = {"Sec-Fetch-Site": "same-origin"}
ROLES: dict[str, Role] = {"vera": "viewer", "omar": "operator", "ada": "approver"}
CHEAP = 2
"""scrypt's cost in tests."""


def password_file(folder: Path, **more: Role) -> PasswordFile:
    """A file with somebody of each role, all with `PASSWORD`."""
    path = folder / "people.txt"
    lines = [
        f"{name}:{role}:{passwords.hashed(PASSWORD, b'salt' * 4, CHEAP)}"
        for name, role in {**ROLES, **more}.items()
    ]
    path.write_text("# people\n\n" + "\n".join(lines) + "\n")
    path.chmod(0o600)
    return PasswordFile(path)


class Desk:
    """A console where people can log in; `sent` are the requests that it made."""

    def __init__(
        self,
        states: States,
        people: People,
        *,
        asks: bool = True,
        definitions: dict[str, Pipeline] | None = None,
        sources: Any = None,
    ) -> None:
        self.sent: list[OperatorRequest] = []
        self.console = console_of(
            states,
            {"parcels": parcels()} if definitions is None else definitions,
            people=people,
            ask=self.sent.append if asks else None,
            wall_ms=lambda: 77,
            sources=sources,
        )

    def browser(self, **options: Any) -> TestClient:
        """Somebody's browser, which nobody told anything."""
        return TestClient(self.console, follow_redirects=False, **options)

    def of(self, name: str) -> TestClient:
        """The browser of somebody who logged in."""
        browser = self.browser(headers=OURS)
        answer = browser.post("/login", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return browser


def behind_a_proxy(groups: str = "sre=operator,leads=approver", address: str = "10.0.0.7") -> People:
    """People whom a proxy at an address names."""
    return People(proxies=Proxies.of([address], groups.split(",")), anonymous=False)


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's forms."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in found}


def filled(
    browser: TestClient, act: str, fields: Mapping[str, str], pipeline: str = "parcels"
) -> dict[str, str]:
    """Go from an act's form to its preview; the fields of the confirmation."""
    form = browser.get(f"/pipelines/{pipeline}/act/{act}")
    assert form.status_code == 200
    preview = browser.get(f"/pipelines/{pipeline}/act/{act}", params={**hidden(form.text), **fields})
    assert preview.status_code == 200, preview.text
    return {name: value for name, value in hidden(preview.text).items() if name != "next"}
