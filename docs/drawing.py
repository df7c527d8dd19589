"""Draws a dashboard of monitoring/grafana as an SVG: each panel where and as the JSON says, from the answers to its queries.

It is not Grafana: it knows the six kinds of panels that the dashboards have. Must not know where the answers come from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "gridctl", "font.size": 9, "axes.linewidth": 0.6})
from matplotlib import pyplot  # noqa: E402 - only after the kind of picture is chosen
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.colors import LinearSegmentedColormap  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import FancyBboxPatch, Wedge  # noqa: E402
from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: E402

#: Inches: of a column, of a row, between panels.
COLUMN, ROW, GAP = 0.52, 0.33, 0.1
HEADING, LEGEND_ROW = 0.62, 0.165
#: Wall seconds between two samples.
STEP_S = 2
PAPER, FRAME, INK, FAINT = "#f4f5f7", "#dfe2e8", "#24292e", "#6e7681"
COLORS = {
    "green": "#56a64b",
    "yellow": "#e0b400",
    "orange": "#ff780a",
    "red": "#e02f44",
    "blue": "#3274d9",
    "purple": "#8f3bb8",
}
SERIES = ["#3274d9", "#ff780a", "#56a64b", "#8f3bb8", "#e0b400", "#e02f44", "#2aa5a0", "#8a5a44", "#7a869a", "#d45ca5"]
DENSITY = LinearSegmentedColormap.from_list("density", ["#eaf2fd", "#3274d9", "#0b2e6b"])


@dataclass(frozen=True)
class Line:
    """One series, as it is drawn: its name, the query it belongs to, and its samples."""

    name: str
    query: str
    labels: dict[str, str]
    times: list[float]
    values: list[float]


@dataclass(frozen=True)
class Place:
    """A panel's room on the figure, in inches from its lower left corner."""

    x: float
    y: float
    w: float
    h: float

    def inside(self, left: float, bottom: float, right: float, top: float) -> Place:
        """The same without margins."""
        return Place(self.x + left, self.y + bottom, self.w - left - right, self.h - bottom - top)


class Sheet:
    """The figure, the time it shows, and what happened then."""

    def __init__(self, board: dict[str, Any], found: dict[str, Any], window: Sequence[float]) -> None:
        rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
        self.width, self.height = 24 * COLUMN + 2 * GAP, rows * ROW + HEADING + GAP
        self.figure: Figure = pyplot.figure(figsize=(self.width, self.height), facecolor=PAPER)
        self.board, self.found = board, found
        self.began_s, self.ended_s = window

    def place(self, pos: dict[str, int]) -> Place:
        """Where the JSON says it is."""
        top = self.height - HEADING - pos["y"] * ROW
        outer = Place(GAP + pos["x"] * COLUMN, top - pos["h"] * ROW, pos["w"] * COLUMN, pos["h"] * ROW)
        return outer.inside(GAP / 2, GAP / 2, GAP / 2, GAP / 2)

    def axes(self, place: Place) -> Axes:
        """Axes there."""
        w, h = self.width, self.height
        return self.figure.add_axes((place.x / w, place.y / h, place.w / w, place.h / h))

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        """Words at a point, in inches."""
        self.figure.text(x / self.width, y / self.height, words, **style)

    def frame(self, place: Place, color: str = "white") -> None:
        """The paper of a panel."""
        axes = self.axes(place)
        axes.set_axis_off()
        axes.set(xlim=(0, place.w), ylim=(0, place.h))
        box = FancyBboxPatch((0.03, 0.03), place.w - 0.06, place.h - 0.06, boxstyle="round,pad=0,rounding_size=0.05")
        box.set(facecolor=color, edgecolor=FRAME, linewidth=0.8, clip_on=False)
        axes.add_patch(box)

    def lines(self, panel: dict[str, Any]) -> list[Line]:
        """Every series of a panel, in the order of its queries."""
        lines = []
        for target in panel["targets"]:
            for series in self.found[str(panel["id"])][target["refId"]]:
                samples = series["values"] if "values" in series else [series["value"]]
                name = re.sub(
                    r"{{(\w+)}}", lambda label, of=series: of["metric"].get(label[1], ""), target["legendFormat"]
                )
                times, values = [at - self.began_s for at, _ in samples], [float(value) for _, value in samples]
                lines.append(Line(" ".join(name.split()), target["refId"], series["metric"], times, values))
        return lines


