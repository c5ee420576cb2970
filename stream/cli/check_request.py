"""What an operator typed, judged before it is sent: what control would refuse is refused here, with the option's name."""

from __future__ import annotations

from penstock.stream.messages import OperatorRequest
from penstock.stream.operate.asking import wrong_in
from penstock.stream.process.settings import SettingError


def check_request(request: OperatorRequest) -> None:
    """Refuse here what the control role would refuse. Raises `SettingError` with the option's name."""
    for wrong in wrong_in(request):
        raise SettingError(f"--{wrong.field.replace('_', '-')} {wrong.said}")
