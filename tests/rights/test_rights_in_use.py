"""Every role and command with exactly the rights that `penstock acls` prints: the whole loop, the console, people, the admin.

Law of this file: after each test Valkey has refused nothing to anybody, and no role has ended.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx2
import pytest

from tests.patience import PATIENCE_S, eventually
from tests.rights.conftest import EVENTS, read_by
from tests.rights.secured import Deployment, Role, events, get
from tests.stream.console.acting import OURS, PASSWORD, filled, hidden, password_file
from tests.stream.console.test_pages import text_of

PAGES = "/pipelines/cards"
BURIED = "without-a-time"
ROLES = ("featurize", "learn", "control", "challenge")


class Lived:
    """A deployment whose roles run, each as its own user."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.roles = {role: deployment.start(role, "--port", "0") for role in ROLES}
        self.more: list[Role] = []

    def ended(self) -> str:
        """What those said that ended, and what was refused."""
        ended = [one.log.read_text() for one in self.roles.values() if one.process.poll() is not None]
        return "".join([*ended, *self.deployment.refused_by_redis()])

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for it, or for a role that ends."""
        assert eventually(lambda: bool(holds() or self.ended())), [
            one.log.read_text() for one in self.roles.values()
        ]
        assert not self.ended(), self.ended()

    def start(self, role: str, user: str = "", change: Mapping[str, str] | None = None) -> str:
        """One more role; its address once it is ready."""
        self.more.append(self.deployment.start(role, "--port", "0", user=user, change=change))
        address = self.more[-1].address()
        self.until(lambda: get(address, "/readyz")[0] == 200)
        return address

    def ask(self, user: str, *words: str) -> str:
        """What a command prints as this user; `status` and `check` say by their code how all is, too."""
        done = self.deployment.command(user, *words)
        assert done.returncode in ((0, 1) if words[0] in ("status", "check") else (0,)), (
            words,
            done.stdout,
            done.stderr,
        )
        refused = self.deployment.refused_by_redis()
        assert not refused, (words, refused)
        return done.stdout

    def stop(self) -> None:
        """End the roles, each of which says that it was told to."""
        running = [*self.roles.values(), *self.more]
        for one in running:
            one.process.send_signal(signal.SIGTERM)
        for one in running:
            assert one.process.wait(PATIENCE_S) == 0, one.log.read_text()


@pytest.fixture(scope="module")
def lived(deployment: Deployment) -> Iterator[Lived]:
    deployment.forget_refusals()
    made = Lived(deployment)
    addresses = {name: role.address() for name, role in made.roles.items()}
    made.until(lambda: read_by(addresses["learn"], "samples") >= EVENTS)
    for address in addresses.values():
        made.until(lambda a=address: get(a, "/readyz")[0] == 200)
    yield made
    if made.roles["learn"].process.poll() is None:
        made.stop()


def file_of(lived: Lived) -> str:
    return str(lived.deployment.file)


def test_a_person_asks_control_decides_and_learn_carries_it_out(lived: Lived) -> None:
    asked = ("cards", "--reason", "a drill", "--wait", "200")
    lived.ask("operator", "retrain", *asked)
    lived.ask("operator", "rollback", *asked, "--version", "v0")
    assert not lived.ended()


def test_a_challenger_that_wins_takes_part(lived: Lived) -> None:
    def inside() -> bool:
        live = json.loads(lived.ask("operator", "models", file_of(lived), "--json"))["live"]
        return any(str(one.get("parent")).startswith("challenger-tree") for one in live.get("experts", ()))

    lived.until(inside)


def test_serve_predicts_gives_features_and_asks_a_version(lived: Lived) -> None:
    serve = lived.start("serve")
    [line] = events(1, EVENTS)
    status, answer = get(serve, "/v1/pipelines/cards:predict?explain=true&version=v0", line.encode())
    assert status == 200 and "by_version" in answer, answer
    status, answer = get(serve, "/v1/pipelines/cards/features/card/c1")
    assert status == 200 and "paid_1h" in answer, answer
    features = lived.ask("features", "features", "get", "card", "c1", "--pipeline", "cards")
    assert "paid_1h" in features
    assert not lived.ended()


def looked_at(browser: httpx2.Client, lived: Lived) -> None:
    """Open every page that reads for itself, as somebody who looks does."""
    for page in ("", "/episodes", "/audit", "/act", "/time-travel", "/versions"):
        answer = browser.get(PAGES + page)
        assert answer.status_code == 200 and "refuse" not in text_of(answer.text), text_of(answer.text)
    assert "v0" in text_of(browser.get(f"{PAGES}/versions").text)
    assert "paid_1h" in browser.get(f"{PAGES}/features?view=card&k0=c1").text
    assert "there are: cards" not in browser.get(f"{PAGES}/features?view=card&k0=nobody").text
    then = browser.get(f"{PAGES}/time-travel?position=500&key=c1")
    assert then.status_code == 200 and "cannot be read" not in text_of(then.text), text_of(then.text)
    newest = re.findall(r"position=(\d+)", browser.get(f"{PAGES}/predictions").text)
    assert newest
    why = f"{PAGES}/predictions?position={newest[0]}"
    assert browser.get(f"{why}&why=yes").status_code == 200
    lived.until(lambda: "It is what was published." in browser.get(why).text)
    assert BURIED in browser.get(f"{PAGES}/dead-letters").text
    assert not lived.ended()


def test_somebody_who_only_looks_sees_every_page_and_changes_nothing(lived: Lived) -> None:
    lived.deployment.publish([json.dumps({"card": "c1", "payment_id": BURIED})])
    console = lived.start("console", user="viewer")
    with httpx2.Client(base_url=f"http://{console}", headers=OURS, timeout=PATIENCE_S) as browser:
        lived.until(lambda: BURIED in browser.get(f"{PAGES}/dead-letters").text)
        assert "cards" in browser.get("/").text
        looked_at(browser, lived)
    for words in (("status", "cards", "--json"), ("watch", "cards", "--from-start", "--no-follow")):
        assert "cards" in lived.ask("viewer", *words)
    lived.ask("viewer", "history", "cards", "--json")


def test_people_act_from_the_console_and_send_dead_letters_back(lived: Lived, tmp_path: Path) -> None:
    password_file(tmp_path)
    console = lived.start("console", change={"PENSTOCK_CONSOLE_USERS": str(tmp_path / "people.txt")})
    with httpx2.Client(base_url=f"http://{console}", headers=OURS, timeout=PATIENCE_S) as browser:
        assert browser.post("/login", data={"name": "omar", "password": PASSWORD}).status_code == 303
        looked_at(browser, lived)
        for act in ("hold", "resume"):
            confirmation = filled(browser, act, {"reason": "a drill"}, "cards")  # type: ignore[arg-type]
            answer = browser.post(f"{PAGES}/act/{act}", data=confirmation)
            assert answer.status_code == 303, text_of(answer.text)
            page = answer.headers["location"]
            lived.until(lambda p=page: "Carried out:" in browser.get(p).text)
        answer = browser.post(
            f"{PAGES}/dead-letters", data=hidden(browser.get(f"{PAGES}/dead-letters?republish=yes").text)
        )
        assert answer.status_code == 303, text_of(answer.text)
        assert "sent back" in text_of(browser.get(answer.headers["location"]).text)
    assert not lived.ended()


def test_people_read_and_work_out_at_the_command_line(lived: Lived, tmp_path: Path) -> None:
    file = file_of(lived)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(events(20)) + "\n")
    changed = tmp_path / "changed.py"
    changed.write_text(
        lived.deployment.file.read_text().replace('mean("amount", "1d")', 'mean("amount", "6h")')
    )
    for words in (
        ("explain", file, "p10"),
        ("check", file, "--sample"),
        ("replay", file, "--json"),
        ("export", "cards", "--out", str(tmp_path / "vectors.csv")),
        ("score", file, "--in", str(rows), "--features", "now", "--out", str(tmp_path / "out.csv")),
        ("score", file, "--topic", "shop.cards.samples", "--to", "2023-11-15T00:00:00Z", "--out", str(tmp_path / "log.csv")),
        ("report", file, "--out", str(tmp_path / "report.html")),
        ("what-if", file, "--to", "2023-11-15T00:00:00Z", "--json"),
        ("what-if", file, "--to", "2023-11-15T00:00:00Z", "--recompute", "--json"),
        ("plan", file, "--backtest", "1d", "--format", "json"),
        ("plan", str(changed), "--accept", "readers"),
        ("golden", file, str(tmp_path / "golden.ndjson"), "--keep", "100"),
        ("calibrate", file, "--budgets", "1", "--json"),
        ("features", "get", "card", "c1", "--file", file),
        ("models", "export", file, "v0", str(tmp_path / "v0.penstock")),
        ("models", "alias", file),
        ("dead-letters", "cards"),
        ("history", "cards"),
        ("status", "cards"),
    ):  # fmt: skip
        lived.ask("operator", *words)
    assert not lived.ended()


def test_the_admin_names_versions_sends_back_changes_features_and_starts_over(
    lived: Lived, tmp_path: Path
) -> None:
    file, why = file_of(lived), ("--reason", "a drill")
    sealed = str(tmp_path / "v0.penstock")
    lived.ask("operator", "models", "export", file, "v0", sealed)
    lived.ask("admin", "models", "alias", file, "kept", "v0", *why)
    lived.ask("admin", "models", "import", file, sealed, *why)
    lived.ask("admin", "models", "resign", file)
    lived.ask("admin", "dead-letters", "cards", "--republish", "--yes")
    lived.stop()
    changed = tmp_path / "changed.py"
    changed.write_text(
        lived.deployment.file.read_text().replace('mean("amount", "1d")', 'mean("amount", "6h")')
    )
    lived.ask("admin", "backfill", str(changed))
    lived.ask("admin", "reset", file, "--yes")
    assert "exists" in lived.ask("admin", "topics", file)
    left = lived.deployment.servers.redis.keys("*shop.cards*")
    assert not left, left
