"""The questions that both dashboards ask, in PromQL. Must not know how an answer is shown.

`$cluster`, `$substation`, `$__rate_interval` and `$__range` are Grafana's to fill in.
"""

from __future__ import annotations

from monitoring.rules import JOBS, alerts

#: Everything of the chosen cluster, by a metric that nobody else has: others may call a cluster of theirs the same.
CLUSTER = 'cluster="$cluster"'
#: Series of the chosen substations, likewise.
SUBSTATION = f'{CLUSTER}, substation_id=~"$substation"'
#: The chosen substations' targets, and the other services' beside them: those have no such label. For any metric.
ANYBODY = f'{JOBS}, {CLUSTER}, substation_id=~"|$substation"'
#: Targets that are substations.
_SUBSTATION_TARGET = f'job="substation", {SUBSTATION}'

#: What the second selector has beside the first one's, a division leaves out by itself.
_OF_SESSIONS = f"100 * substation_current_load{{{SUBSTATION}}} / substation_capacity_sessions"
#: With a label of its own, so that it can stand beside the other ratio.
_OF_POWER = f'label_replace(100 * substation_load_kw{{{SUBSTATION}}} / substation_capacity_kw, "of", "power", "", "")'
#: One that answers and has no limits of its own to tell (external): what the balancer believes.
_BELIEVED = f"substation_load_percentage{{{SUBSTATION}}} and on (substation_id) up{{{_SUBSTATION_TARGET}}} == 1"
#: Load of each substation in percent: the larger of its two ratios, as the balancer has it too. A gap while it is silent.
LOAD_PCT = f"(max by (substation_id) ({_OF_SESSIONS} or {_OF_POWER}) or max by (substation_id) ({_BELIEVED}))"
#: 0 no answer, 1 free, 2 from 90 %, 3 full, 4 above its limit.
STATE = (
    f"max by (substation_id) (up{{{_SUBSTATION_TARGET}}} == 0)"
    f" or (1 + ({LOAD_PCT} >= bool 90) + ({LOAD_PCT} >= bool 100) + ({LOAD_PCT} > bool 100))"
)

#: Processes that started anew within the time shown: when, in milliseconds.
RESTARTED_AT_MS = (
    f"1000 * (process_start_time_seconds{{{ANYBODY}}}"
    f" and changes(process_start_time_seconds{{{ANYBODY}}}[$__range]) > 0)"
)
#: Above 0 while replies are lost, late or to requests handled twice on purpose (`gridctl chaos`).
FAULTS = " or ".join(
    f"{fault}{{{ANYBODY}}} > 0"
    for fault in ("chaos_reply_drop_ratio", "chaos_reply_delay_seconds", "chaos_reply_duplicate_ratio")
)
_ALARMS = "|".join(alert.name for alert in alerts())
#: Alarms of ours that are raised, one series each, of however many substations.
ALERTS = f'max by (alertname, severity) (ALERTS{{{CLUSTER}, alertname=~"{_ALARMS}", alertstate="firing"}})'
#: Above 0 while a target cannot be asked.
SILENT = f"up{{{ANYBODY}}} == bool 0"


#: How a process is called in a legend; where something has one name only, the rest is empty.
PROCESS = "{{job}} {{substation_id}} {{worker}} {{instance}}"


def rate(metric: str, where: str = CLUSTER) -> str:
    """Per second of wall time, over Grafana's own interval."""
    return f"rate({metric}{{{where}}}[$__rate_interval])"


def rates(label: str, metric: str, where: str = CLUSTER) -> str:
    """The same by `label`, of those values only that ever came up: every one is there from the start, at 0."""
    return f"sum by ({label}) ({rate(metric, where)}) and sum by ({label}) ({metric}{{{where}}}) > 0"


def quantile(share: float, histogram: str, where: str = CLUSTER) -> str:
    """That share of what was observed lay below; `histogram` is its name without `_bucket`."""
    return f"histogram_quantile({share}, sum by (le) ({rate(f'{histogram}_bucket', where)}))"


def mean(histogram: str, where: str = CLUSTER) -> str:
    """The average of what was observed."""
    return f"sum({rate(f'{histogram}_sum', where)}) / sum({rate(f'{histogram}_count', where)})"


def buckets(histogram: str, where: str = CLUSTER) -> str:
    """How many observations came to each bucket, for a heatmap."""
    return f"sum by (le) (increase({histogram}_bucket{{{where}}}[$__rate_interval]))"
