"""A broker with SASL/SCRAM over TLS and ACLs, a Valkey with users behind TLS, and roles with exactly the rights that are printed.

Laws of this file:
- Rights are those of `penstock acls`, set as `tests.rights` sets them. The administrator of the servers alone comes without TLS.
- Each server has, beside the right certificate, listeners with one that is over and one of another host. Passwords differ from
  user to user, and stand nowhere else: what is said can be searched for them.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from penstock.features.redis.store import connect
from penstock.stream.stack.kafka import kafka_server
from penstock.stream.stack.server import free_ports
from penstock.stream.stack.valkey import valkey_server
from tests.rights.secured import ROLES, Deployment, Secured
from tests.security.certificates import ELSEWHERE, OVER, Authority
from tests.security.tls_proxy import TlsProxy

CASES = ("right", "over", "elsewhere")
_LISTENER = """
listener.name.{name}.ssl.keystore.type=PEM
listener.name.{name}.ssl.keystore.location={file}
listener.name.{name}.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.{name}.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
_SETTINGS = """
listeners=PLAINTEXT://127.0.0.1:{{broker}},{where},CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=PLAINTEXT://127.0.0.1:{{broker}},{where}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,{protocols}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
"""


class OverTls(Secured):
    """The servers. `kafka_at` and `redis_at` are the ports by case; `ca` what clients are to trust, `other_ca` another's."""

    def __init__(self, folder: Path) -> None:
        authority, other = Authority(folder / "ours"), Authority(folder / "theirs")
        self.ca, self.other_ca = authority.file, other.file
        files = {
            "right": authority.issue("right"),
            "over": authority.issue("over", between=OVER),
            "elsewhere": authority.issue("elsewhere", ELSEWHERE),
        }
        self.kafka_at = dict(zip(CASES, free_ports(len(CASES)), strict=True))
        where = ",".join(f"{name.upper()}://127.0.0.1:{port}" for name, port in self.kafka_at.items())
        protocols = ",".join(f"{name.upper()}:SASL_SSL" for name in CASES)
        more = _SETTINGS.format(where=where, protocols=protocols)
        more += "".join(_LISTENER.format(name=name, file=file) for name, file in files.items())
        self.broker, self.admin_kafka = kafka_server(print, heap_mb=512, more=more)
        self.valkey, self.admin_redis = valkey_server()
        plain = int(self.admin_redis.rpartition(":")[2].partition("/")[0])
        self.proxies = {name: TlsProxy(file, plain) for name, file in files.items()}
        self.redis_at = {name: proxy.port for name, proxy in self.proxies.items()}
        self.kafka = f"127.0.0.1:{self.kafka_at['right']}"
        self.admin = AdminClient({"bootstrap.servers": self.admin_kafka})
        self.redis: Any = connect(self.admin_redis)
        self.kafka_passwords = {role: f"kafka-{secrets.token_hex(12)}" for role in ROLES}
        self.redis_passwords = {role: f"redis-{secrets.token_hex(12)}" for role in ROLES}
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096)
        wanted = [
            UserScramCredentialUpsertion(role, info, password.encode())
            for role, password in self.kafka_passwords.items()
        ]
        for answer in self.admin.alter_user_scram_credentials(wanted).values():
            answer.result()

    def set_redis(self, lines: Any) -> None:
        """These lines, and each user's own password."""
        for line in lines:
            words = line.split()
            self.redis.execute_command(*words, f">{self.redis_passwords[words[2]]}")

    def redis_of(self, user: str, case: str = "right", ca: Path | None = None, password: str = "") -> str:
        """The address of Redis, as this user."""
        given = password or self.redis_passwords.get(user, "none")
        return f"rediss://{user}:{given}@127.0.0.1:{self.redis_at[case]}/0?ssl_ca_certs={ca or self.ca}"

    def close(self) -> None:
        """End them."""
        for proxy in self.proxies.values():
            proxy.close()
        super().close()


class TlsDeployment(Deployment):
    """A definition on these servers."""

    servers: OverTls

    def __init__(self, servers: OverTls, file: Path, prefix: str) -> None:
        super().__init__(servers, file, prefix)
        self.secret = f"penstock-{secrets.token_hex(12)}"

    def environment(self, user: str) -> dict[str, str]:
        """What makes a process this user."""
        return super().environment(user) | {
            "PENSTOCK_SECRET": self.secret,
            "PENSTOCK_CONNECT_TIMEOUT_S": "5",
            "PENSTOCK_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "PENSTOCK_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "PENSTOCK_KAFKA_SASL_PASSWORD": self.servers.kafka_passwords.get(user, "none"),
            "PENSTOCK_KAFKA_SSL_CA_LOCATION": str(self.servers.ca),
        }

    def secrets(self) -> list[str]:
        """Everything that nothing may show."""
        servers = self.servers
        return [self.secret, *servers.kafka_passwords.values(), *servers.redis_passwords.values()]
