"""A newer version goes on where a former one stopped, and ends as that one would have; and what is written today is kept.

A store holds a stopped pipeline, the records that came afterwards, and what the version that wrote it made of them.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
import river

from penstock.stream.definitions import DefinitionError
from penstock.stream.learn.records import LAYOUT
from tests.stream.bootstrap.in_files import opened as begun_bootstrap
from tests.upgrades import write
from tests.upgrades.kept import STORE, pipelines, versions
from tests.upgrades.living import definition, flow_of, lived, told, values_of
from tests.upgrades.test_store import WHOLE, about, expected, kept, same_layout, same_python


@pytest.mark.parametrize(("version", "name"), WHOLE)
def test_it_goes_on_and_ends_as_the_version_that_wrote_it_would_have(
    version: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    if not same_layout(version):
        pytest.skip("its states are refused, see above")
    here, pipeline = kept(version, name), definition(STORE / version / name)
    with caplog.at_level(logging.WARNING):
        flow = flow_of(pipeline, here.log, here.server)
        flow.settle()
        before = told(flow)
        lived(flow, here.rest, asks=False)
        after = told(flow)
    flow.close()
    wanted = expected(version, name)
    assert (before["values"], after["values"]) == (wanted["before"]["values"], wanted["after"]["values"])
    if same_python(version):
        assert before["folds"] == wanted["before"]["folds"]
        assert after["folds"] == wanted["after"]["folds"]
        assert "the snapshot is not used" not in caplog.text
    else:
        assert "it folds the log anew" in caplog.text
        # Whatever the models are by now, no sample or label is lost.
        for shard, fold in after["folds"].items():
            then = wanted["after"]["folds"][shard]
            assert (fold["samples"], fold["joined"]) == (then["samples"], then["joined"])


@pytest.mark.parametrize("version", versions())
def test_a_backfill_that_a_former_version_left_in_the_middle_is_ended(version: str) -> None:
    if not same_layout(version):
        pytest.skip("its states are refused, see above")
    here = kept(version, "moved")
    with pytest.raises(DefinitionError, match="finish it with `penstock backfill FILE`"):
        flow_of(definition(STORE / version / "moved"), here.log, here.server)
    here = kept(version, "moved")
    following = definition(STORE / version / "moved", "following")
    write.backfill(following, here.log, here.server)
    flow = flow_of(following, here.log, here.server)
    lived(flow, here.rest, asks=False)
    flow.close()
    assert values_of(following, here.server) == expected(version, "moved")["after"]["values"]
    assert not any("+" in key for key in here.server.data)


@pytest.mark.parametrize("version", versions())
def test_a_bootstrap_that_a_former_version_left_in_the_middle_is_ended(version: str) -> None:
    if not same_layout(version):
        pytest.skip("its states are refused, see above")
    folder = STORE / version / "files"
    here = kept(version, "files")
    flow = flow_of(definition(folder), here.log, here.server)
    with pytest.raises(DefinitionError, match="end that first, with the same `penstock bootstrap FILE`"):
        flow.settle()
    here = kept(version, "files")
    flow = flow_of(definition(folder), here.log, here.server)
    with write.quick_bootstrap():
        run = begun_bootstrap(flow, write.plan_of_files(flow, folder))
        assert run.place.rows > 0, "it goes on, and does not begin"
        run.read()
        run.give()
    flow.settle()
    found, wanted = told(flow), expected(version, "files")["after"]
    flow.close()
    assert found["values"] == wanted["values"]
    assert found["folds"]["0"]["samples"] == wanted["folds"]["0"]["samples"]
    if (about(version)["python"], about(version)["river"]) == (platform.python_version(), river.__version__):
        assert found["folds"] == wanted["folds"] or about(version)["snapshot_layout"] != LAYOUT


@pytest.mark.long
def test_what_is_written_today_looks_as_the_newest_store_has_it(tmp_path: Path) -> None:
    newest = STORE / versions()[-1]
    # The store was written with this seed: what waits together, waits in a set.
    made = f"from pathlib import Path; from tests.upgrades import write; write.write_store(Path({str(tmp_path / 'today')!r}))"
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", made], check=True, env=environment)
    today, stored = (json.loads((one / "formats.json").read_text()) for one in (tmp_path / "today", newest))
    differ = [kind for kind in {**today, **stored} if today.get(kind) != stored.get(kind)]
    why = "former data must still be read (the other tests say so); then see CONTRIBUTING.md, 'To change what is stored'"
    assert differ == [], f"what is written differs from {newest}: {', '.join(differ)}: {why}"
    layouts = ("state_layout", "snapshot_layout")
    now, then = (json.loads((one / "about.json").read_text()) for one in (tmp_path / "today", newest))
    assert [now[one] for one in layouts] == [then[one] for one in layouts], (
        "a layout was raised: keep what is written now"
    )


def test_a_store_that_was_kept_says_of_itself_what_is_in_it() -> None:
    for version in versions():
        assert {*pipelines(version)} >= {*write.WHOLE, "moved", "files"}
    assert [int(one) for one in versions()] == [
        number for number, _ in zip(count(1), versions(), strict=False)
    ]
