"""Makes docs/monitoring/dashboard.svg, by hand: `pip install matplotlib`, and `python -m tests.docs.dashboard_picture`.

The history of tests/docs/dashboard_history.py is scraped by a real Prometheus; then each query of the dashboard is
asked as Grafana would ask it, and what comes back is drawn where the dashboard has its panel. It takes three minutes,
and `prometheus` on the PATH.

Rule: what is drawn came from Prometheus; a panel without data is drawn without data.
"""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tests.architecture.source import ROOT
from tests.cli.forking import Forking
from tests.cli.program import make
from tests.docs import dashboard_history as history

PICTURE: Final = ROOT / "docs" / "monitoring" / "dashboard.svg"
DASHBOARD: Final = ROOT / "docs" / "monitoring" / "keyturn-dashboard.json"
STEP: Final = 1.0
"""Seconds from one point of a line to the next."""
VARIABLES: Final = {"$__rate_interval": "10s", "$__range": f"{history.SECONDS}s", "$service": ".*", "$env": ".*"}
"""What is put into queries, as Grafana does."""
RESULTS: Final = {0: ("pass", "#73bf69"), 1: ("warn", "#fade2a"), 2: ("fail", "#f2495c"), 3: ("unknown", "#8e8e8e")}
OPEN: Final = {0: ("closed", "#73bf69"), 1: ("open", "#f2495c")}

Series = tuple[str, list[float], list[float]]
"""What a line is called, its seconds since the beginning, and its values."""


def recorded() -> tuple[list[tuple[dict[str, Any], list[list[Series]]]], list[tuple[float, str]]]:
    """Return each panel of the dashboard with the series of its queries, and what happened when."""
    panels = [panel for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"] if panel["type"] != "row"]
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        forking = Forking()
        stack.callback(forking.close)
        web = stack.enter_context(history.web())
        folder, port = make(place, forking), history.free_port()
        folder.config.write_text(history.CONFIGURATION.format(port=port, web=web.port))
        folder.ok("config", "check")
        prometheus = stack.enter_context(history.prometheus(place / "prometheus", port))
        began = time.time()
        stack.enter_context(history.process(history.serve(folder), folder.path, place / "said.txt", "serving"))
        happened = history.happen(folder, web, began)
        end = time.time()
        found = [(panel, [_asked(prometheus, target, began, end) for target in panel["targets"]]) for panel in panels]
    return found, happened


def _asked(prometheus: history.Prometheus, target: dict[str, Any], began: float, end: float) -> list[Series]:
    query = target["expr"]
    for name, meant in VARIABLES.items():
        query = query.replace(name, meant)
    told = prometheus.ask(query, begin=began, end=end, step=STEP)
    return [
        (
            _named(target["legendFormat"], each["metric"]),
            [round(at - began, 1) for at, _ in each["values"]],
            [float(value) for _, value in each["values"]],
        )
        for each in told
    ]


def _named(form: str, labels: dict[str, str]) -> str:
    """Return the name of a series, as the legend of the panel has it; without one, of its labels."""
    if not form:
        return " ".join(labels[name] for name in ("service", "env") if name in labels)
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), form)


