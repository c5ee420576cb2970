"""The Helm chart, rendered over a matrix of values: held against Kubernetes' schemas and against our own rules.

Needs `helm`, and for Kubernetes' schemas the extra `chart`: `make test-chart` brings both. With PENSTOCK_TEST_SHORT=yes each
option is looked at alone, and held against one version of Kubernetes.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.stream.process.metric_list import METRICS
from penstock.stream.process.settings import Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "penstock"
HELM = os.environ.get("PENSTOCK_TEST_HELM") or shutil.which("helm")
ROLES = ("featurize", "learn", "control", "challenge", "serve", "console")
SHORT = bool(os.environ.get("PENSTOCK_TEST_SHORT"))
NOW = "1.32"
KUBERNETES = (NOW,) if SHORT else ("1.28", NOW, "1.37")
NO_SCHEMA_HERE = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}  # custom resources of others

pytestmark = pytest.mark.skipif(HELM is None, reason="there is no helm here: `make test-chart` brings one")


def joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Values as Helm would join them: the other's win."""
    both = dict(one)
    for name, value in other.items():
        there = both.get(name)
        both[name] = joined(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return both


LEAST: dict[str, Any] = {
    "definition": {"files": {"pipeline.py": "from penstock import Pipeline\n"}},
    "kafka": {"bootstrapServers": "kafka:9092"},
    "redis": {"existingSecret": "redis"},
    "signing": {"existingSecret": "signing"},
}
EVERY_ROLE: dict[str, Any] = {"roles": {role: {"enabled": True} for role in ROLES}}
OPTIONS: dict[str, dict[str, Any]] = {
    "least": {},
    "every role": EVERY_ROLE,
    "roles off": {"roles": {role: {"enabled": False} for role in ROLES}},
    "in the image": {"definition": {"path": "/app/examples/cards.py", "files": None}},
    "a map that is there": {"definition": {"path": "fraud.py", "files": None, "existingConfigMap": "fraud"}},
    "users": {
        "kafka": {
            "settings": {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "SCRAM-SHA-512"},
            "existingSecret": "kafka",
            "existingSecretOf": {"learn": "kafka-learn"},
            "existingCaSecret": "kafka-ca",
        },
        "redis": {"existingSecretOf": {"serve": "redis-serve"}},
    },
    "scaled": {
        "roles": {
            "featurize": {"replicas": 4},
            "learn": {"replicas": 2},
            "serve": {
                "enabled": True,
                "workers": 4,
                "existingSecret": "tokens",
                "autoscaling": {"enabled": True},
            },
        },
        "keda": {"enabled": True, "prometheusAddress": "http://prometheus:9090"},
    },
    "watched": {
        "monitoring": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "docsUrl": "https://docs.example.org"},
        }
    },
    "placed": {
        "prefix": "staging.",
        "models": "s3://bucket/models",
        "image": {"digest": "sha256:" + "0" * 64},
        "nodeSelector": {"pool": "streams"},
        "tolerations": [{"key": "streams", "operator": "Exists"}],
        "podAnnotations": {"example.org/a": "b"},
        "extraEnv": [{"name": "AWS_REGION", "value": "eu-west-1"}],
        "priorityClassName": "high",
        "roles": {"console": {"enabled": True, "hosts": ["a", "b"], "existingUsersSecret": "users"}},
        "networkPolicy": {
            "kafka": {"ports": [9092, 9093], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
            "extraEgress": [{"ports": [{"protocol": "TCP", "port": 443}]}],
            "from": [{"namespaceSelector": {}}],
        },
    },
    "bare": {
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "serviceAccount": {"create": False, "name": "mine"},
    },
}
#: Each alone and each two together: what one option does must not depend on another.
MATRIX = sorted(
    {(name, name) for name in OPTIONS}
    if SHORT
    else {tuple(sorted(pair)) for pair in itertools.product(OPTIONS, OPTIONS)} - {("roles off", "scaled")}
)


def helm(values: dict[str, Any], *more: str, verb: str = "template") -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    words = [HELM, verb, *(["shop"] if verb == "template" else []), str(CHART), "-f", "-", *more]
    return subprocess.run(words, input=yaml.safe_dump(values), capture_output=True, text=True, check=False)


