"""`penstock topics` says of a source that is not there who may create it."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.stream.cli import topics
from penstock.stream.log import admin
from tests.stream.generated import cards


@pytest.mark.parametrize(("partitions", "advised"), [(None, True), (4, False)])
def test_a_source_that_is_not_there_names_the_option_that_creates_it(
    partitions: int | None, advised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in (topics, admin):
        monkeypatch.setattr(where, "existing", lambda admin, names: {})
    monkeypatch.setattr(admin, "compare", lambda *_: [])
    pipeline, nowhere = cards(), Any
    wrong = topics.make(nowhere, pipeline, "", partitions, create=False).differences  # type: ignore[arg-type]
    (source,) = [line for line in wrong if line.startswith(f"{pipeline.predict.name}: does not exist")]
    assert ("`penstock topics FILE --create-sources`" in source) == advised
    assert [line for line in wrong if "--create-sources" in line] == [source] * advised
