"""How often one may try to log in: some failures at once, then one in `EACH_S`.

Laws of this file:
- Pure: the time is given. Bounded: what was not tried lately, or would be forgotten first, gives way beyond `MOST_KEYS`.
- Counted by address and by name and address together: whoever guesses at somebody's name from elsewhere does not lock him out.
- An attempt is taken before the password is looked at, and given back if it fits: many at once gain nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

AT_ONCE = 10
AT_ONCE_NAME = 5
EACH_S = 30.0
MOST_KEYS = 10_000


class Attempts:
    """What is left to each address and name: (attempts, when that was counted)."""

    def __init__(self) -> None:
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, address: str, name: str, now_s: float) -> float:
        """Take an attempt: 0, or after how many seconds there is one again."""
        waits = max(self._wait(key, most, now_s) for key, most in self._keys(address, name))
        if waits <= 0:
            for key, most in self._keys(address, name):
                self._left[key] = (self._now(key, most, now_s) - 1, now_s)
                self._left.move_to_end(key)
            while len(self._left) > MOST_KEYS:
                self._left.popitem(last=False)
        return max(waits, 0.0)

    def give_back(self, address: str, name: str, now_s: float) -> None:
        """The attempt was none: the password fits."""
        for key, most in self._keys(address, name):
            self._left[key] = (min(self._now(key, most, now_s) + 1, most), now_s)

    def _keys(self, address: str, name: str) -> tuple[tuple[tuple[str, str], int], ...]:
        near = _neighbourhood(address)
        return ((near, ""), AT_ONCE), ((near, "=" + name[:64]), AT_ONCE_NAME)

    def _now(self, key: tuple[str, str], most: int, now_s: float) -> float:
        left, since_s = self._left.get(key, (float(most), now_s))
        return min(left + max(now_s - since_s, 0.0) / EACH_S, most)

    def _wait(self, key: tuple[str, str], most: int, now_s: float) -> float:
        return (1 - self._now(key, most, now_s)) * EACH_S


def _neighbourhood(address: str) -> str:
    """The address, of IPv6 its /64, which belongs to one."""
    try:
        found = ip_address(address)
    except ValueError:
        return "?"
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(ip_network((found, 64), strict=False))
    return str(found)