def draw(board: dict[str, Any], found: dict[str, Any], window: Sequence[float], target: Path) -> None:
    """Draw the dashboard `board` from the answers `found` (`{panel id: {refId: [series]}}`) as an SVG."""
    sheet = Sheet(board, found, window)
    sheet.text(2 * GAP, sheet.height - 0.33, board["title"], size=16, weight="bold", color=INK)
    minutes = round((sheet.ended_s - sheet.began_s) / 60)
    about = f"{board['description']} Drawn from what a Prometheus answered to its queries, over {minutes} minutes."
    sheet.text(2 * GAP, sheet.height - 0.53, about, size=8.5, color=FAINT)
    marks(sheet)
    for panel in board["panels"]:
        place = sheet.place(panel["gridPos"])
        if panel["type"] == "row":
            sheet.text(place.x + 0.05, place.y + 0.06, panel["title"], size=10.5, weight="bold", color=FAINT)
            continue
        sheet.frame(place)
        KINDS[panel["type"]](sheet, panel, place)
        sheet.text(place.x + 0.12, place.y + place.h - 0.22, panel["title"], size=9, weight="bold", color=INK)
    sheet.figure.savefig(target, facecolor=PAPER, metadata={"Date": None, "Title": f"The dashboard {board['title']}"})
    pyplot.close(sheet.figure)
    target.write_text(re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), target.read_text()))


def happened(sheet: Sheet) -> Iterator[tuple[str, str, list[tuple[float, float]]]]:
    """Name, colour and times of what is marked: for moments, of equal ends."""
    for each in sheet.board["annotations"]["list"]:
        spans: set[tuple[float, float]] = set()
        for series in sheet.found["annotations"][each["name"]]:
            on = [(at - sheet.began_s, float(value)) for at, value in series["values"] if float(value) > 0]
            if each["useValueForTime"]:
                spans |= {(value / 1000 - sheet.began_s,) * 2 for _, value in on}  # type: ignore[misc]
            else:
                spans |= set(joined([at for at, _ in on]))
        yield each["name"], COLORS[each["iconColor"]], sorted(spans)


def joined(times: list[float], gap_s: float = 6.0) -> Iterator[tuple[float, float]]:
    """Runs of times that lie close together, by their ends."""
    begun = None
    for at, following in zip(times, [*times, math.inf][1:], strict=True):
        begun = at if begun is None else begun
        if following - at > gap_s:
            yield begun, at
            begun = None


def marks(sheet: Sheet) -> None:
    """What the marks in the panels mean, at the top right."""
    x = sheet.width - 2 * GAP
    for name, color, spans in reversed(list(happened(sheet))):
        if spans:
            sheet.text(x, sheet.height - 0.33, name, size=9, ha="right", color=color, weight="bold")
            x -= 0.085 * len(name) + 0.18


def mark(sheet: Sheet, axes: Axes) -> None:
    """Draw what happened into a panel."""
    for _, color, spans in happened(sheet):
        for begin, end in spans:
            if end > begin:
                axes.axvspan(begin, end, color=color, alpha=0.07, linewidth=0)
            axes.axvline(begin, color=color, linewidth=0.8, linestyle=(0, (3, 2)), alpha=0.8)


