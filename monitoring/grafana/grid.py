"""The dashboard *Grid*: what the substations carry, and what becomes of those who ask. Must not know how processes fare."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, gauge, heatmap, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common, dashboard

from monitoring.grafana import parts
from monitoring.grafana.parts import GREEN, ORANGE, RED, YELLOW, asking, described, latest, lines, query, row
from monitoring.grafana.provisioning import GRID_UID, SERVICES_UID
from monitoring.grafana.queries import CLUSTER, LOAD_PCT, STATE, SUBSTATION, buckets, mean, quantile, rate, rates
from monitoring.grafana.variables import with_variables

#: What a limit's colours are everywhere: worth a look from 90 %, nothing left at 100 %.
FULL: tuple[tuple[float | None, str], ...] = ((None, GREEN), (90, ORANGE), (100, RED))
HEALTH = {"2": ("ok", GREEN), "1": ("strained", ORANGE), "0": ("overloaded", RED)}
STATES = {
    "0": ("no answer", "purple"),
    "1": ("free", GREEN),
    "2": ("from 90 %", ORANGE),
    "3": ("full", YELLOW),
    "4": ("overloaded", RED),
}
#: Those that came from a client, and not from another balancer.
ARRIVED = f'{CLUSTER}, outcome!="forwarded"'
REFUSED = f'{CLUSTER}, outcome="refused"'
TURNED_AWAY = f'{SUBSTATION}, outcome!~"accepted|repeated"'
CHARGING = "substation_charging_time_seconds"
WAITING = "balancer_queue_wait_seconds"


def grid() -> builders.Dashboard:
    """The whole dashboard."""
    made = with_variables(parts.board(GRID_UID, "Grid", "Substations of an EV-charging grid, and who comes to them."))
    made.link(parts.beside("Services", SERVICES_UID, "Latency, errors, CPU, memory and restarts of the processes"))
    row(made, 1, "Now", health(), loading(), sessions(), power(), waiting(), answering())
    row(made, 10, "Load", load_over_time(), load_now(), substation_states(), health_states())
    row(made, 20, "Requests", arrivals(), refused(), queue(), queue_wait(), charging_time(), charging_times())
    row(made, 30, "Balance", spread(), drawn(), delivered())
    return made


def health() -> stat.Panel:
    """Whether all is well, in a word."""
    panel = parts.number("none", (None, RED), (1, ORANGE), (2, GREEN), sparkline=False)
    panel.mappings([parts.named(HEALTH)]).color_mode(common.BigValueColorMode.BACKGROUND)
    text = "As the balancer sees it: strained from 80 % of all there is, overloaded once a substation is above a limit."
    return asking(described(panel, 2, "Grid health", text, (4, 4)), query(f"min(grid_health{{{CLUSTER}}})", "health"))


def loading() -> gauge.Panel:
    """All substations together, in percent."""
    panel = parts.dials("percent", 100, (None, GREEN), (80, ORANGE), (100, RED))
    text = "Load of all substations together: the larger of sessions and power, as a share of what there is."
    return asking(
        described(panel, 3, "Grid load", text, (4, 4)), query(f"max(grid_loading_percentage{{{CLUSTER}}})", "load")
    )


def sessions() -> stat.Panel:
    """How many charge."""
    text = "EVs that charge now at the chosen substations."
    asked = query(f"sum(substation_current_load{{{SUBSTATION}}})", "sessions")
    return asking(described(parts.number("suffix:EVs"), 4, "Charging", text, (4, 4)), asked)


def power() -> stat.Panel:
    """How much they draw."""
    text = "Power that is promised to the sessions of the chosen substations."
    asked = query(f"sum(substation_load_kw{{{SUBSTATION}}})", "power")
    return asking(described(parts.number("kwatt"), 5, "Power", text, (4, 4)), asked)


def waiting() -> stat.Panel:
    """How many wait."""
    panel = parts.number("suffix:EVs", (None, GREEN), (1, YELLOW), (20, ORANGE))
    text = "Requests in the balancers' queues. Where a grid refuses instead (admission: reject), it stays 0."
    return asking(
        described(panel, 6, "Waiting", text, (4, 4)), query(f"sum(balancer_queue_length{{{CLUSTER}}})", "waiting")
    )


def answering() -> stat.Panel:
    """How many of the substations can be asked."""
    panel = parts.number("percent", (None, RED), (50, ORANGE), (100, GREEN))
    text = (
        "Share of the chosen substations that answer Prometheus. One that does not is stopped, frozen or out of reach."
    )
    asked = query(f'100 * avg(up{{job="substation", {SUBSTATION}}})', "answering")
    return asking(described(panel, 7, "Substations that answer", text, (4, 4)), asked)


def load_over_time() -> timeseries.Panel:
    """The picture that shows a herd, or none."""
    panel = lines("percent", fill=0, limits=FULL).axis_soft_max(110)
    panel.color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel.data_links([parts.to_substation(SERVICES_UID)])
    text = "The larger of sessions and power, as a share of the substation's limit. With hard limits it never exceeds 100 %."
    return asking(described(panel, 11, "Substation load", text, (16, 9)), query(LOAD_PCT, "{{substation_id}}"))


def load_now() -> gauge.Panel:
    """The same at this moment."""
    panel = parts.dials("percent", 100, *FULL)
    panel.data_links([parts.to_substation(SERVICES_UID)])
    text = "Load of each substation at this moment, as a share of its limit."
    return asking(described(panel, 12, "Current load", text, (8, 9)), latest(LOAD_PCT, "{{substation_id}}"))


def substation_states() -> statetimeline.Panel:
    """When each was free, full or silent."""
    text = "Full is no fault: it takes nobody more just now. A substation that Prometheus cannot ask gives no answer."
    panel = described(parts.states(STATES), 13, "Substation states", text, (24, 8))
    return asking(panel, query(STATE, "{{substation_id}}"))


def health_states() -> statetimeline.Panel:
    """When the grid was strained."""
    text = "The grid's health over time, by its worst balancer."
    panel = described(parts.states(HEALTH), 14, "Grid health over time", text, (24, 4))
    return asking(panel, query(f"min(grid_health{{{CLUSTER}}})", "grid"))


def arrivals() -> timeseries.Panel:
    """Who comes, and how each is answered."""
    text = "Requests a second of wall time, by how the balancer answered them."
    asked = query(rates("outcome", "balancer_requests_total", ARRIVED), "{{outcome}}")
    panel = lines("reqps", fill=40, stacked=True)
    return asking(described(panel, 21, "Arrivals", text, (8, 8)), asked)


def refused() -> timeseries.Panel:
    """Who was sent away, by whom."""
    by_substation = rates("outcome", "substation_requests_total", TURNED_AWAY)
    text = (
        "Refused: the client was told so. Avoidable: though a substation was believed to have room; it should be 0. "
        "By a substation: it had no room, and another one is tried."
    )
    return asking(
        described(lines("reqps"), 22, "Refused", text, (8, 8)),
        query(f"sum({rate('balancer_requests_total', REFUSED)})", "refused"),
        query(f"sum({rate('balancer_avoidable_rejections_total')})", "avoidable"),
        query(by_substation, "by a substation: {{outcome}}"),
    )


def queue() -> timeseries.Panel:
    """Who waits."""
    text = "Requests that wait for a place, and on the right those a second that waited in vain, by reason."
    panel = parts.on_the_right(lines("suffix:EVs", fill=20), "B", "reqps")
    return asking(
        described(panel, 23, "Queue", text, (8, 8)),
        query(f"sum(balancer_queue_length{{{CLUSTER}}})", "waiting"),
        query(rates("reason", "balancer_queue_drops_total"), "dropped: {{reason}}"),
    )


def queue_wait() -> timeseries.Panel:
    """How long they waited."""
    text = "Grid seconds that those waited who got a place."
    return asking(
        described(lines("s"), 24, "Time in the queue", text, (8, 8)),
        query(quantile(0.5, WAITING), "half"),
        query(quantile(0.95, WAITING), "95 %"),
        query(mean(WAITING), "mean"),
    )


def charging_time() -> timeseries.Panel:
    """How long they charged."""
    text = "Grid seconds that ended sessions charged: half took less than the first line, 95 % less than the second."
    return asking(
        described(lines("s"), 25, "Charging time", text, (8, 8)),
        query(quantile(0.5, CHARGING, SUBSTATION), "half"),
        query(quantile(0.95, CHARGING, SUBSTATION), "95 %"),
        query(mean(CHARGING, SUBSTATION), "mean"),
    )


def charging_times() -> heatmap.Panel:
    """The same, as many as there were."""
    text = "How many sessions ended after so many grid seconds; darker is more."
    panel = described(parts.density("s"), 26, "Charging times", text, (8, 8))
    return asking(panel, parts.bucketed(buckets(CHARGING, SUBSTATION)))


def spread() -> timeseries.Panel:
    """How far the most loaded is above the least."""
    text = "Between the most and the least loaded substation: in sessions, and on the right in percent of their limits."
    panel = parts.on_the_right(lines("suffix:sessions"), "B", "percent")
    load_of = f"substation_current_load{{{SUBSTATION}}}"
    return asking(
        described(panel, 31, "Spread", text, (8, 8)),
        query(f"max({load_of}) - min({load_of})", "sessions"),
        query(f"max({LOAD_PCT}) - min({LOAD_PCT})", "load"),
    )


def drawn() -> timeseries.Panel:
    """Power by substation."""
    text = "Power that is promised to running sessions, by substation."
    panel = lines("kwatt", fill=40, stacked=True)
    return asking(
        described(panel, 32, "Power by substation", text, (8, 8)),
        query(f"sum by (substation_id) (substation_load_kw{{{SUBSTATION}}})", "{{substation_id}}"),
    )


def delivered() -> bargauge.Panel:
    """Energy by substation. Not over time: the counter starts at 0 in each process, and rises only where a session ends."""
    text = "Energy that those sessions got that ended within the time shown. Restarts take nothing away from it."
    asked = f"sum by (substation_id) (increase(substation_energy_delivered_kwh_total{{{SUBSTATION}}}[$__range]))"
    return asking(
        described(parts.bars("kwatth"), 33, "Energy delivered", text, (8, 8)), latest(asked, "{{substation_id}}")
    )
