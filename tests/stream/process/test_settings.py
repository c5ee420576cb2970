"""Settings that would undo a guarantee are refused by name."""

from __future__ import annotations

import pytest

from penstock.stream.process.settings import SettingError, Settings


@pytest.mark.parametrize(
    "name",
    ["ACKS", "ENABLE_IDEMPOTENCE", "AUTO_OFFSET_RESET", "ISOLATION_LEVEL", "ENABLE_AUTO_COMMIT", "GROUP_ID"],
)
def test_nobody_chooses_what_the_guarantees_rest_on(name: str) -> None:
    with pytest.raises(SettingError, match=f"PENSTOCK_KAFKA_{name}: that nothing is lost"):
        Settings.from_env({f"PENSTOCK_KAFKA_{name}": "1"})
    assert Settings.from_env({"PENSTOCK_KAFKA_LINGER_MS": "9"}).kafka == {"linger.ms": "9"}
