"""A broker with ACLs and a Valkey with users, and the roles of a pipeline with exactly the rights that `penstock acls` prints.

Laws of this file:
- What is set is what is printed: Kafka's lines are parsed as a shell and `kafka-acls.sh` would read them, Redis' are sent as
  they stand.
- The administrator comes by a listener of its own, where nobody has to say who he is; users come by SASL/PLAIN.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from penstock.features.redis.store import connect
from penstock.stream.stack.kafka import kafka_server
from penstock.stream.stack.server import Server, free_ports
from penstock.stream.stack.valkey import valkey_server
from tests.patience import PATIENCE_S, eventually

ROLES = ("featurize", "learn", "control", "challenge", "serve", "bootstrap", "flink", "viewer", "console", "operator", "admin",
         "producer", "features", "predictions")  # fmt: skip
PASSWORD = "for-these-tests"
FIRST_MS = 1_700_000_000_000
_SETTINGS = """
listeners=PLAINTEXT://127.0.0.1:{{broker}},USERS://127.0.0.1:{users},CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=PLAINTEXT://127.0.0.1:{{broker}},USERS://127.0.0.1:{users}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,USERS:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.users.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {known};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
"""
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Delete": AclOperation.DELETE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
#: The options of `kafka-acls.sh` that name what a right is on.
RESOURCES = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
}


class Secured:
    """The servers. `admin_kafka` and `admin_redis` are the administrator's addresses, `kafka` and `redis_of` the users'."""

    def __init__(self) -> None:
        (port,) = free_ports(1)
        known = " ".join(f'user_{role}="{PASSWORD}"' for role in ROLES)
        more = _SETTINGS.format(users=port, known=known)
        self.broker: Server
        self.broker, self.admin_kafka = kafka_server(print, heap_mb=512, more=more)
        self.kafka = f"127.0.0.1:{port}"
        self.valkey, self.admin_redis = valkey_server()
        self.admin = AdminClient({"bootstrap.servers": self.admin_kafka})
        self.redis: Any = connect(self.admin_redis)
        self.kafka_lines: Sequence[str] = ()

    def redis_of(self, user: str) -> str:
        """The address of Redis, as this user."""
        return self.admin_redis.replace("://", f"://{user}:{PASSWORD}@")

    def close(self) -> None:
        """End them."""
        self.broker.close()
        self.valkey.close()

    # -- rights ------------------------------------------------------------------------------------------------------------

    def set_kafka(self, lines: Sequence[str]) -> None:
        """Exactly these lines, and no others before them."""
        everything = AclBindingFilter(
            ResourceType.ANY,
            None,
            ResourcePatternType.ANY,
            None,
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        for answer in self.admin.delete_acls([everything]).values():
            answer.result()
        wanted = [one for line in lines for one in bindings(line)]
        for answer in self.admin.create_acls(wanted).values() if wanted else ():
            answer.result()
        self.kafka_lines = lines

    def set_redis(self, lines: Sequence[str]) -> None:
        """These lines, and each user's password."""
        for line in lines:
            words = line.split()
            assert words[:2] == ["ACL", "SETUSER"]
            self.redis.execute_command(*words, f">{PASSWORD}")


def bindings(line: str) -> list[AclBinding]:
    """What a line of `kafka-acls.sh` adds."""
    words = shlex.split(line)
    parser = argparse.ArgumentParser()
    for name in ("--bootstrap-server", "--command-config", "--allow-principal", *RESOURCES):
        parser.add_argument(name)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--operation", action="append", choices=_OPERATIONS, required=True)
    parser.add_argument("--resource-pattern-type", choices=("literal", "prefixed"), required=True)
    assert words[0] == "kafka-acls.sh"
    found = parser.parse_args(words[1:])
    named = {option: vars(found)[option.removeprefix("--").replace("-", "_")] for option in RESOURCES}
    [(option, name)] = [(option, name) for option, name in named.items() if name is not None]
    pattern = getattr(ResourcePatternType, found.resource_pattern_type.upper())
    who, allow = found.allow_principal, AclPermissionType.ALLOW
    return [
        AclBinding(RESOURCES[option], name, pattern, who, "*", _OPERATIONS[one], allow)
        for one in found.operation
    ]


