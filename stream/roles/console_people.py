"""Who may look at the console and act from it, as the settings say.

Laws of this file:
- A setting that cannot be used, or one under which nobody at all could look, stops the start with one line.
- Everybody may look without being asked for that where only this machine reaches the console, and nobody was told how to log in.
  As soon as there is a login, or another machine reaches it, somebody must say so: a proxy on this machine makes strangers local.
"""

from __future__ import annotations

import logging
from ipaddress import ip_address
from pathlib import Path

from penstock.stream.console.who.password_file import CannotReadUsers, PasswordFile
from penstock.stream.console.who.people import People
from penstock.stream.console.who.proxy import BadRule, Proxies
from penstock.stream.process.settings import SettingError, Settings

logger = logging.getLogger("penstock.console")

ANSWERS = {"yes": True, "no": False}


def people_of(settings: Settings) -> People:
    """Everybody whom the console knows. Raises `SettingError`."""
    try:
        proxies = Proxies.of(
            settings.console_proxies,
            settings.console_groups,
            settings.console_user_header,
            settings.console_groups_header,
        )
    except BadRule as error:
        raise SettingError(f"PENSTOCK_CONSOLE_PROXIES or PENSTOCK_CONSOLE_GROUPS: {error}") from None
    users = PasswordFile(Path(settings.console_users)) if settings.console_users else None
    if users is not None:
        try:
            users.check()
        except CannotReadUsers as error:
            raise SettingError(str(error)) from None
        if not settings.console_cert and not is_local(settings.host) and not proxies.networks:
            logger.warning(
                "passwords come without TLS to %s: set PENSTOCK_CONSOLE_CERT and PENSTOCK_CONSOLE_KEY, or put a proxy before it",
                settings.host,
            )
    anonymous = anonymous_may_look(settings)
    if not anonymous and users is None and not proxies.networks:
        raise SettingError(
            f"nobody could look at a console on {settings.host}: let people log in (--users FILE, or PENSTOCK_CONSOLE_PROXIES), "
            "or let everybody look who reaches it (PENSTOCK_CONSOLE_ANONYMOUS=yes)"
        )
    return People(users, proxies, anonymous=anonymous, secret=settings.secret)


def anonymous_may_look(settings: Settings) -> bool:
    """Whether people who did not log in are viewers. Raises `SettingError`."""
    if settings.console_anonymous:
        if settings.console_anonymous not in ANSWERS:
            raise SettingError(f"PENSTOCK_CONSOLE_ANONYMOUS={settings.console_anonymous!r} must be yes or no")
        return ANSWERS[settings.console_anonymous]
    return is_local(settings.host) and not settings.console_users and not settings.console_proxies


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