@cache
def rendered(names: tuple[str, ...], version: str = NOW) -> tuple[dict[str, Any], ...]:
    values = LEAST
    for name in names:
        values = joined(values, OPTIONS[name])
    done = helm(values, "--kube-version", version, "--namespace", "streams")
    assert done.returncode == 0, done.stderr
    return tuple(one for one in yaml.safe_load_all(done.stdout) if one)


def objects(names: tuple[str, ...], *kinds: str) -> list[dict[str, Any]]:
    return [one for one in rendered(names) if one["kind"] in kinds]


def workloads(names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """StatefulSets and Deployments by role."""
    found = objects(names, "StatefulSet", "Deployment")
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one for one in found}


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(only)


def environment(workload: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container(workload)["env"]}


@pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None, reason="the extra `chart` is not installed"
)
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_one_that_kubernetes_knows_to_the_last_field(version: str) -> None:
    import kubernetes_validate  # type: ignore[import-not-found,unused-ignore]

    for names in MATRIX if version == NOW else [(name,) for name in OPTIONS]:
        for one in rendered(names, version):
            if one["kind"] not in NO_SCHEMA_HERE:
                kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("names", MATRIX, ids=" and ".join)
def test_every_pod_may_as_little_as_restricted_pod_security_wants(names: tuple[str, ...]) -> None:
    for role, workload in workloads(names).items():
        pod, one = workload["spec"]["template"]["spec"], container(workload)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        context = one["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"name": "tmp", "emptyDir": {}} in pod["volumes"]
        mounts = {mount["name"]: mount for mount in one["volumeMounts"]}
        assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
        assert all(mount.get("readOnly") for name, mount in mounts.items() if name != "tmp")
        assert one["resources"]["limits"]["memory"] and one["resources"]["requests"]["cpu"]
        for probe, path in (("startup", "healthz"), ("liveness", "healthz"), ("readiness", "readyz")):
            assert one[f"{probe}Probe"]["httpGet"] == {"path": f"/{path}", "port": "http"}
        assert pod["terminationGracePeriodSeconds"] >= 15, role


@pytest.mark.parametrize("names", MATRIX, ids=" and ".join)
def test_no_secret_stands_in_clear_and_every_name_told_is_a_setting(names: tuple[str, ...]) -> None:
    known = {
        "KAFKA_BOOTSTRAP_SERVERS": "bootstrap",
        "REDIS_URL": "redis_url",
        "PENSTOCK_SECRETS_FORMER": "former_secrets",
    }
    fields = set(Settings.__dataclass_fields__)
    for role, workload in workloads(names).items():
        told = environment(workload)
        for name, value in told.items():
            secret = re.search("PASSWORD|SECRET|TOKENS|REDIS_URL|USERNAME", name)
            assert not secret or set(value) == {"secretKeyRef"}, name
            if name in ("HOME", "AWS_REGION") or name.startswith("PENSTOCK_KAFKA_"):
                continue
            field = known.get(name, name.removeprefix("PENSTOCK_").lower())
            assert field in fields, f"{name} is no setting"
        assert ("KAFKA_BOOTSTRAP_SERVERS" in told) == (role != "serve")


@pytest.mark.parametrize("names", MATRIX, ids=" and ".join)
def test_ordinals_are_slots_and_selectors_find_their_own_pods_alone(names: tuple[str, ...]) -> None:
    found = workloads(names)
    for role, workload in found.items():
        kept = role in ("featurize", "learn")
        assert workload["kind"] == ("StatefulSet" if kept else "Deployment")
        slot = environment(workload).get("PENSTOCK_SLOT")
        field = "metadata.labels['apps.kubernetes.io/pod-index']"
        assert slot == ({"fieldRef": {"fieldPath": field}} if kept else None)
        selector = workload["spec"]["selector"]["matchLabels"]
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= labels.items()
        others = [
            one["spec"]["template"]["metadata"]["labels"] for name, one in found.items() if name != role
        ]
        assert not any(selector.items() <= other.items() for other in others)
        assert role not in ("control", "challenge") or workload["spec"]["replicas"] == 1
    for budget in objects(names, "PodDisruptionBudget"):
        wanted = budget["spec"]["selector"]["matchLabels"]
        roles = [
            role
            for role, one in found.items()
            if wanted.items() <= one["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(roles) == 1
    assert "bare" in names or len(objects(names, "PodDisruptionBudget")) == len(found)
    named = [(one["kind"], one["metadata"]["name"]) for one in rendered(names)]
    assert len(named) == len(set(named))
    for service in objects(names, "Service"):
        selector = service["spec"]["selector"]
        assert not found or any(
            selector.items() <= one["spec"]["template"]["metadata"]["labels"].items()
            for one in found.values()
        )


def test_the_scaler_asks_for_metrics_that_there_are_and_leaves_the_number_alone() -> None:
    names = ("scaled",)
    (scaler,) = objects(names, "ScaledObject")
    asked = set(re.findall(r"penstock_\w+", scaler["spec"]["triggers"][0]["metadata"]["query"]))
    assert asked == {"penstock_newest_event_timestamp_seconds", "penstock_lag_records"}
    assert asked <= {metric.name for metric in METRICS if "featurize" in metric.roles}
    featurize = workloads(names)["featurize"]
    assert "replicas" not in featurize["spec"] and "replicas" not in workloads(names)["serve"]["spec"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == featurize["metadata"]["name"]
    assert workloads(("least",))["featurize"]["spec"]["replicas"] == 1


def test_the_rules_are_those_of_the_other_prometheus_with_links_of_this_site() -> None:
    (rule,) = objects(("watched",), "PrometheusRule")
    ours = (ROOT / "deploy" / "prometheus" / "penstock.rules.yml").read_text()
    assert rule["spec"] == yaml.safe_load(
        ours.replace("{{ $externalLabels.docs_url }}", "https://docs.example.org")
    )
    (monitor,) = objects(("watched",), "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    found = [
        one for one in objects(("watched",), "Service") if wanted.items() <= one["metadata"]["labels"].items()
    ]
    assert [one["spec"].get("clusterIP") for one in found] == ["None"]


def test_a_changed_definition_rolls_the_pods_and_an_unchanged_one_does_not() -> None:
    def marks(text: str) -> set[str]:
        done = helm(joined(LEAST, {"definition": {"files": {"pipeline.py": text}}}), "--kube-version", "1.32")
        found = [
            one
            for one in yaml.safe_load_all(done.stdout)
            if one and one["kind"] in ("StatefulSet", "Deployment")
        ]
        return {one["spec"]["template"]["metadata"]["annotations"]["checksum/definition"] for one in found}

    assert marks("a = 1\n") == marks("a = 1\n") != marks("a = 2\n")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kafka": {"bootstrapServers": ""}}, "kafka.bootstrapServers: say where Kafka is"),
        ({"redis": {"existingSecret": ""}}, "redis.existingSecret: name the secret"),
        ({"signing": {"existingSecret": ""}}, "signing.existingSecret: name the secret"),
        ({"definition": {"files": None}}, "where is the definition?"),
        ({"definition": {"path": "other.py"}}, "definition.files has no such file"),
        ({"keda": {"enabled": True}}, "keda.prometheusAddress"),
        (joined(OPTIONS["scaled"], OPTIONS["roles off"]), "keda.enabled scales featurize"),
        ({"roles": {"learn": {"replica": 2}}}, "replica"),
        ({"kafka": {"settings": {"SASL_PASSWORD": "in clear"}}}, "SASL_PASSWORD"),
        ({"roles": {"serve": {"workers": 0}}}, "workers"),
        ({"roles": {"learn": {"resources": {"limits": {"memory": None}}}}}, "memory"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused_by_name(values: dict[str, Any], said: str) -> None:
    done = helm(joined(LEAST, values), "--kube-version", "1.32")
    assert done.returncode != 0 and said in done.stderr, done.stderr


def test_lint_finds_nothing_and_the_schema_names_every_value() -> None:
    done = helm(joined(LEAST, EVERY_ROLE), "--strict", verb="lint")
    assert done.returncode == 0, done.stdout

    def paths(given: Any, at: str = "") -> set[str]:
        if not isinstance(given, dict):
            return {at}
        return {one for name, value in given.items() for one in paths(value, f"{at}/{name}")} or {at}

    schema = json.loads((CHART / "values.schema.json").read_text())
    for path in paths(yaml.safe_load((CHART / "values.yaml").read_text())):
        here = schema
        for name in path.strip("/").split("/"):
            if "$ref" in here:
                here = schema["definitions"][here["$ref"].rpartition("/")[2]]
            if name in ("cpu", "memory"):
                break
            assert name in here["properties"], path
            here = here["properties"][name]


def test_the_chart_is_of_the_version_that_it_installs() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'\nversion = "{chart["appVersion"]}"\n' in project
