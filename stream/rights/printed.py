"""Rights as text: a table for people, `kafka-acls.sh` lines, `ACL SETUSER` lines, JSON.

Laws of this file:
- Every line can be given to a shell, or to `redis-cli`, as it stands. No password is in any: a user without one cannot log in.
- Setting the same lines twice changes nothing; `reset` before a user's rights takes away what an older version of them gave.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from penstock.stream.rights.right import KafkaRight, KeyRight, Rights

ACCESS = {"both": "~", "read": "%R~", "write": "%W~"}
TOOL = 'kafka-acls.sh --bootstrap-server "$KAFKA_BOOTSTRAP_SERVERS" --command-config admin.properties'


def kafka_lines(users: Sequence[Rights], principal: str) -> list[str]:
    """A command line for every topic, group and transactional id of every user, whose name is `principal` and the role's."""
    return [_kafka_line(principal + user.name, right) for user in users for right in user.kafka]


def _kafka_line(user: str, right: KafkaRight) -> str:
    operations = " ".join(f"--operation {one}" for one in right.operations)
    pattern = "prefixed" if right.prefixed else "literal"
    who, what = shlex.quote(f"User:{user}"), shlex.quote(right.name)
    where = f"--resource-pattern-type {pattern} --{right.kind} {what}"
    return f"{TOOL} --add --allow-principal {who} {operations} {where}"


def valkey_lines(users: Sequence[Rights], principal: str) -> list[str]:
    """A command for every user who needs Redis; it still wants a password (`ACL SETUSER name >password`)."""
    return [
        f"ACL SETUSER {principal}{user.name} {' '.join(valkey_rules(user))}"
        for user in users
        if user.commands
    ]


def valkey_rules(user: Rights) -> list[str]:
    """The rules of one user."""
    return ["reset", "on", *map(_key_rule, user.keys), *(f"+{command}" for command in user.commands)]


def _key_rule(right: KeyRight) -> str:
    return ACCESS[right.access] + right.pattern


def text_lines(users: Sequence[Rights], principal: str) -> list[str]:
    """For people: every user, and line by line what it may do."""
    lines: list[str] = []
    for user in users:
        lines.append(f"{principal}{user.name}: {user.what}")
        for right in user.kafka:
            every = "*" if right.prefixed else ""
            lines.append(f"  {right.kind:5}  {right.name}{every}: {', '.join(right.operations)}")
        lines += [f"  keys   {_key_rule(right)}" for right in user.keys]
        if user.commands:
            lines.append(f"  redis  {' '.join(user.commands)}")
    return lines


def as_json(users: Sequence[Rights], principal: str) -> list[dict[str, object]]:
    """For programs: a list of users."""
    return [
        {
            "user": principal + user.name,
            "for": user.what,
            "kafka": [
                {
                    "resource": right.kind,
                    "name": right.name,
                    "pattern": "prefixed" if right.prefixed else "literal",
                    "operations": list(right.operations),
                }
                for right in user.kafka
            ],
            "redis": valkey_rules(user) if user.commands else [],
        }
        for user in users
    ]
