"""The pytest plugin: the fixture `penstock_flow`, for tests of a definition that need no server.

It is installed with Penstock (entry point `pytest11`) and costs nothing where no test asks for it: everything heavy is
imported by the fixture.

    def test_a_second_payment_is_counted(penstock_flow):
        flow = penstock_flow("cards.py")
        flow.send({"payment_id": "p1", "paid_at": 1_000, "card": "c1", ...})
        assert flow.sample("p1")["features"]["card.paid_10m"] == 1

    def test_events_give_what_they_gave(penstock_flow):
        penstock_flow.check("cards.py", "events.jsonl", "expected.jsonl")
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from penstock.stream.trial.flow import TrialFlow

UPDATE = "--penstock-update"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes expected files."""
    parser.getgroup("penstock").addoption(
        UPDATE,
        action="store_true",
        default=False,
        help="write the expected files of penstock_flow.check from what comes now, in place of comparing",
    )


class Flows:
    """What the fixture gives: call it with a definition file for a flow in memory, or let it `check` files.

    Paths that are not absolute are looked for beside the test's own file.
    """

    def __init__(self, folder: Path, update: bool) -> None:
        self.folder, self.update = folder, update
        self.made: list[TrialFlow] = []

    def __call__(self, definition: str | Path) -> TrialFlow:
        """A flow of this definition, fed by nothing yet. Raises `DefinitionError`."""
        from penstock.stream.definition_file import load
        from penstock.stream.trial.flow import TrialFlow

        self.made.append(TrialFlow(load(self.folder / definition)))
        return self.made[-1]

    def check(
        self,
        definition: str | Path,
        events: str | Path,
        expect: str | Path | None = None,
        *,
        also: tuple[str, ...] = (),
        leaks: int | None = None,
    ) -> None:
        """Fail unless these events give what the expected file says, and nothing leaks; as `penstock test` does.

        With --penstock-update the expected file is written, with the kinds of lines in `also` ("predictions", "documents") too.
        `leaks` is the most samples to look for leaks in, 0 for none.
        """
        from penstock.stream.definition_file import load
        from penstock.stream.trial.files import Asked, told, tried
        from penstock.stream.trial.leaks import MOST_SAMPLES

        asked = Asked(
            self.folder / events,
            None if expect is None else self.folder / expect,
            self.update and expect is not None,
            also,
            leaks=MOST_SAMPLES if leaks is None else leaks,
        )
        done = tried(load(self.folder / definition), asked)
        if not done.right:
            hint = f"\n({UPDATE} writes {expect} from what came)" if done.different else ""
            pytest.fail("\n".join(told(done)) + hint, pytrace=False)

    def close(self) -> None:
        """End every flow that was made."""
        for one in self.made:
            one.close()


@pytest.fixture
def penstock_flow(request: pytest.FixtureRequest) -> Iterator[Flows]:
    """Pipelines in memory: `penstock_flow("cards.py")` for one to feed, `penstock_flow.check(...)` for files."""
    flows = Flows(request.path.parent, bool(request.config.getoption(UPDATE)))
    yield flows
    flows.close()
