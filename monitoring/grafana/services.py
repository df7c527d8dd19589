"""The dashboard *Services*: how the processes fare that the grid is made of. Must not know what they decide."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common

from monitoring.grafana import parts
from monitoring.grafana.parts import BLUE, GREEN, ORANGE, PURPLE, RED, asking, described, latest, lines, query, row
from monitoring.grafana.provisioning import GRID_UID, SERVICES_UID
from monitoring.grafana.queries import ANYBODY, CLUSTER, PROCESS, SUBSTATION, buckets, quantile, rate, rates
from monitoring.grafana.variables import with_variables

LATENCY = "charge_request_duration_seconds"
DECISION = "balancer_decision_seconds"
#: The hops of a request, from the client's side on.
HOPS = {
    "charge-request": (LATENCY, CLUSTER),
    "balancer": ("balancer_request_duration_seconds", CLUSTER),
    "substation": ("substation_request_duration_seconds", SUBSTATION),
}
ANSWERS = {"0": ("no answer", PURPLE), "1": ("not ready", ORANGE), "2": ("ready", GREEN)}
#: 0 no answer, 1 answers and is not ready, 2 ready.
ANSWERING = f"(1 + service_ready{{{ANYBODY}}}) or (0 * up{{{ANYBODY}}})"
#: Of all that were asked for; a refusal for want of room is no failure.
FAILED = f"sum({rate('charge_request_failures_total')}) / sum({rate('charge_requests_total')})"


def services() -> builders.Dashboard:
    """The whole dashboard."""
    text = "The processes of an EV-charging grid: how fast they answer, what fails, what they use."
    made = with_variables(parts.board(SERVICES_UID, "Services", text))
    made.link(parts.beside("Grid", GRID_UID, "Load, arrivals, queue and states of the substations"))
    row(made, 1, "Now", ready(), slowest(), failed(), restarted(), cpu_now(), memory_now())
    row(made, 10, "Latency", answered_within(), answer_times(), hops(), decisions())
    row(made, 20, "Errors", answers(), failures(), attempts(), report_age(), faults())
    row(made, 30, "Processes", answering(), cpu(), memory(), restarts(), open_files(), uptime(), scrapes())
    return made


def ready() -> stat.Panel:
    """How many do their work."""
    panel = parts.number("percent", (None, RED), (50, ORANGE), (100, GREEN))
    text = "Share of the processes that answer Prometheus and say that they do their work."
    asked = query(f"100 * sum(service_ready{{{ANYBODY}}}) / count(up{{{ANYBODY}}})", "ready")
    return asking(described(panel, 2, "Ready", text, (4, 4)), asked)


def slowest() -> stat.Panel:
    """How long a client waits at worst."""
    panel = parts.number("s", (None, GREEN), (0.1, ORANGE), (1, RED))
    text = "99 % of the charge requests were answered within this wall time."
    return asking(described(panel, 3, "Latency, 99 %", text, (4, 4)), query(quantile(0.99, LATENCY), "99 %"))


def failed() -> stat.Panel:
    """How many fail."""
    panel = parts.number("percentunit", (None, GREEN), (0.001, ORANGE), (0.01, RED))
    text = "Share of the charge requests that were answered 500 and above, other than for want of room."
    return asking(described(panel, 4, "Failed", text, (4, 4)), query(FAILED, "failed"))


def restarted() -> stat.Panel:
    """How often a process came anew."""
    panel = parts.number("suffix:restarts", (None, GREEN), (1, ORANGE), (5, RED), sparkline=False)
    text = "How often processes started anew within the time shown."
    asked = latest(f"sum(changes(process_start_time_seconds{{{ANYBODY}}}[$__range]))", "restarts")
    return asking(described(panel, 5, "Restarts", text, (4, 4)), asked)


def cpu_now() -> stat.Panel:
    """What all use of the processor."""
    text = "Processor time that all processes use together; 100 % is one core."
    asked = query(f"sum({rate('process_cpu_seconds_total', ANYBODY)})", "CPU")
    return asking(described(parts.number("percentunit"), 6, "CPU, all", text, (4, 4)), asked)


def memory_now() -> stat.Panel:
    """What all use of the memory."""
    text = "Resident memory of all processes; what forked processes share is counted in each."
    asked = query(f"sum(process_resident_memory_bytes{{{ANYBODY}}})", "memory")
    return asking(described(parts.number("bytes"), 7, "Memory, all", text, (4, 4)), asked)


def answered_within() -> timeseries.Panel:
    """What a client waits."""
    text = "Wall time until a charge request was answered: half, 95 % and 99 % of them took less. Dots are single requests."
    panel = lines("s", limits=((None, GREEN), (1, RED)))
    return asking(
        described(panel, 11, "Latency of charge requests", text, (12, 8)),
        query(quantile(0.5, LATENCY), "half"),
        query(quantile(0.95, LATENCY), "95 %"),
        query(quantile(0.99, LATENCY), "99 %").exemplar(True),
    )


def answer_times() -> heatmap.Panel:
    """The same, as many as there were."""
    text = "How many charge requests were answered after so long; darker is more."
    panel = described(parts.density("s"), 12, "Answer times", text, (12, 8))
    return asking(panel, parts.bucketed(buckets(LATENCY)))


def hops() -> timeseries.Panel:
    """Where the time goes."""
    text = "99 % of what each hop was asked took less; a hop's time holds that of the hops behind it."
    asked = [query(quantile(0.99, histogram, where), role) for role, (histogram, where) in HOPS.items()]
    return asking(described(lines("s"), 13, "Latency by hop, 99 %", text, (12, 8)), *asked)


def decisions() -> timeseries.Panel:
    """What a pick costs, and how old what it knows is."""
    text = "Wall time that the balancer took to pick a substation."
    return asking(
        described(lines("s"), 14, "Time of a decision", text, (12, 8)),
        query(quantile(0.5, DECISION), "half"),
        query(quantile(0.99, DECISION), "99 %"),
    )


def answers() -> timeseries.Panel:
    """Every answer, by its status."""
    text = "Answers a second by HTTP status. 503 is a refusal where the grid is full, and a failure otherwise."
    panel = lines("reqps", fill=40, stacked=True)
    asked = query(rates("status", "charge_requests_total"), "{{status}}")
    return asking(described(panel, 21, "Answers by status", text, (8, 8)), asked)


def failures() -> timeseries.Panel:
    """Those that nobody wants."""
    text = "Charge requests that failed: the share of all, and on the right how many a second, by reason."
    panel = parts.on_the_right(lines("percentunit"), "B", "reqps")
    return asking(
        described(panel, 22, "Failures", text, (8, 8)),
        query(FAILED, "share of all"),
        query(rates("reason", "charge_request_failures_total"), "{{reason}}"),
    )


def attempts() -> timeseries.Panel:
    """What became of the balancer's attempts."""
    text = "Attempts a second to place a request at a substation, by result. Unknown: no answer came, and it is asked again."
    panel = lines("reqps", fill=40, stacked=True)
    asked = query(rates("result", "balancer_attempts_total"), "{{result}}")
    return asking(described(panel, 23, "Attempts by result", text, (8, 8)), asked)


