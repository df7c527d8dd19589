"""The lines above the substations: cluster, whole grid, request service and balancer; must not know of substations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gridctl.top import figures, tones
from gridctl.top.bars import Glyphs, bar
from gridctl.top.columns import mark_of, state_of
from gridctl.top.figures import number
from gridctl.top.spans import Line, clip, flow, narrow, width_of

LONGEST_BAR = 40
SERVICE_ROLES = ("charge-request", "balancer")


def header(snapshot: Mapping[str, Any], width: int, limit: int, glyphs: Glyphs) -> list[Line]:
    """The header in at most `limit` lines of at most `width` cells; the fewer lines, the less important goes first."""
    cluster, grid = _mapping(snapshot, "cluster"), _mapping(snapshot, "grid")
    who, since = _identity(cluster, glyphs), _since(cluster, glyphs)
    services, urgent = _services(snapshot, glyphs), _flows(grid)
    if limit >= 4:
        full = [
            *flow([*who, *since], width),
            *load_line(grid, width, glyphs),
            *flow([*urgent, *_accepted(grid)], width),
            *flow(services, width),
        ]
        if len(full) <= limit:
            return full
    if limit >= 3:
        dense = flow([*who, *since, *urgent], width, gap=2)[: limit - 1]
        dense += load_line(grid, width, glyphs)
        return [*dense, *flow(services, width, gap=2)][:limit]
    return flow([*who, *_loads(grid), *urgent, *since], width, gap=2)[:limit]


def load_line(grid: Mapping[str, Any], width: int, glyphs: Glyphs) -> list[Line]:
    """The grid's load: bar, per cent, health, sessions, kW; the bar takes the room that is left, or none."""
    pct = number(grid, "load_pct")
    words = flow(_loads(grid), width - len("load "))
    if not words:
        return []
    room = min(LONGEST_BAR, width - len("load ") - width_of(words[0]) - 2)
    label = ("load ", tones.FAINT)
    if room < 4:
        return [clip((label, *words[0]), width)]
    filled, track = bar(pct, room, glyphs)
    return [(label, (filled, tones.of_load(pct)), (track, tones.FAINT), ("  ", tones.PLAIN), *words[0])]


def _mapping(snapshot: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = snapshot.get(key)
    return value if isinstance(value, Mapping) else {}


def _identity(cluster: Mapping[str, Any], glyphs: Glyphs) -> list[Line]:
    name = narrow(str(cluster.get("name") or "?"))
    state = state_of(cluster)
    return [((name, tones.TITLE), ("  ", tones.PLAIN), (f"{mark_of(state, glyphs)} {state}", tones.of_state(state)))]


def _since(cluster: Mapping[str, Any], glyphs: Glyphs) -> list[Line]:
    items: list[Line] = [_labelled("up", figures.duration(number(cluster, "uptime_s")))]
    scale = number(cluster, "time_scale")
    if scale is not None and scale != 1:
        items.append(_labelled("time", f"{glyphs.times}{scale:g}"))
    return items


def _loads(grid: Mapping[str, Any]) -> list[Line]:
    pct, health = number(grid, "load_pct"), narrow(str(grid.get("health") or "?"))
    sessions = figures.share(number(grid, "sessions"), number(grid, "max_sessions"), figures.count)
    items: list[Line] = [
        ((f"{figures.percent(pct):>4}", tones.TITLE),),
        (("health ", tones.FAINT), (health, tones.of_health(health))),
        ((f"{sessions} sessions", tones.PLAIN),),
    ]
    load_kw, capacity_kw = number(grid, "load_kw"), number(grid, "capacity_kw")
    if load_kw is not None:
        items.append(((f"{figures.share(load_kw, capacity_kw, figures.power)} kW", tones.PLAIN),))
    return items


def _flows(grid: Mapping[str, Any]) -> list[Line]:
    rejected, failed = number(grid, "rejected_total"), number(grid, "failed_total")
    items: list[Line] = [
        ((f"{figures.rate(number(grid, 'requests_per_s')):>4} requests/s", tones.PLAIN),),
        ((f"{figures.count(rejected)} rejected", tones.of_count(rejected, tones.BUSY)),),
        ((f"{figures.count(failed)} failed", tones.of_count(failed, tones.BAD)),),
    ]
    return items


def _accepted(grid: Mapping[str, Any]) -> list[Line]:
    accepted = number(grid, "accepted_total")
    return [] if accepted is None else [((f"{figures.count(accepted)} accepted", tones.PLAIN),)]


def _services(snapshot: Mapping[str, Any], glyphs: Glyphs) -> list[Line]:
    """Request service and balancer: mark, state where not READY, CPU, memory, restarts."""
    processes = snapshot.get("processes")
    listed: Sequence[Any] = processes if isinstance(processes, list) else []
    return [
        _service(process, glyphs)
        for process in listed
        if isinstance(process, Mapping) and process.get("role") in SERVICE_ROLES
    ]


def _service(process: Mapping[str, Any], glyphs: Glyphs) -> Line:
    name, state = narrow(str(process.get("name") or "?")), state_of(process)
    restarts = number(process, "restarts")
    cpu, memory = figures.percent(number(process, "cpu_pct")), figures.memory(number(process, "rss_bytes"))
    port = number(process, "port")
    return (
        (f"{name} " if port is None else f"{name} :{port:.0f} ", tones.FAINT),
        (f"{mark_of(state, glyphs)} {state}", tones.of_state(state)),
        (f" {cpu:>4} {memory:>4}", tones.PLAIN),
        (f" {glyphs.restarts}{figures.count(restarts)}", tones.of_count(restarts, tones.BUSY)),
    )


def _labelled(label: str, text: str) -> Line:
    return ((f"{label} ", tones.FAINT), (text, tones.PLAIN))
