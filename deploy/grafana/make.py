"""Writes the dashboards as Grafana's JSON: `python -m deploy.grafana.make`, which `make docs` calls, too.

Laws of this file:
- How panels look is said once; what they show is `deploy/grafana/panels.py`'s. The same files give the same JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.grafana.panels import OVERVIEW, PIPELINE, Panel

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
ROW_HEIGHT = 8


def target(number: int, expression: str, legend: str, kind: str) -> dict[str, Any]:
    """One query."""
    now = kind != "timeseries"
    return {
        "datasource": SOURCE,
        "refId": chr(ord("A") + number),
        "expr": expression,
        "legendFormat": legend,
        "instant": now,
        "range": not now,
        **({"format": "table"} if kind == "table" else {}),
    }


def drawn(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    """One panel as Grafana's JSON."""
    custom = {"fillOpacity": 60 if panel.stacked else 8, "lineWidth": 1, "showPoints": "never"}
    custom["stacking"] = {"mode": "normal" if panel.stacked else "none", "group": "A"}
    options: dict[str, Any] = {
        "timeseries": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "stat": {
            "colorMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "textMode": "value_and_name",
        },
        "table": {"showHeader": True},
    }[panel.kind]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.kind == "timeseries":
        defaults["custom"] = custom
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "gridPos": {"h": ROW_HEIGHT, "w": panel.width, "x": x, "y": y},
        "targets": [target(place, *asked, panel.kind) for place, asked in enumerate(panel.asked)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def dashboard(uid: str, title: str, panels: Sequence[Panel], *, several: bool) -> dict[str, Any]:
    """A dashboard; `several`: of all pipelines at once."""
    placed, x, y = [], 0, 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > 24:
            x, y = 0, y + ROW_HEIGHT
        placed.append(drawn(panel, number, x, y))
        x += panel.width
    pipelines = {
        "name": "pipeline",
        "label": "Pipeline",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(penstock_build_info, pipeline)", "refId": "pipeline"},
        "refresh": 2,
        "sort": 1,
        "multi": several,
        "includeAll": several,
        **({"allValue": ".*", "current": {"text": "All", "value": "$__all"}} if several else {}),
    }
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    alerts = {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"Penstock.+",alertstate="firing",pipeline=~"$pipeline"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{pipeline}} {{role}} {{kind}}",
    }
    other = "penstock-pipeline" if several else "penstock-overview"
    link = {
        "title": "One pipeline" if several else "All pipelines",
        "type": "link",
        "url": f"/d/{other}",
        "keepTime": True,
        "includeVars": not several,
    }
    return {
        "uid": uid,
        "title": title,
        "tags": ["penstock"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [link],
        "annotations": {"list": [alerts]},
        "templating": {"list": [source, pipelines]},
        "panels": placed,
    }


def dashboards() -> dict[str, str]:
    """File name and text of each."""
    made = [
        dashboard("penstock-overview", "Penstock: all pipelines", OVERVIEW, several=True),
        dashboard("penstock-pipeline", "Penstock: one pipeline", PIPELINE, several=False),
    ]
    return {f"{one['uid'].removeprefix('penstock-')}.json": json.dumps(one, indent=1) + "\n" for one in made}


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    for file, text in dashboards().items():
        (FOLDER / file).write_text(text)


if __name__ == "__main__":
    main()