def draw(found: Sequence[tuple[dict[str, Any], list[list[Series]]]], happened: Sequence[tuple[float, str]]) -> None:
    """Write the picture: 24 columns, as the dashboard has them, and its rows."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "keyturn", "font.size": 7, "axes.titlesize": 8})
    from matplotlib import pyplot as plt

    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel, _ in found) + 1
    figure = plt.figure(figsize=(15, rows * 0.31))
    for panel, targets in found:
        place = panel["gridPos"]
        left, width = place["x"] / 24 + 0.03, place["w"] / 24 - 0.04
        bottom, height = 1 - (place["y"] + place["h"]) / rows + 0.012, place["h"] / rows - 0.026
        axes = figure.add_axes((left, bottom, width, height))
        axes.set_title(panel["title"], loc="left", fontweight="bold")
        _DRAWN[panel["type"]](axes, panel, targets, happened)
    said = ", ".join(f"{number} ({second:.0f} s): {text}" for number, (second, text) in enumerate(happened, 1))
    figure.text(0.03, 0.004, f"Seconds since keyturn serve was started. {said}.", fontsize=7)
    figure.savefig(PICTURE, metadata={"Date": None})
    text = PICTURE.read_text(encoding="utf-8")
    PICTURE.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def _stat(axes: Any, panel: dict[str, Any], targets: list[list[Series]], _: object) -> None:
    axes.axis("off")
    value = targets[0][0][2][-1] if targets[0] else float("nan")
    unit = " s" if panel["fieldConfig"]["defaults"]["unit"] == "s" else ""
    axes.text(0.5, 0.4, f"{value:.3g}{unit}", ha="center", va="center", fontsize=22, color="#3274d9")


def _table(axes: Any, panel: dict[str, Any], targets: list[list[Series]], _: object) -> None:
    axes.axis("off")
    names = sorted({name for series in targets for name, _, _ in series})
    last = [{name: values[-1] for name, _, values in series} for series in targets]
    heads = ["credential", "rotated ago", "due in", "versions valid"]
    units = (" s", " s", "")
    cells = [
        [name, *(f"{row[name]:.0f}{unit}" if name in row else "" for row, unit in zip(last, units, strict=True))]
        for name in names
    ]
    table = axes.table(cells, colLabels=heads, loc="upper left", cellLoc="left", edges="horizontal")
    table.scale(1, 1.6)


def _lines(
    axes: Any, panel: dict[str, Any], targets: list[list[Series]], happened: Sequence[tuple[float, str]]
) -> None:
    for name, times, values in (each for series in targets for each in series):
        pieces = _pieces(times, values)
        xs = [x for piece in pieces for x in (*piece[0], math.nan)]
        ys = [y for piece in pieces for y in (*piece[1], math.nan)]
        single = any(len(piece[0]) == 1 for piece in pieces)
        axes.plot(xs, ys, label=name, linewidth=1.2, marker="." if single else None, markersize=3)
    axes.set_xlim(0, history.SECONDS)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.set_ylabel("seconds" if panel["fieldConfig"]["defaults"]["unit"] == "s" else "")
    for number, (second, _) in enumerate(happened, 1):
        axes.axvline(second, color="#8e8e8e", linewidth=0.6, linestyle=":")
        axes.text(second, axes.get_ylim()[1], str(number), fontsize=5.5, color="#8e8e8e", ha="center")
    columns = 2 if sum(map(len, targets)) > 5 else 1
    axes.legend(loc="upper left", fontsize=5.5, framealpha=0.7, ncols=columns) if any(targets) else _nothing(axes)


def _pieces(times: list[float], values: list[float]) -> list[tuple[list[float], list[float]]]:
    """Return a line in pieces: where there was no value, nothing is drawn."""
    pieces: list[tuple[list[float], list[float]]] = []
    for at, value in zip(times, values, strict=True):
        if not pieces or at - pieces[-1][0][-1] > STEP * 1.5:
            pieces.append(([], []))
        pieces[-1][0].append(at)
        pieces[-1][1].append(value)
    return pieces


def _nothing(axes: Any) -> None:
    axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="#8e8e8e")


def _timeline(axes: Any, panel: dict[str, Any], targets: list[list[Series]], _: object) -> None:
    words = RESULTS if "check" in panel["targets"][0]["expr"] else OPEN
    (series,) = targets
    for row, (name, times, values) in enumerate(series):
        for value, points in groupby(zip(times, values, strict=True), key=lambda point: point[1]):
            shown = [at for at, _ in points]
            axes.barh(
                row, shown[-1] + STEP - shown[0], left=shown[0], height=0.7, color=words[int(value)][1], linewidth=0
            )
        axes.text(2, row, name, va="center", fontsize=6)
    axes.set_yticks([])
    axes.set_ylim(-0.6, len(series))
    axes.set_xlim(0, history.SECONDS)
    for word, colour in words.values():
        axes.barh(0, 0, color=colour, label=word)
    axes.legend(loc="upper right", fontsize=5.5, ncols=len(words))


_DRAWN: Final[dict[str, Any]] = {"stat": _stat, "table": _table, "timeseries": _lines, "state-timeline": _timeline}


def main() -> int:
    """Make the picture."""
    found, happened = recorded()
    draw(found, happened)
    empty = [panel["title"] for panel, targets in found if not any(targets)]
    print(f"{PICTURE}: {len(found)} panels, of which {len(empty)} have no data {empty}; {happened}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
