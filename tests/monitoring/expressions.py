"""Every expression that Penstock ships: those of the alerts and those of the dashboards' panels, and what they name."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/penstock.rules.yml"
DASHBOARDS = ROOT / "deploy/grafana/dashboards"


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """The dashboards by uid."""
    found = [json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))]
    return {one["uid"]: one for one in found}


def panels() -> dict[str, str]:
    """The expressions of panels, by dashboard, panel and letter."""
    return {
        f"{uid}: {panel['title']} {target['refId']}": target["expr"]
        for uid, dashboard in dashboards().items()
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }


def expressions() -> dict[str, str]:
    """All of them, by where they stand."""
    return {**{name: rule["expr"] for name, rule in alerts().items()}, **panels()}


def selectors(expression: str) -> list[tuple[str, dict[str, str]]]:
    """The series that an expression reads: (name, what each label must match).

    >>> selectors('rate(penstock_labels_total{outcome="joined"}[1h]) / penstock_turns_total')
    [('penstock_labels_total', {'outcome': '="joined"'}), ('penstock_turns_total', {})]
    """
    found = re.findall(r"\b(penstock_\w+)(?:\{([^}]*)\})?", expression)
    return [
        (name, dict(re.findall(r'(\w+)\s*(=~"[^"]*"|!~"[^"]*"|!="[^"]*"|="[^"]*")', labels)))
        for name, labels in found
    ]


def grouped(expression: str) -> set[str]:
    """The labels that an expression keeps, joins on or takes over."""
    lists = re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)", expression)
    return {label.strip() for one in lists for label in one.split(",") if label.strip()}
