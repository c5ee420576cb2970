"""What axe finds wrong with a page, as lines that a failed test can show."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def barriers(page: Page) -> list[str]:
    """Every place where the page breaks a rule of WCAG 2.1 A or AA, or a best practice, that a program can see."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {node['target']} {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
    ]
