"""A picture of the dashboard without Grafana: each panel in its place, with what Prometheus answers to its queries.

It shows what is empty, too long or in the wrong unit; Grafana draws the same more beautifully.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.monitoring import DASHBOARD, filled
from tests.servers.prometheus import Prometheus

COLUMNS, ROW_PX, DPI = 24, 38, 100
SECONDS = 60
COLOURS = {"green": "#299c46", "orange": "#ed8128", "red": "#d44a3a", "blue": "#1f60c4"}
MANY = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9))


def draw(server: Prometheus, path: Path, width_px: int) -> None:
    """Draw the last minute of all panels, as a screen of this width shows them."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    num_rows = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in panels)
    figure = Figure(figsize=(width_px / DPI, num_rows * ROW_PX / DPI), dpi=DPI)
    for panel in panels:
        place = panel["gridPos"]
        left, bottom = place["x"] / COLUMNS, 1 - (place["y"] + place["h"]) / num_rows
        width, height = place["w"] / COLUMNS, place["h"] / num_rows
        pad_x, pad_y = 40 / width_px, 22 / (num_rows * ROW_PX)
        plot = (left + pad_x, bottom + pad_y, width - 1.4 * pad_x, max(height - 3 * pad_y, 0.2 * height))
        _panel(figure.add_axes(plot), panel, server)
    figure.savefig(path)


def _panel(axes: Axes, panel: dict[str, Any], server: Prometheus) -> None:
    axes.set_title(panel["title"], fontsize=9 if panel["type"] != "row" else 12, loc="left", pad=4)
    if panel["type"] == "timeseries":
        _series(axes, panel, server)
        return
    axes.set_axis_off()
    if panel["type"] != "row":
        _values(axes, panel, server)


def _series(axes: Axes, panel: dict[str, Any], server: Prometheus) -> None:
    unit, now = panel["fieldConfig"]["defaults"]["unit"], time.time()
    for target in panel["targets"]:
        for one in server.range(filled(target["expr"]), now - SECONDS, now, 1):
            times, values = zip(*((moment - now, float(value)) for moment, value in one["values"]), strict=True)
            axes.plot(times, values, linewidth=1, label=_legend(target["legendFormat"], one["metric"]))
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]:
        axes.axhline(step["value"], color=COLOURS[step["color"]], linewidth=0.6, linestyle="--")
    axes.yaxis.set_major_formatter(lambda value, _: _shown(value, unit))
    axes.tick_params(labelsize=6)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=6, loc="upper left", ncols=2, framealpha=0.6)


def _values(axes: Axes, panel: dict[str, Any], server: Prometheus) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    texts = [text for mapping in defaults.get("mappings", []) for text in [mapping["options"]]]
    for target in panel["targets"]:
        found = server.ask(filled(target["expr"]))
        for index, one in enumerate(found[:8]):
            value = float(one["value"][1])
            colour = [each["color"] for each in defaults["thresholds"]["steps"] if value >= (each["value"] or -1e300)][
                -1
            ]
            text = next((each[f"{value:g}"]["text"] for each in texts if f"{value:g}" in each), None)
            said = text or _shown(value, defaults["unit"])
            if panel["type"] == "table":
                said = ", ".join(one["metric"].values())
            axes.text(0, 0.9 - index / max(len(found), 2), said, color=COLOURS[colour], fontsize=13, va="top")
            axes.text(
                1,
                0.9 - index / max(len(found), 2),
                _legend(target["legendFormat"], one["metric"]),
                ha="right",
                va="top",
                fontsize=7,
            )
        if not found:
            axes.text(0, 0.5, defaults.get("noValue", "no data"), color="grey", fontsize=11)


def _legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), template)


def _shown(value: float, unit: str) -> str:
    """Return a number roughly as Grafana writes it in this unit."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s" and abs(value) < 1:
        return f"{1000 * value:.3g} ms"
    sign, size = [(name, each) for name, each in MANY if abs(value) >= each or each == 1][-1]
    after = {"s": " s", "bytes": "B", "percent": " %", "reqps": "/s", "rowsps": "/s"}.get(unit, "")
    return f"{'$' if unit == 'currencyUSD' else ''}{value / size:.3g}{sign}{after}"
