"""The compose file of a new pipeline: Kafka, Redis and every role, for one machine.

Laws of this file:
- The services are those of the project's own `docker-compose.yml`, but for where the image and the definition come from; a test
  holds them equal.
"""

from __future__ import annotations

TEMPLATE = """\
# Kafka, Redis and every role of @FILE@ on one machine:
#
#   export PENSTOCK_SECRET=$(openssl rand -hex 32)     once; keep it, it signs the models
#   docker compose up
#
# The image is built once, in a checkout of Penstock: docker build -t penstock .
# PENSTOCK_IMAGE names another one: where the definition imports more than river and the standard library, one of your own
# (FROM penstock, RUN pip install ...). Kafka is at localhost:9094 and Redis at localhost:6379 for producers and readers here.
# Predictions on request need --profile serve; challengers --profile race.

x-penstock: &penstock
  image: ${PENSTOCK_IMAGE:-penstock}
  environment: &environment
    KAFKA_BOOTSTRAP_SERVERS: kafka:9092
    REDIS_URL: redis://redis:6379/0
    # Signs model versions and snapshots; all roles must have the same one.
    PENSTOCK_SECRET: ${PENSTOCK_SECRET:?set it, for instance to the output of openssl rand -hex 32}
    PENSTOCK_SECRETS_FORMER: ${PENSTOCK_SECRETS_FORMER:-}
    PENSTOCK_HOST: 0.0.0.0
    PENSTOCK_PORT: "9100"
    PENSTOCK_MODELS: /models

x-definition: &definition
  type: bind
  source: .
  target: /definitions
  read_only: true
  bind:
    create_host_path: false

x-role: &role
  <<: *penstock
  restart: unless-stopped
  # Longer than a batch: a role that is told to stop commits first.
  stop_grace_period: 30s
  volumes:
    - type: volume
      source: models
      target: /models
    - *definition
  depends_on:
    topics:
      condition: service_completed_successfully
  healthcheck:
    test: ["CMD", "python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9100/readyz', timeout=3)"]
    interval: 5s
    timeout: 5s
    start_period: 60s
    retries: 6

services:
  kafka:
    image: apache/kafka:4.1.1
    ports:
      - "127.0.0.1:9094:9094"
    environment:
      KAFKA_NODE_ID: "1"
      KAFKA_PROCESS_ROLES: broker,controller
      KAFKA_LISTENERS: INSIDE://:9092,CONTROLLER://:9093,OUTSIDE://:9094
      KAFKA_ADVERTISED_LISTENERS: INSIDE://kafka:9092,OUTSIDE://localhost:9094
      KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT
      KAFKA_INTER_BROKER_LISTENER_NAME: INSIDE
      KAFKA_CONTROLLER_LISTENER_NAMES: CONTROLLER
      KAFKA_CONTROLLER_QUORUM_VOTERS: 1@localhost:9093
      KAFKA_AUTO_CREATE_TOPICS_ENABLE: "false"
      KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: "1"
      KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: "1"
      KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: "1"
      KAFKA_LOG_DIRS: /var/lib/kafka/data
    volumes:
      - kafka:/var/lib/kafka/data
    healthcheck:
      test: ["CMD", "/opt/kafka/bin/kafka-broker-api-versions.sh", "--bootstrap-server", "localhost:9092"]
      interval: 5s
      timeout: 10s
      start_period: 30s
      retries: 12

  redis:
    image: redis:8
    # Evicting a key of the private state would silently change features: Penstock refuses such a Redis.
    command: ["redis-server", "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"]
    ports:
      - "127.0.0.1:6379:6379"
    volumes:
      - redis:/data
    healthcheck:
      test: ["CMD", "redis-cli", "ping"]
      interval: 5s
      timeout: 3s
      retries: 12

  topics:
    <<: *penstock
    command: ["topics", "/definitions/@FILE@", "--create-sources"]
    volumes:
      - *definition
    depends_on:
      kafka:
        condition: service_healthy
      redis:
        condition: service_healthy
"""
ROLE = """
  {name}:
    <<: *role
{before}    command: ["run", "/definitions/@FILE@", "--role", "{name}"]
    ports:
      - "127.0.0.1:{port}:9100"
"""
CONSOLE = """\
    # Everybody who reaches this port may look: it is published on this machine alone.
    environment:
      <<: *environment
      PENSTOCK_CONSOLE_HOSTS: ${PENSTOCK_CONSOLE_HOSTS:-}
      PENSTOCK_CONSOLE_ANONYMOUS: ${PENSTOCK_CONSOLE_ANONYMOUS:-yes}
      PENSTOCK_CONSOLE_USERS: ${PENSTOCK_CONSOLE_USERS:-}
      PENSTOCK_CONSOLE_PROXIES: ${PENSTOCK_CONSOLE_PROXIES:-}
      PENSTOCK_CONSOLE_GROUPS: ${PENSTOCK_CONSOLE_GROUPS:-}
"""
ROLES = (
    ("featurize", 9101, ""),
    ("learn", 9102, ""),
    ("control", 9103, ""),
    ("challenge", 9104, '    profiles: ["race"]\n    cpu_shares: 102\n'),
    ("serve", 8080, '    profiles: ["serve"]\n'),
    ("console", 8090, CONSOLE),
)
END = """
volumes:
  kafka:
  redis:
  models:
"""


def compose(file: str) -> str:
    """The compose file for a definition that lies beside it."""
    roles = "".join(
        ROLE.replace("{name}", name).replace("{port}", str(port)).replace("{before}", before)
        for name, port, before in ROLES
    )
    return (TEMPLATE + roles + END).replace("@FILE@", file)
