"""`python -m benchmarks.console`: how long the console takes to make its pages, and a browser to draw a year.

The year of flights, with the incident and a history record for each 500 labels and each hour, is read as the console reads
topics; the overview has 50 pipelines, each with that year. Times of the server are without a network. With `--browser PROGRAM`
(Chromium, driven by playwright: `pip install '.[browser]'`) the page of the year is opened, too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from statistics import median
from typing import Any

import uvicorn
from starlette.testclient import TestClient

from penstock.stream.console.app import Console
from penstock.stream.console.state import States
from penstock.stream.definition_file import load
from penstock.stream.roles.http import listening
from tests.stream.console.year import FLIGHTS, Line, console_of, look, stepped, year

PIPELINES = 50
ROUNDS = 15
YEAR = "/pipelines/flights?span=all"
# Times each chart from its making until it is on the canvas, without a word of that in the page itself.
TIMED = """(() => {
  let made;
  const timed = function (options, ...more) {
    const start = performance.now(), number = (window.drawn = window.drawn || []).push(null) - 1;
    const hooks = options.hooks || (options.hooks = {});
    const done = () => { if (window.drawn[number] === null) window.drawn[number] = performance.now() - start; };
    hooks.draw = [...(hooks.draw || []), done];
    return new made(options, ...more);
  };
  const set = (given) => { made = given; Object.assign(timed, given); };
  Object.defineProperty(window, "uPlot", { configurable: true, get: () => made && timed, set });
})();"""
PAINT = """() => {
  const page = performance.getEntriesByType("navigation")[0];
  return {
    first_paint_ms: performance.getEntriesByName("first-contentful-paint")[0].startTime,
    server_ms: page.responseEnd - page.requestStart,
    loaded_ms: page.domContentLoadedEventEnd,
    page_bytes: page.encodedBodySize,
    charts_ms: window.drawn.reduce((all, one) => all + one, 0),
  };
}"""


def fifty(lines: list[Line]) -> Console:
    """A console of so many pipelines, each with the year."""
    states = stepped(["flights"], lines)
    found = States(())
    found.caught_up = True
    pipeline = load(FLIGHTS)
    for number in range(PIPELINES):
        name = "flights" if not number else f"flights_{number}"
        found.pipelines[name] = copy(states.pipelines["flights"])
        found.pipelines[name].name = name
    made = console_of(found, dict.fromkeys(found.pipelines, pipeline))
    for name in found.pipelines:
        look(made, name)
    return made


def times(client: TestClient, path: str, rounds: int) -> dict[str, float]:
    """Milliseconds that a page takes to be made, the least and the middle of so many, and its size."""
    found = []
    page = client.get(path)
    for _ in range(rounds):
        start = time.perf_counter()
        page = client.get(path)
        found.append((time.perf_counter() - start) * 1000)
    assert page.status_code == 200, page.text
    return {"best_ms": round(min(found), 1), "p50_ms": round(median(found), 1), "bytes": len(page.content)}


@contextmanager
def answering(console: Console) -> Iterator[str]:
    """The address of the console, on a port of this machine."""
    made = listening("127.0.0.1", 0)
    config = uvicorn.Config(console, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [made]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.getsockname()[1]}"
    finally:
        console.stopping = True
        server.should_exit = True
        thread.join(10)


def drawn(console: Console, program: str, rounds: int) -> dict[str, float]:
    """What the browser's Performance API says of the year's page: the middle of so many visits with an empty cache."""
    from playwright.sync_api import sync_playwright

    visits: list[dict[str, float]] = []
    with answering(console) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        for _ in range(rounds):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            page.add_init_script(TIMED)
            page.goto(address + YEAR)
            page.wait_for_function(
                "window.drawn && window.drawn.length >= 3 && window.drawn.every((one) => one !== null)"
            )
            page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
            visits.append(page.evaluate(PAINT))
            context.close()
        browser.close()
    return {name: round(median(one[name] for one in visits), 1) for name in visits[0]}


def main() -> None:
    """Measure, tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--browser", metavar="PROGRAM", help="Chromium, to time what it draws")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"times that each page is asked for (default {ROUNDS})"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="where the folded year is kept (default: nowhere)"
    )
    parser.add_argument("--json", metavar="FILE", help="also write what was measured as one object")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = year(asked.cache or Path(folder))
    start = time.perf_counter()
    stepped(["flights"], lines)
    found: dict[str, Any] = {"records": len(lines), "read_s": round(time.perf_counter() - start, 2)}
    console = fifty(lines)
    client = TestClient(console)
    found["overview_50"] = times(client, "/", asked.rounds)
    for span in ("1d", "30d", "all"):
        found[f"pipeline_{span}"] = times(client, f"/pipelines/flights?span={span}", asked.rounds)
    if asked.browser:
        found["browser"] = drawn(console, asked.browser, max(asked.rounds // 3, 1))
    found["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found["load"] = round(os.getloadavg()[0], 1)
    for name, value in found.items():
        print(f"{name:<14} {value}")
    if asked.json:
        Path(asked.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
