"""How costs grow, as one SVG: a row a part, over the number of substations or sessions. Must not measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.peers.figures import Table
from benchmarks.peers.picture import FAINT, GRID, GROUPS, INK, OWN

if TYPE_CHECKING:
    from benchmarks.growth import Point

LOAD = "closed:64"
TITLES = {
    "grids": "Whole grids, by substations",
    "balancer": "A balancer alone, by substations",
    "sessions": "Three substations, by live sessions",
}


def draw(points: Sequence[Point], told: Mapping[str, Any], target: Path) -> None:
    """Writes `target`: a row a part; rate, 99th percentile, CPU a 202, memory."""
    parts = list(dict.fromkeys(point.part for point in points))
    figure, rows = pyplot.subplots(
        len(parts), 4, figsize=(12, 0.9 + 2.3 * len(parts)), layout="constrained", squeeze=False
    )
    for row, part in zip(rows, parts, strict=True):
        own = [point for point in points if point.part == part]
        _spread(row[0], own, "per_s", "202s a second")
        row[0].set_ylabel(TITLES[part], color=INK)
        _spread(row[1], own, "p99_ms", "99th percentile, ms")
        _groups(row[2], own, [Table(each.samples).cpu_us(str(each.size), LOAD) for each in own], "CPU a request, µs")
        _groups(row[3], own, [each.rest.memory_mb for each in own], "memory (PSS), MB")
    lines = [line for axes in rows.flat for line in axes.get_lines() if not line.get_label().startswith("_")]
    handles = {line.get_label(): line for line in lines}
    figure.legend(handles.values(), handles, loc="outside lower right", ncols=len(handles), frameon=False)
    said = f"{told['commit']}, {told['cores']} cores, {told['rounds']} rounds: median, least and most"
    figure.suptitle(said, x=0.01, ha="left", size="small", color=FAINT)
    figure.savefig(target, metadata={"Date": None, "Title": "How costs grow with substations and sessions"})


def _spread(axes: Axes, points: Sequence[Point], name: str, title: str) -> None:
    sizes = [point.size for point in points]
    spreads = [Table(point.samples).spread(str(point.size), LOAD, name) for point in points]
    found = [each for each in spreads if each is not None]
    axes.fill_between(
        sizes, [each.least for each in found], [each.most for each in found], color=OWN, alpha=0.2, linewidth=0
    )
    axes.plot(sizes, [each.median for each in found], color=OWN, marker="o", markersize=3, linewidth=1.2)
    _plain(axes, sizes, title)
    axes.set_ylim(0, 1.08 * max(each.most for each in found))


def _groups(axes: Axes, points: Sequence[Point], values: Sequence[Mapping[str, float]], title: str) -> None:
    sizes = [point.size for point in points]
    for group, color in GROUPS.items():
        if group != "load" and group in values[0]:
            own = [each[group] for each in values]
            axes.plot(sizes, own, color=color, marker="o", markersize=3, linewidth=1.2, label=group)
    _plain(axes, sizes, title)
    highest, least = (
        pick(value for each in values for group, value in each.items() if group != "load") for pick in (max, min)
    )
    if highest > 20 * least > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    else:
        axes.set_ylim(0, 1.08 * highest)


def _plain(axes: Axes, sizes: Sequence[int], title: str) -> None:
    axes.set_title(title, loc="left", size="medium", color=INK)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [_short(size) for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8, colors=FAINT, which="both")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _short(size: int) -> str:
    power = len(str(size)) - 1
    return f"$10^{power}$" if size > 9999 and size == 10**power else f"{size:,}"
