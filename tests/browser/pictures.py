"""`python -m tests.browser.pictures FOLDER` (`make pictures`): the console's pages as pictures for the documentation.

Drawn from the same flights as the tests, with the incident running, in light and dark. Chromium itself writes WebP.
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.flown import NAME, Flown, flown, live

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDE, HIGH = 1280, 860
QUALITY = 45
MOST_BYTES = 1_000_000
SCHEMES = ("light", "dark")
PLACES = {
    "overview": "/",
    "pipeline": f"/pipelines/{NAME}?span=30d",
    "act": f"/pipelines/{NAME}/act/rollback?version=v0&reason=dep_delay+of+UA+is+in+milliseconds&once={32 * chr(48)}",
}
"""Where a page is drawn; of any other page, where links lead first."""
LEFT_OUT = ("act_one", "asked", "audit_record", "episodes")
"""Pages that look like another one of these."""


def draw(page: Page, path: Path) -> int:
    """What is seen of a page now, as a picture; its bytes."""
    session = page.context.new_cdp_session(page)
    drawn = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    path.write_bytes(base64.b64decode(drawn["data"]))
    session.detach()
    return path.stat().st_size


def pictures(flights: Flown, program: str, folder: Path) -> int:
    """Draw every page; the bytes of all of them."""
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import ARGUMENTS

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    bytes_ = 0
    places = {name: found[0] for name, found in flights.places.items() if found and name not in LEFT_OUT}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport={"width": WIDE, "height": HIGH},
                color_scheme=scheme,  # type: ignore[arg-type]
            )
            page = context.new_page()
            for name, place in {**places, **PLACES}.items():
                live(page, flights, place)
                bytes_ += draw(page, folder / f"{name}-{scheme}.webp")
            context.close()
        browser.close()
    return bytes_


def main() -> int:
    """Draw them, and say how large they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder: Path = parser.parse_args().folder
    program = os.environ.get("PENSTOCK_TEST_BROWSER", "")
    if not Path(program).is_file():
        print(
            "there is no Chromium: set PENSTOCK_TEST_BROWSER, or CHROMIUM for `make pictures`",
            file=sys.stderr,
        )
        return 2
    with flown() as flights:
        bytes_ = pictures(flights, program, folder)
    number = len(list(folder.glob("*.webp")))
    print(f"{number} pictures in {folder}, {bytes_ / 1000:,.0f} kB in all")
    if bytes_ > MOST_BYTES:
        print(f"that is more than {MOST_BYTES / 1000:,.0f} kB: draw fewer, or smaller ones", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
