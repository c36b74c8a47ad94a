"""A dashboard as Grafana keeps it (dashboard JSON, schema version 36: read by Grafana 9 and all later ones).

The data source is a variable, so the file can be imported anywhere, and provisioned without a change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from builder.canonical import content_key
from builder.deploy.monitoring.panels import Panel, Row, rows
from builder.deploy.monitoring.watched import SUCCESS, Watched

SCHEMA_VERSION = 36
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS, _TALL, _SHORT = 24, 8, 4


def dashboard(watched: Watched) -> dict[str, Any]:
    name = watched.name or "mbuild"
    return {
        "uid": f"mbuild-{content_key({'dashboard': name})[:16]}",
        "title": f"{watched.name}: serving" if watched.name else "Models served by mbuild",
        "description": "Written by `mbuild deploy monitoring`.",
        "tags": ["mbuild", "inference"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA_VERSION,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": list(_variables(watched))},
        "annotations": {"list": [_alerts()]},
        "panels": list(_placed(rows(watched))),
    }


def _variables(watched: Watched) -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    within = ""
    for name in ("namespace", "job", "instance", "model"):
        variable: dict[str, Any] = {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": _SOURCE,
            "query": f"label_values({SUCCESS}{{{within}}}, {name})" if within else f"label_values({SUCCESS}, {name})",
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }
        if name == "job" and watched.job:
            variable["current"] = {"text": watched.job, "value": watched.job}
        yield variable
        within = f'{within},{name}=~"${name}"'.lstrip(",")


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"ModelServer.*",alertstate="firing",job=~"$job"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}} {{model}}",
    }


def _placed(all_rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Rows one below the other, their panels from left to right."""
    number, top = 0, 0
    for row in all_rows:
        number += 1
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        left, top, tall = 0, top + 1, 0
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                left, top, tall = 0, top + tall, 0
            height = _SHORT if panel.kind == "stat" else _TALL
            number += 1
            yield _panel(number, panel, {"x": left, "y": top, "w": panel.width, "h": height})
            left, tall = left + panel.width, max(tall, height)
        top += tall


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    heat = panel.kind == "heatmap"
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": _SOURCE,
            "expr": query.expression,
            "legendFormat": query.legend or "__auto",
            "range": True,
            **({"format": "heatmap"} if heat else {}),
        }
        for index, query in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        **({"description": panel.about} if panel.about else {}),
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": targets,
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _OPTIONS[panel.kind] | ({"yAxis": {"unit": panel.unit}} if heat else {}),
    }


def _field(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.most is not None:
        found["max"] = panel.most
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        found["custom"] = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
        found["custom"] |= {"stacking": stacking}
    if panel.bad_from is not None:
        low, high = ("red", "green") if panel.more_is_good else ("green", "red")
        steps = [{"color": low, "value": None}, {"color": high, "value": panel.bad_from}]
        found["color"] = {"mode": "thresholds"}
        found["thresholds"] = {"mode": "absolute", "steps": steps}
    return found


_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "graphMode": "area",
        "colorMode": "value",
        "justifyMode": "auto",
        "textMode": "auto",
        "orientation": "auto",
    },
    "heatmap": {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange"},
        "cellGap": 1,
        "tooltip": {"show": True, "yHistogram": False},
        "legend": {"show": True},
    },
}