def over_time(sheet: Sheet, axes: Axes) -> None:
    """The axis of time, in minutes and seconds."""
    axes.set_xlim(0, sheet.ended_s - sheet.began_s)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 3, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{int(at // 60)}:{int(at % 60):02}"))
    axes.tick_params(length=0, labelsize=7.5, colors=FAINT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FRAME)


def timeseries(sheet: Sheet, panel: dict[str, Any], place: Place) -> None:
    """Lines, areas or bars over time."""
    lines, defaults = sheet.lines(panel), panel["fieldConfig"]["defaults"]
    other = [line for line in lines if override(panel, line, "custom.axisPlacement") == "right"]
    rows = len(legend([line.name for line in lines], place.w))
    axes = sheet.axes(place.inside(0.75, 0.3 + rows * LEGEND_ROW, 0.65 if other else 0.2, 0.34))
    right = axes.twinx() if other else axes
    mark(sheet, axes)
    if is_stacked := defaults["custom"].get("stacking", {}).get("mode") == "normal":
        stacked(axes, lines)
    for line, color in zip(lines, colors(), strict=False):
        if not is_stacked:
            plotted(right if line in other else axes, line, color, defaults["custom"])
    limits(axes, defaults)
    scaled(axes, defaults["unit"])
    if other:
        scaled(right, override(panel, other[0], "unit"))
    over_time(sheet, axes)
    named(sheet, place, [(line.name, color) for line, color in zip(lines, colors(), strict=False)])


def limits(axes: Axes, defaults: dict[str, Any]) -> None:
    """The thresholds that are drawn as lines, where values come near them."""
    for step in defaults["thresholds"]["steps"] if "thresholdsStyle" in defaults["custom"] else []:
        if step["value"] is not None and step["value"] < 1.5 * axes.get_ylim()[1]:
            axes.axhline(step["value"], color=COLORS[step["color"]], linewidth=1, linestyle=(0, (5, 3)))


def override(panel: dict[str, Any], line: Line, key: str) -> Any:
    """What the panel says of this series in particular; None where it says nothing."""
    for each in panel["fieldConfig"].get("overrides", []):
        meant = {"byName": line.name, "byFrameRefID": line.query}.get(each["matcher"]["id"])
        if meant == each["matcher"]["options"]:
            return next((found["value"] for found in each["properties"] if found["id"] == key), None)
    return None


def colors() -> Iterator[str]:
    """A colour for each series, again and again."""
    while True:
        yield from SERIES


def scaled(axes: Axes, unit: str) -> None:
    """The axis of values, in their unit, from 0."""
    highest = max(1.06 * axes.get_ylim()[1], 1.0 if unit.startswith("suffix") else 1e-9)
    size = next((each for each in SIZES.get(unit, ()) if highest >= 2 * each), 1)
    found = MaxNLocator(5, integer=unit.startswith("suffix")).tick_values(0, highest / size)
    axes.set_ylim(0, highest)
    axes.set_yticks([tick * size for tick in found if 0 <= tick * size <= highest])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: worded(value, unit)))
    axes.grid(visible=True, axis="y", color="#eceef1", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=7.5, colors=FAINT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def plotted(axes: Axes, line: Line, color: str, custom: dict[str, Any]) -> None:
    """One line, with gaps where there is nothing; or bars."""
    times, values = broken(line)
    if custom.get("drawStyle") == "bars":
        axes.bar(times, values, width=2.0, color=color, linewidth=0)
        return
    axes.plot(times, values, color=color, linewidth=1.2)
    if custom["fillOpacity"]:
        axes.fill_between(times, values, color=color, alpha=custom["fillOpacity"] / 100, linewidth=0)


def broken(line: Line) -> tuple[list[float], list[float]]:
    """The samples, with a NaN in every gap."""
    times, values = [], []
    for at, value, following in zip(line.times, line.values, [*line.times, math.inf][1:], strict=True):
        times.append(at)
        values.append(value)
        if following - at > 1.5 * STEP_S:
            times.append(at + STEP_S / 2)
            values.append(math.nan)
    return times, values


def stacked(axes: Axes, lines: list[Line]) -> None:
    """Areas on top of each other."""
    times = sorted({at for line in lines for at in line.times})
    by_time = [dict(zip(line.times, line.values, strict=True)) for line in lines]
    rows = [[each.get(at, 0.0) if math.isfinite(each.get(at, 0.0)) else 0.0 for at in times] for each in by_time]
    axes.stackplot(
        times, rows, colors=[color for color, _ in zip(colors(), lines, strict=False)], alpha=0.75, linewidth=0
    )


def legend(names: list[str], width: float) -> list[list[str]]:
    """The names below a panel, by rows."""
    rows: list[list[str]] = [[]]
    for name in names:
        if rows[-1] and sum(room(each) for each in [*rows[-1], name]) > width - 0.2:
            rows.append([])
        rows[-1].append(name)
    return rows


def room(name: str) -> float:
    """How wide a name with its dot is, in inches."""
    return 0.061 * len(name) + 0.3


def named(sheet: Sheet, place: Place, entries: list[tuple[str, str]]) -> None:
    """The names of the series below a panel, and their colours."""
    color_of = iter([color for _, color in entries])
    rows = legend([name for name, _ in entries], place.w)
    for number, row in enumerate(rows):
        x, y = place.x + 0.15, place.y + 0.09 + LEGEND_ROW * (len(rows) - 1 - number)
        for name in row:
            sheet.text(x, y, "●", size=6.5, color=next(color_of))
            sheet.text(x + 0.12, y, name, size=7.5, color=INK)
            x += room(name)


def stat(sheet: Sheet, panel: dict[str, Any], place: Place) -> None:
    """One large number, coloured by its thresholds or its word, above its way there."""
    (line,) = sheet.lines(panel)[:1]
    defaults, value = panel["fieldConfig"]["defaults"], last(line)
    word, color = mapped(defaults, value) or (worded(value, defaults["unit"]), reached(defaults, value))
    on_color = panel["options"]["colorMode"] == "background"
    if on_color:
        sheet.frame(place, color)
    if panel["options"]["graphMode"] == "area" and len(line.values) > 1:
        axes = sheet.axes(place.inside(0.05, 0.05, 0.05, 0.8))
        axes.set_axis_off()
        axes.fill_between(*broken(line), color=color, alpha=0.25, linewidth=0)
        axes.plot(*broken(line), color=color, linewidth=1)
        axes.set(xlim=(0, sheet.ended_s - sheet.began_s), ylim=(0, None))
    middle = place.y + place.h * (0.45 if panel["options"]["graphMode"] == "area" else 0.38)
    ink = "white" if on_color else color
    sheet.text(place.x + place.w / 2, middle, word, size=17, weight="bold", ha="center", va="center", color=ink)


def last(line: Line) -> float:
    """The newest value that is a number."""
    return next((value for value in reversed(line.values) if math.isfinite(value)), math.nan)


def mapped(defaults: dict[str, Any], value: float) -> tuple[str, str] | None:
    """The word for a value and its colour, where it has one."""
    for each in defaults.get("mappings", []):
        if (found := each["options"].get(f"{value:g}")) is not None:
            return found["text"], COLORS[found["color"]]
    return None


def reached(defaults: dict[str, Any], value: float) -> str:
    """The colour of the highest threshold that the value reached."""
    steps = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    return COLORS[steps[-1]["color"]]


def gauge(sheet: Sheet, panel: dict[str, Any], place: Place) -> None:
    """A dial a series."""
    lines, defaults = sheet.lines(panel), panel["fieldConfig"]["defaults"]
    columns = math.ceil(math.sqrt(len(lines) * 1.2)) if len(lines) > 1 else 1
    rows = math.ceil(len(lines) / columns)
    room = place.inside(0.1, 0.1, 0.1, 0.3)
    for number, line in enumerate(lines):
        column, row = number % columns, number // columns
        cell = Place(
            room.x + column * room.w / columns,
            room.y + room.h - (row + 1) * room.h / rows,
            room.w / columns,
            room.h / rows,
        )
        dial(sheet, cell, last(line), line.name if len(lines) > 1 else "", defaults)


def dial(sheet: Sheet, cell: Place, value: float, name: str, defaults: dict[str, Any]) -> None:
    """Half a ring that is filled as far as the value goes, and the thresholds around it."""
    axes = sheet.axes(cell)
    axes.set(xlim=(-1.25, 1.25), ylim=(-0.55 if name else -0.2, 1.2), aspect="equal")
    axes.set_axis_off()
    most = defaults["max"]
    share = min(max(value / most, 0), 1)
    axes.add_patch(Wedge((0, 0), 1, 0, 180, width=0.27, color="#e9ecf0", linewidth=0))
    axes.add_patch(Wedge((0, 0), 1, 180 * (1 - share), 180, width=0.27, color=reached(defaults, value), linewidth=0))
    steps = defaults["thresholds"]["steps"]
    ends = [step["value"] for step in steps[1:]] + [most]
    for step, end in zip(steps, ends, strict=True):
        begin = step["value"] or 0
        if begin < end:
            arc = (180 * (1 - end / most), 180 * (1 - begin / most))
            axes.add_patch(Wedge((0, 0), 1.1, *arc, width=0.06, color=COLORS[step["color"]], linewidth=0))
    text = worded(value, defaults["unit"], defaults.get("decimals"))
    axes.text(0, 0.08, text, ha="center", size=11 if name else 14, weight="bold", color=reached(defaults, value))
    axes.text(0, -0.38, name, ha="center", size=8, color=INK)


def bar_gauge(sheet: Sheet, panel: dict[str, Any], place: Place) -> None:
    """A bar a series, with its value beside it."""
    lines, defaults = sheet.lines(panel), panel["fieldConfig"]["defaults"]
    longest = max(len(line.name) for line in lines)
    axes = sheet.axes(place.inside(0.35 + 0.062 * longest, 0.15, 0.75, 0.34))
    values = [last(line) for line in reversed(lines)]
    drawn = axes.barh(range(len(values)), values, color=[reached(defaults, value) for value in values], alpha=0.75)
    axes.bar_label(drawn, [worded(value, defaults["unit"]) for value in values], padding=4, color=INK)
    axes.set_yticks(range(len(lines)), [line.name for line in reversed(lines)])
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.spines[:].set_visible(False)


def state_timeline(sheet: Sheet, panel: dict[str, Any], place: Place) -> None:
    """A bar a series, coloured by its state."""
    lines, defaults = sheet.lines(panel), panel["fieldConfig"]["defaults"]
    longest = max(len(line.name) for line in lines)
    axes = sheet.axes(place.inside(0.35 + 0.062 * longest, 0.46, 0.25, 0.34))
    present: dict[str, str] = {}
    for row, line in enumerate(reversed(lines)):
        for begin, end, value in runs(line):
            word, color = mapped(defaults, value) or ("?", FAINT)
            present[word] = color
            axes.broken_barh([(begin, end - begin)], (row - 0.4, 0.8), facecolors=color, alpha=0.75, linewidth=0)
    axes.set_yticks(range(len(lines)), [line.name for line in reversed(lines)])
    axes.set_ylim(-0.6, len(lines) - 0.4)
    over_time(sheet, axes)
    named(sheet, place, sorted(present.items()))


def runs(line: Line) -> Iterator[tuple[float, float, float]]:
    """From when to when it had which value."""
    begun = None
    for at, value, following, next_value in zip(
        line.times, line.values, [*line.times, math.inf][1:], [*line.values, math.nan][1:], strict=True
    ):
        begun = at if begun is None else begun
        if next_value != value or following - at > 1.5 * STEP_S:
            yield begun, at + STEP_S, value
            begun = None


def heatmap(sheet: Sheet, panel: dict[str, Any], place: Place) -> None:
    """How many observations came to each bucket, darker for more."""
    lines = sorted(sheet.lines(panel), key=lambda line: float(line.labels["le"]))
    times = sorted({at for line in lines for at in line.times})
    by_time = [dict(zip(line.times, line.values, strict=True)) for line in lines]
    sums = [[each.get(at, 0.0) for at in times] for each in by_time]
    below = [[0.0] * len(times), *sums[:-1]]
    counts = [[max(high - low, 0) for high, low in zip(*pair, strict=True)] for pair in zip(sums, below, strict=True)]
    used = [number for number, row in enumerate(counts) if max(row) > 0.01]
    first, final = min(used, default=0), max(used, default=0)
    shown = [[math.sqrt(value) if value > 0.01 else math.nan for value in row] for row in counts[first : final + 1]]
    axes = sheet.axes(place.inside(0.75, 0.3, 0.2, 0.34))
    axes.pcolormesh(
        [*times, times[-1] + 1], range(len(shown) + 1), shown, cmap=DENSITY, vmin=0, linewidth=0, rasterized=True
    )
    bounds = [0.0, *(float(line.labels["le"]) for line in lines)][first : final + 2]
    unit = panel["options"]["yAxis"]["unit"]
    axes.set_yticks(range(len(bounds)), [worded(bound, unit) for bound in bounds])
    over_time(sheet, axes)


def worded(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit, short."""
    value = value if decimals is None else round(value, decimals)
    if math.isinf(value):
        return "∞"
    if unit.startswith("suffix:"):
        return f"{value:.3g} {unit.removeprefix('suffix:')}"
    return UNITS[unit](value)


def seconds(value: float) -> str:
    """A time in the unit that makes it short."""
    for size, name in ((3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    return "0"


def memory(value: float) -> str:
    """Bytes in the unit that makes them short."""
    size, name = (2**30, "GiB") if value >= 2**30 else (2**20, "MiB")
    return f"{value / size:.3g} {name}" if value else "0"


UNITS: dict[str, Callable[[float], str]] = {
    "none": lambda value: f"{value:g}",
    "short": lambda value: f"{value:.3g}",
    "percent": lambda value: f"{value:.3g} %",
    "percentunit": lambda value: f"{100 * value:.3g} %",
    "s": seconds,
    "reqps": lambda value: f"{value:.3g}/s",
    "kwatt": lambda value: f"{value:.4g} kW",
    "kwatth": lambda value: f"{value:.4g} kWh",
    "bytes": memory,
}
#: What ticks are multiples of, the largest that fits.
SIZES: dict[str, tuple[float, ...]] = {"s": (3600, 60), "bytes": (2**30, 2**20)}
KINDS: dict[str, Callable[[Sheet, dict[str, Any], Place], None]] = {
    "timeseries": timeseries,
    "stat": stat,
    "gauge": gauge,
    "bargauge": bar_gauge,
    "state-timeline": state_timeline,
    "heatmap": heatmap,
}
