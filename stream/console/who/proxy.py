"""A proxy that says who asks, by headers: believed from listed addresses alone.

Laws of this file:
- Pure. Such headers of anybody else are as if they were not there. What is said twice, or cannot be a name, names nobody: a proxy
  that lets a client's own headers through must not make somebody of him.
- Nobody is trusted because he is near: loopback must be listed like any other address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from penstock.stream.console.page import ROLES, Person, Role
from penstock.stream.console.who.origin import Headers, values

MOST_NAME = 128
USER, GROUPS = "X-Forwarded-User", "X-Forwarded-Groups"


class BadRule(ValueError):
    """A rule about proxies or groups that is none; the message says which, and what one looks like."""


@dataclass(frozen=True)
class Proxies:
    """Addresses that are believed, the headers they say it by, and which groups have which role."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    user_header: str = USER
    groups_header: str = GROUPS
    groups: Mapping[str, Role] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        addresses: Iterable[str],
        groups: Iterable[str] = (),
        user_header: str = USER,
        groups_header: str = GROUPS,
    ) -> Proxies:
        """From addresses or networks, and rules such as `sre=operator`. Raises `BadRule`."""
        networks = []
        for one in addresses:
            try:
                networks.append(ip_network(one, strict=False))
            except ValueError:
                raise BadRule(
                    f"{one!r} is no address of a proxy: list addresses or networks, such as 10.0.0.7 or 10.0.0.0/24"
                ) from None
        roles: dict[str, Role] = {}
        for rule in groups:
            group, _, role = rule.rpartition("=")
            if not group or role not in ROLES:
                raise BadRule(f"{rule!r} is no rule: it is GROUP=ROLE, and the roles are {', '.join(ROLES)}")
            roles[group.strip()] = role
        return cls(tuple(networks), user_header, groups_header, roles)

    def trusts(self, address: str) -> bool:
        """Whether an address is listed."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
        return any((mapped or found) in network for network in self.networks)

    def person(self, address: str, headers: Headers) -> Person | None:
        """Who asks, as a listed proxy at this address says; None where it says nothing, or nobody listed says it.

        Of several groups the one that may most counts; somebody without a listed group is a viewer.
        """
        headers = list(headers)
        names, groups = values(headers, self.user_header), values(headers, self.groups_header)
        if not self.trusts(address) or len(names) != 1 or len(groups) > 1:
            return None
        try:
            name = names[0].encode("latin-1").decode("utf-8")  # as proxies send it
        except UnicodeDecodeError:
            return None
        if not name or len(name) > MOST_NAME or not name.isprintable():
            return None
        roles = [self.groups.get(one.strip(), "viewer") for group in groups for one in group.split(",")]
        return Person(name, max(roles, key=ROLES.index, default="viewer"), "proxy")

    def asks_from(self, address: str, headers: Headers) -> str:
        """The address of whoever asks: behind listed proxies, the nearest that is not one of them."""
        chain = [one.strip() for value in values(headers, "x-forwarded-for") for one in value.split(",")]
        while self.trusts(address) and chain:
            address = chain.pop()
        return address

    def over_tls(self, address: str, headers: Headers) -> bool:
        """Whether a listed proxy says that the browser speaks TLS."""
        return self.trusts(address) and values(headers, "x-forwarded-proto") == ["https"]