class Deployment:
    """A definition on these servers: its commands and roles, each as its own user."""

    def __init__(self, servers: Secured, file: Path, prefix: str) -> None:
        self.servers, self.file, self.prefix = servers, file, prefix
        self.running: list[Role] = []
        self.lines: dict[str, list[str]] = {}

    def environment(self, user: str) -> dict[str, str]:
        """What makes a process this user."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        return clean | {
            "KAFKA_BOOTSTRAP_SERVERS": self.servers.kafka,
            "REDIS_URL": self.servers.redis_of(user),
            "PENSTOCK_PREFIX": self.prefix,
            "PENSTOCK_SECRET": "a secret of these tests",
            "PENSTOCK_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "PENSTOCK_KAFKA_SASL_MECHANISM": "PLAIN",
            "PENSTOCK_KAFKA_SASL_USERNAME": user,
            "PENSTOCK_KAFKA_SASL_PASSWORD": PASSWORD,
        }

    def command(self, user: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "penstock.stream.cli", *words],
            env=self.environment(user),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def publish(self, lines: Sequence[str]) -> None:
        """Publish events, as their producer."""
        file = self.file.with_suffix(".ndjson")
        file.write_text("\n".join(lines) + "\n")
        done = self.command("producer", "publish", "cards.payments", str(file), "--file", str(self.file))
        assert done.returncode == 0, done.stderr

    def refused_by_redis(self) -> list[str]:
        """What Valkey refused its users, since it was last asked to forget it."""
        return [str(entry) for entry in self.servers.redis.execute_command("ACL", "LOG")]

    def forget_refusals(self) -> None:
        """Those so far were wanted."""
        self.servers.redis.execute_command("ACL", "LOG", "RESET")

    def printed(self, form: str, user: str = "") -> list[str]:
        """The lines of `penstock acls`, with users that are named as their roles are."""
        one = ["--role", user] if user else []
        told = self.command("admin", "acls", str(self.file), "--principal-prefix", "", "--format", form, *one)
        assert told.returncode == 0, told.stderr
        return told.stdout.splitlines()

    def start(self, role: str, *more: str, user: str = "", change: Mapping[str, str] | None = None) -> Role:
        """A role as its user, with some settings changed."""
        log = self.file.parent / f"{len(self.running)}-{role}.log"
        with log.open("w") as opened:
            process = subprocess.Popen(
                [sys.executable, "-m", "penstock.stream.cli", "run", str(self.file), "--role", role, *more],
                env={**self.environment(user or role), **(change or {})},
                stderr=opened,
                stdout=subprocess.DEVNULL,
            )
        self.running.append(Role(process, log))
        return self.running[-1]

    def close(self) -> None:
        """End what was started here."""
        for role in self.running:
            role.process.kill()
            role.process.wait()


class Role:
    """A process that runs a role."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    def address(self) -> str:
        """Where it says that it serves pages."""
        assert eventually(lambda: self._address() is not None or self.process.poll() is not None)
        found = self._address()
        assert found is not None, self.log.read_text()
        return found[1]

    def _address(self) -> re.Match[str] | None:
        return re.search(r"http://(127\.0\.0\.1:\d+)", self.log.read_text())

    def last_words(self) -> tuple[int, str]:
        """Its exit code and the last line it said, when it ends by itself."""
        code = self.process.wait(PATIENCE_S)
        return code, (self.log.read_text().strip().splitlines() or [""])[-1]


def events(number: int, start: int = 0) -> list[str]:
    """Payments as JSON lines, from this number on; fraud is where amount and risk have one sign, so no linear model can tell."""
    chance = random.Random(start)
    return [
        json.dumps(
            {
                "payment_id": f"p{n}",
                "paid_at": FIRST_MS + n * 60_000,
                "card": f"c{n % 7}",
                "amount": (amount := chance.uniform(-1, 1)),
                "risk": (risk := chance.uniform(-1, 1)),
                "fraud": (amount > 0) == (risk > 0),
            }
        )
        for n in range(start, start + number)
    ]


def get(address: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    """Status and text of a page."""
    request = urllib.request.Request(f"http://{address}{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