def report_age() -> timeseries.Panel:
    """How old what the balancer knows is."""
    text = "Wall time since the balancer heard from each substation; it asks those that say nothing every few seconds."
    panel = lines("s", fill=0, limits=((None, GREEN), (15, ORANGE)))
    asked = query(f"max by (substation_id) (balancer_report_age_seconds{{{SUBSTATION}}})", "{{substation_id}}")
    return asking(described(panel, 24, "Age of reports", text, (12, 8)), asked)


def faults() -> timeseries.Panel:
    """What is broken on purpose."""
    text = (
        "Faults of replies that `gridctl chaos` switched on: shares that are lost or handled twice,"
        " and on the right how late the latest are."
    )
    panel = parts.on_the_right(lines("percentunit", fill=20), "B", "s")
    return asking(
        described(panel, 25, "Faults", text, (12, 8)),
        query(f"max(chaos_reply_drop_ratio{{{ANYBODY}}})", "lost"),
        query(f"max(chaos_reply_delay_seconds{{{ANYBODY}}})", "late"),
        query(f"max(chaos_reply_duplicate_ratio{{{ANYBODY}}})", "handled twice"),
    )


def answering() -> statetimeline.Panel:
    """When each was ready."""
    text = "Whether each process answers Prometheus, and says that it does its work."
    return asking(
        described(parts.states(ANSWERS), 31, "States of the processes", text, (24, 9)), query(ANSWERING, PROCESS)
    )


def of_each(panel: timeseries.Panel, number: int, title: str, text: str, expr: str) -> timeseries.Panel:
    """A series a process."""
    return asking(described(panel, number, title, text, (12, 8)), query(expr, PROCESS))


def cpu() -> timeseries.Panel:
    """Processor time of each."""
    text = "Processor time of each process; 100 % is one core, and all that a process of Python can use."
    panel = lines("percentunit", fill=0, limits=((None, GREEN), (0.9, ORANGE)))
    return of_each(panel, 32, "CPU", text, rate("process_cpu_seconds_total", ANYBODY))


def memory() -> timeseries.Panel:
    """Memory of each."""
    text = "Resident memory of each process; what forked processes share is counted in each."
    return of_each(lines("bytes", fill=0), 33, "Memory", text, f"process_resident_memory_bytes{{{ANYBODY}}}")


def restarts() -> timeseries.Panel:
    """When each came anew."""
    text = "How often each process started anew, where it did."
    panel = lines("suffix:restarts", fill=80).draw_style(common.GraphDrawStyle.BARS).no_value("none")
    asked = f"changes(process_start_time_seconds{{{ANYBODY}}}[$__rate_interval]) > 0"
    return of_each(panel, 34, "Restarts over time", text, asked)


def open_files() -> timeseries.Panel:
    """Connections and files of each."""
    text = "Open files and connections of each process, as a share of what it may have."
    panel = lines("percentunit", fill=0, limits=((None, GREEN), (0.8, ORANGE)))
    return of_each(panel, 35, "Open files", text, f"process_open_fds{{{ANYBODY}}} / process_max_fds{{{ANYBODY}}}")


def uptime() -> timeseries.Panel:
    """How long each runs."""
    text = "How long ago each process started."
    return of_each(lines("s", fill=0), 36, "Uptime", text, f"time() - process_start_time_seconds{{{ANYBODY}}}")


def scrapes() -> timeseries.Panel:
    """What watching costs."""
    text = "How long Prometheus took to read each process's metrics: it grows where a process is too busy to answer."
    panel = lines("s", fill=0, limits=((None, BLUE), (1, ORANGE)))
    return of_each(panel, 37, "Time of a scrape", text, f"scrape_duration_seconds{{{ANYBODY}}}")
