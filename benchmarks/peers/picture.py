"""The comparison as one SVG: rates, 99th percentiles and CPU of every peer, with their spread. Must not measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "gridctl", "font.size": 9, "axes.linewidth": 0.6})
from matplotlib import pyplot  # noqa: E402 - only after the kind of picture is chosen
from matplotlib.axes import Axes  # noqa: E402

from benchmarks.peers.figures import OURS, Table  # noqa: E402

INK, FAINT, GRID = "#24292e", "#6e7681", "#eceef1"
#: Ours, and the others.
OWN, OTHER = "#3274d9", "#a8b3c2"
GROUPS = {
    "request service": "#3274d9",
    "balancer": "#56a64b",
    "proxy": "#8f3bb8",
    "substations": "#e0b400",
    "load": "#c9ced6",
}


def draw(table: Table, told: Mapping[str, Any], target: Path) -> None:
    """Writes `target`: a row a load; left the rate, in the middle the 99th percentile, right the CPU by process group."""
    loads = table.loads()
    figure, rows = pyplot.subplots(
        len(loads), 3, figsize=(11, 1.0 + 1.75 * len(loads)), layout="constrained", squeeze=False
    )
    for (rate, late, cpu), load in zip(rows, loads, strict=True):
        peers = [peer for peer in table.peers() if table.spread(peer, load, "per_s")][::-1]
        _bars(rate, table, load, peers, "per_s")
        _bars(late, table, load, peers, "p99_ms")
        _stacks(cpu, table, load, peers)
        rate.set_title(_title(load), loc="left", size="medium", weight="bold", color=INK)
        late.set_title("99th percentile, ms", loc="left", size="medium", color=INK)
        cpu.set_title("CPU a request, µs, by who spent it", loc="left", size="medium", color=INK)
        late.set_yticklabels([])
        cpu.set_yticklabels([])
    handles = [mpl.patches.Patch(color=color, label=name) for name, color in GROUPS.items()]
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), frameon=False)
    said = f"{told['commit']}, {told['cores']} cores, {told['rounds']} rounds: median, least and most"
    figure.suptitle(said, x=0.01, ha="left", size="small", color=FAINT)
    figure.savefig(target, metadata={"Date": None, "Title": "gridctl beside other ways to reach the same substations"})


def _title(load: str) -> str:
    kind, _, count = load.partition(":")
    return f"202s a second, {count} connections" if kind == "closed" else f"202s a second of {int(count):,} offered"


def _bars(axes: Axes, table: Table, load: str, peers: Sequence[str], figure: str) -> None:
    spreads = [table.spread(peer, load, figure) for peer in peers]
    for row, (peer, spread) in enumerate(zip(peers, spreads, strict=True)):
        if spread is None:
            continue
        axes.barh(row, spread.median, height=0.62, color=OWN if peer == OURS else OTHER, linewidth=0)
        axes.plot([spread.least, spread.most], [row, row], color=INK, linewidth=1.2, solid_capstyle="butt")
        axes.annotate(
            f"{spread.median:,.3g}" if spread.median < 100 else f"{spread.median:,.0f}",
            (max(spread.median, spread.most), row),
            (4, 0),
            textcoords="offset points",
            va="center",
            size=8,
            color=INK,
        )
    _plain(axes, peers, max(each.most for each in spreads if each))


def _stacks(axes: Axes, table: Table, load: str, peers: Sequence[str]) -> None:
    highest = 0.0
    for row, peer in enumerate(peers):
        left = 0.0
        parts = table.cpu_us(peer, load)
        for group, color in GROUPS.items():
            if group in parts:
                axes.barh(row, parts[group], left=left, height=0.62, color=color, linewidth=0)
                left += parts[group]
        axes.annotate(f"{left:,.0f}", (left, row), (4, 0), textcoords="offset points", va="center", size=8, color=INK)
        highest = max(highest, left)
    _plain(axes, peers, highest)


def _plain(axes: Axes, peers: Sequence[str], highest: float) -> None:
    axes.set_yticks(range(len(peers)), peers)
    axes.set_xlim(0, 1.18 * highest)
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8, colors=FAINT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
