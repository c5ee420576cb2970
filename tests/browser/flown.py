"""The demo's flights over a real Kafka and a real Valkey, with every role and the console as processes of their own.

Published are some weeks that end while the incident is running (13 to 17 May): what an on-call person would look at. More days
are published by tests that need something to happen. `PENSTOCK_TEST_YEAR=yes` begins with the year's first day, not with April's.

Laws of this file:
- Roles, topics, producer and password file are made as the demo and the command line make them.
- Who waits, waits for what the topics or the console say.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urljoin

import penstock.examples
from penstock.stream import cli
from penstock.stream.console.app import table
from penstock.stream.definition_file import load
from penstock.stream.demo.processes import Process, Role
from penstock.stream.demo.progress import ControlTail, Progress
from penstock.stream.demo.run import Options, create_topics, producer_line
from penstock.stream.demo.stage import Stage
from penstock.stream.log.protocol import Log
from penstock.stream.process.settings import Settings, child_environment
from penstock.stream.roles import start
from penstock.stream.stack import local_stack
from tests.patience import PATIENCE_S, eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAME = "flights"
DEFINITION = str(Path(penstock.examples.__file__).parent / "flights.py")
YEAR = bool(os.environ.get("PENSTOCK_TEST_YEAR"))
BEGINS = None if YEAR else date(2013, 4, 1)
UNTIL = date(2013, 5, 15)
"""The day after the last one that is published first: the incident began on the 13th, and has not ended."""
PASSWORD = "correct horse battery"
PEOPLE = {"vera": "viewer", "omar": "operator", "ada": "approver"}
LINKS = re.compile(r'<a [^>]*?href="([^"]*)"')
MOST_PAGES = 400
PER_PAGE = 12
SOME = 2


class NoBroker(RuntimeError):
    """There is no Kafka here, and none can be started; the message says why."""


class Flown:
    """What runs: `stage` are its processes, `address` where the console is."""

    def __init__(self, stage: Stage, settings: Settings, log: Log) -> None:
        self.stage, self.settings, self.log = stage, settings, log
        self.pipeline = load(DEFINITION)
        self.tail = ControlTail(log, lambda message: None)
        self.next_day = UNTIL
        self.seconds = 0.0
        self.records = 0
        self.broken: list[str] = []

    @property
    def address(self) -> str:
        """Where the console is, without a slash at the end."""
        return self.stage.address.rstrip("/")

    # -- what happens ------------------------------------------------------------------------------------------------------

    def publish(self, since: date | None, until: date) -> None:
        """Publish these days, and wait until learn has folded them."""
        options = Options(DEFINITION, "milliseconds", True, since, until)
        line = producer_line(options, self.settings.bootstrap)
        producer = Process("producer", line, self.stage.environment, self.stage.folder)
        try:
            made = Progress(
                self.pipeline, self.log, producer, self.stage.running, self.tail, lambda said: None
            )
            self.seconds += made.until_done()
            self.records += int(json.loads(producer.last_lines(1))["records"])
        finally:
            producer.stop()

    def publish_a_day(self) -> None:
        """Publish the next day of the year."""
        self.publish(self.next_day, self.next_day + timedelta(1))
        self.next_day += timedelta(1)

    def begin_again(self, name: str) -> None:
        """Start a role that was ended once more."""
        roles = self.stage.running
        place = next(number for number, role in enumerate(roles) if role.name == name)
        roles[place] = Role(
            name, DEFINITION, self.stage.environment, self.stage.folder, self.stage.roles[name]
        )
        roles[place].wait_ready(PATIENCE_S)

    def show(self) -> None:
        """Start the console, again if it runs, and wait until it has read everything."""
        self.stage.show()
        self.until_current()

    def until_current(self) -> None:
        """Wait until the console has read everything, and looked at the pipeline."""
        assert self.stage.console is not None
        console = self.stage.console

        def current() -> bool:
            console.check()
            return self.get("/readyz")[0] == 200 and "not looked yet" not in self.get(f"/pipelines/{NAME}")[1]

        assert eventually(current), console.last_lines()

    # -- who asks ----------------------------------------------------------------------------------------------------------

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of an address of the console; (0, why) where nothing answers."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def command(self, *words: str) -> tuple[int, str]:
        """What the command line answers here: its exit code, and what it printed."""
        said = io.StringIO()
        before = dict(os.environ)
        os.environ.update(child_environment(self.settings))
        try:
            with contextlib.redirect_stdout(said):
                code = cli.main([*words])
        finally:
            os.environ.clear()
            os.environ.update(before)
        return code, said.getvalue()

    def json(self, *words: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.command(*words, "--json")[1])

    def model(self) -> dict[str, Any]:
        """What `penstock models` says of who predicts now."""
        found: dict[str, Any] = self.json("models", "show", DEFINITION)["live"]
        return found

    # -- where its pages are -----------------------------------------------------------------------------------------------

    @cached_property
    def places(self) -> dict[str, list[str]]:
        """Addresses of each page by its name: what links lead to, and what only an act or a form does."""
        self.command(
            "promote", NAME, "--version", "nosuch", "--reason", "to see it refused", "--id", "nosuch"
        )
        asked = f"/pipelines/{NAME}/asked/nosuch"
        assert eventually(lambda: "no version" in self.get(asked)[1] or "refused" in self.get(asked)[1])
        found = self.links()
        found["asked"].append(asked)
        return found

    def some(self, name: str) -> list[str]:
        """A few addresses of a page; all that were found with `PENSTOCK_TEST_YEAR`."""
        found = self.places[name]
        return found if YEAR or len(found) <= SOME else [found[0], found[-1]]

    def links(self) -> dict[str, list[str]]:
        """Addresses of each page by its name, as one comes upon them from the overview: at most `PER_PAGE` of each."""
        names = [
            (page.name, re.compile(re.sub(r"\\{\w+(:path)?\\}", "[^/]+", re.escape(page.path)) + r"\Z"))
            for page in table()
        ]
        # What stands in the path of two pages is the one's without a word to fill in.
        names.sort(key=lambda one: one[1].pattern.count("[^/]+"))
        found: dict[str, list[str]] = {name: [] for name, _ in names}
        known, ahead, read = {"/"}, ["/"], 0
        while ahead and read < MOST_PAGES:
            path = ahead.pop(0)
            name = next((name for name, shape in names if shape.match(path.partition("?")[0])), None)
            if name is None or len(found[name]) >= PER_PAGE:
                continue
            found[name].append(path)
            read += 1
            status, page = self.get(path)
            if status != 200:
                self.broken.append(f"{path} is linked to, and answers {status}")
            for link in LINKS.findall(page):
                there = urldefrag(urljoin(path, link.replace("&amp;", "&")))[0]
                if there.startswith("/") and there not in known:
                    known.add(there)
                    ahead.append(there)
        return found


def live(page: Page, flights: Flown, path: str) -> Page:
    """Open a page and wait until it is live."""
    page.goto(flights.address + path)
    page.get_by_role("status").get_by_text("● live").wait_for()
    return page


def said(page: Page, where: str = "main") -> str:
    """The words that a page shows, with single spaces."""
    return re.sub(r"\s+", " ", page.locator(where).inner_text())


@contextmanager
def flown() -> Iterator[Flown]:
    """The flights until the incident is running, and the console; everything ends with the block."""
    with ExitStack() as closing:
        stack = closing.enter_context(local_stack("auto", env={}))
        if stack.kafka is None:
            raise NoBroker(
                f"the tests of the console need Kafka; there is none: {'; '.join(stack.description)}"
            )
        folder = stack_folder(closing)
        settings = Settings(bootstrap=stack.kafka, redis_url=stack.redis_url, secret=secrets.token_hex(32))
        create_topics(load(DEFINITION), settings)
        environment = {
            **child_environment(settings),
            "PENSTOCK_CONSOLE_USERS": str(people(folder)),
            "PENSTOCK_CONSOLE_ANONYMOUS": "yes",
        }
        roles: dict[str, list[str]] = {"control": [], "featurize": [], "learn": []}
        stage = Stage(DEFINITION, roles, environment, folder, console_nice=0)
        closing.callback(stage.close)
        log = start.open_log(settings)
        closing.callback(log.close)
        stage.begin(PATIENCE_S)
        made = Flown(stage, settings, log)
        made.publish(BEGINS, UNTIL)
        made.show()
        yield made


def stack_folder(closing: ExitStack) -> Path:
    """A folder for what the processes write."""
    import tempfile

    return Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="penstock-browser-")))


def people(folder: Path) -> Path:
    """A password file with somebody of each role, made as whoever runs a console makes it."""
    path = folder / "people.txt"
    for name, role in PEOPLE.items():
        words = ["console", "--users", str(path), "--add-user", name, "--role", role]
        subprocess.run(
            [sys.executable, "-m", "penstock.stream.cli", *words], input=PASSWORD, text=True, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
    return path
