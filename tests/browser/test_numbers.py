"""The console's numbers are those that the command line says, read from the same topics at the same time by another program."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from penstock.stream.operate.status_found import LEAST_LABELS
from tests.browser.flown import NAME, Flown, live, said
from tests.patience import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

ALL = f"/pipelines/{NAME}?span=all"


def status_in_words(status: dict[str, Any]) -> list[str]:
    """What `penstock status --json` found, as pages write it."""
    scores = status["scores"]
    return [
        *status["wrong"],
        f"{status['labels']:,} of the newest {status['of_newest_records']:,} records, {status['pending']:,} samples wait",
        f"{scores['loss']:.4f} nats against {scores['base_loss']:.4f} of the base rate; AUC {scores['auc']:.3f}; "
        f"over {scores['labels']:,} labels",
        f"dead letters {status['dead_letters']:,}",
        *(f"{name} ● runs" for name, role in status["roles"].items() if role["members"]),
    ]


def test_a_pipelines_page_says_what_status_says(page: Page, flights: Flown) -> None:
    """Featurize ends meanwhile: its tick a second would move the newest records on while one of the two looks."""
    live(page, flights, ALL)
    featurize = next(role for role in flights.stage.running if role.name == "featurize")
    featurize.stop()
    missing: list[str] = []

    def same() -> bool:
        words = status_in_words(flights.json("status", NAME))
        missing[:] = [line for line in words if line not in said(page)]
        return len(words) > 5 and not missing

    try:
        assert eventually(same), missing
    finally:
        flights.begin_again("featurize")
    assert eventually(lambda: "nobody runs featurize" not in said(page))


def test_the_overview_says_what_status_and_history_say(page: Page, flights: Flown) -> None:
    live(page, flights, "/")
    status = flights.json("status", NAME)
    assert not status["healthy"] and all(line in said(page) for line in status["wrong"])
    hours = flights.json("history", NAME, "--by", "hour")["series"]
    labels, loss, base, taken = 0, 0.0, 0.0, 0
    for count, one, other in list(
        zip(hours["labels"], hours["losses"]["live"], hours["losses"]["base"], strict=True)
    )[::-1][:24]:
        if one is not None:
            labels, loss, base, taken = labels + count, loss + one * count, base + other * count, taken + 1
        if labels >= LEAST_LABELS:
            break
    assert taken > 1
    words = f"{loss / labels:.4f} against {base / labels:.4f} nats, {loss / base:.0%}"
    assert words in said(page).replace(" %", "%")
    assert f"{labels:,} labels @{hours['positions'][-1]:,}" in said(page)
    for event in status["open_episodes"]:
        assert f"{event['data']['kind']} of {event['subject']}, {event['data']['state']} since" in said(page)


def test_the_losses_over_time_are_those_of_history(page: Page, flights: Flown) -> None:
    live(page, flights, ALL)
    blocks = flights.json("history", NAME)["series"]
    rows = [
        [re.sub(r"\s+", " ", cell).strip() for cell in row]
        for row in page.locator("#live_table_losses tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )
    ]
    assert len(rows) > 20 and sum(int(row[4].replace(",", "")) for row in rows) == sum(blocks["labels"])
    for _, shown, base, first, labels, position in rows:
        last = blocks["positions"].index(int(position[1:].replace(",", "")))
        merged = range(last, last - 1, -1)
        while sum(blocks["labels"][place] for place in merged) < int(labels.replace(",", "")):
            merged = range(last, merged.stop - 1, -1)
        for cell, name in ((shown, "live"), (base, "base"), (first, "first")):
            known = [
                (blocks["losses"][name][place], blocks["labels"][place])
                for place in merged
                if blocks["losses"][name][place] is not None
            ]
            if known:
                mean = sum(loss * count for loss, count in known) / sum(count for _, count in known)
                assert abs(float(cell) - mean) < 0.00006, (position, name)


def test_the_weights_are_those_of_history(page: Page, flights: Flown) -> None:
    live(page, flights, ALL)
    blocks = flights.json("history", NAME)["series"]
    newest = {name: column[-1] for name, column in blocks["weights"].items()}
    table = page.get_by_role("region", name="The models that predict together").locator("tbody tr")
    shown = {
        version.split(".")[0]: float(weight.strip(" %"))
        for version, weight in table.evaluate_all(
            "rows => rows.map(row => [row.cells[0].textContent.trim(), row.cells[1].textContent.trim()])"
        )
    }
    assert len(shown) > 3
    for version, weight in newest.items():
        known = shown.get(version.split(".")[0])
        assert known is None or abs(known / 100 - weight) < 0.0006, version
    assert max(shown, key=lambda name: shown[name]) == blocks["leaders"][-1].split(".")[0]
