"""The report's rows of episodes: one for each incident, whatever was told in it."""

from __future__ import annotations

from typing import Any

from penstock.stream.demo.episode_rows import episodes
from penstock.stream.messages import ControlData, ControlEvent


def event(kind: str, state: str, at: int, action: str = "none", **more: Any) -> ControlEvent:
    data = ControlData(
        pipeline="flights", episode="e", kind=kind, state=state, severity="info", reason="", detector={}, since={"at": 5},
        detected_at={"at": at}, suggested_action=action, **more,
    )  # fmt: skip
    return ControlEvent(id=f"{kind}-{at}", source="s", type="t", subject="dep_delay", time="", data=data)


def test_an_episode_is_over_once_everything_told_in_it_is() -> None:
    told = [
        event("range", "firing", 10),
        event("lead", "firing", 20, "promote", target_version="v7"),
        event("range", "resolved", 30),
        event("lead", "resolved", 40),
    ]
    (open_still,) = episodes(told[:3])
    assert (open_still["kind"], open_still["resolved"]) == ("range", None)
    (over,) = episodes(told)
    assert (over["fired"], over["resolved"]) == ({"at": 10}, {"at": 40})
    assert over["actions"] == ["promote to v7"]
