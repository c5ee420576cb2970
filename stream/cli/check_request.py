"""What an operator typed, judged before it is sent: what control would refuse is refused here, with the option's name."""

from __future__ import annotations

from penstock.stream.messages import MAX_NAME_CHARACTERS, MAX_REASON_CHARACTERS, OperatorRequest
from penstock.stream.process.settings import SettingError
from penstock.stream.triggers import ALL, SINCE_ONSET, WINDOWS, length_ms


def check_request(request: OperatorRequest) -> None:
    """Refuse here what the control role would refuse. Raises `SettingError` with the option's name."""
    for option, text, most in (
        ("--id", request.id, MAX_NAME_CHARACTERS),
        ("--by", request.by, MAX_NAME_CHARACTERS),
        ("--version", request.version or "", MAX_NAME_CHARACTERS),
        ("--reason", request.reason, MAX_REASON_CHARACTERS),
    ):
        if len(text) > most:
            raise SettingError(f"{option} has {len(text):,} characters, the most is {most:,}: say it shorter")
        if not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text):
            raise SettingError(f"{option} holds bytes that are not UTF-8: {ascii(text[:80])}")
    if request.from_position is not None and not -(2**63) <= request.from_position < 2**63:
        raise SettingError(f"--from-position {request.from_position} is no offset of a log")
    if request.window and request.from_position is not None:
        raise SettingError("--window and --from-position both say where a retrain begins: give one of them")
    if request.window not in ("", ALL, SINCE_ONSET) and length_ms(request.window) is None:
        raise SettingError(f"--window {request.window!r} is none: it is {WINDOWS}")
