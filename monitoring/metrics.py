"""Every metric's name, written once; must not know how the numbers come about.

Each service has its own registry, so that several fit into one process. Names and units are DESIGN's, and an interface.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from monitoring.quick import Counted, Durations, Spread, Total

#: Wall seconds of a request: at leisure it takes milliseconds, so these are fine; then to the time-out's default and beyond.
REQUEST_BUCKETS_S = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 20.0),
)
#: Wall seconds of a decision: some ten microseconds, and what a crowded machine adds.
DECISION_BUCKETS_S = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 3e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 1e-1)
#: Grid seconds of charging: half a minute; of recorded sessions nine in ten last 1 to 23 hours, and one in a hundred 68.
CHARGING_BUCKETS_S = (
    *(15.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 10800.0, 14400.0, 21600.0, 28800.0, 43200.0),
    *(64800.0, 86400.0, 172800.0, 345600.0),
)

#: Grid seconds in the queue: at once to the default `max_wait_s` and a night.
WAITING_BUCKETS_S = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 43200.0)

#: The gauge of a substation's running sessions, ours and (by default) an external one's.
SUBSTATION_CURRENT_LOAD = "substation_current_load"

#: What `status`, `outcome`, `result` and `reason` say; each is there from the start, at 0, so that its first one counts too.
STATUSES = ("202", "400", "409", "413", "415", "422", "500", "503", "504")
FAILURES = (
    *("busy", "balancer-silent", "balancer-unreachable", "balancer-failed", "internal-error", "no-substations"),
    *("substations-unreachable", "draining", "recovering", "timeout", "journal", "other"),
)
BALANCER_OUTCOMES = ("accepted", "queued", "refused", "failed", "conflict", "invalid", "forwarded")
ATTEMPT_RESULTS = ("accepted", "full", "closed", "never", "taken", "revoked", "fenced", "unreachable", "unknown")
DROP_REASONS = ("max-wait", "departed", "request-id-taken")
SUBSTATION_OUTCOMES = (
    *("accepted", "repeated", "invalid", "substation-full", "draining", "over-capacity", "revoked"),
    *("request-id-taken", "journal-unavailable"),
)
#: Why a request is refused though all works: there is no room. Any other answer of 500 and above is a failure.
REFUSED = frozenset({"grid-full", "queue-full"})


class ServiceMetrics:
    """What every service tells of itself: its process (where there is a /proc), its version, whether it does its work."""

    def __init__(self, registry: CollectorRegistry, version: str, time_scale: float, ready: Callable[[], bool]) -> None:
        """`ready` is called at every scrape."""
        ProcessCollector(registry=registry)
        build = Gauge(
            "gridctl_build_info", "Always 1; the label says which gridctl this is.", ["version"], registry=registry
        )
        build.labels(version).set(1)
        scale = Gauge("grid_time_scale", "Grid seconds that pass in a wall second.", registry=registry)
        scale.set(time_scale)
        is_ready = Gauge("service_ready", "1 where it does its work, 0 where it cannot (yet).", registry=registry)
        is_ready.set_function(lambda: float(ready()))


class FaultMetrics:
    """The faults of replies that `gridctl chaos` has switched on in this service; all 0 where there are none."""

    def __init__(self, registry: CollectorRegistry, value: Callable[[str], float]) -> None:
        """`value` gives how much there is of `drop_pct`, `delay_s` and `duplicate_pct` now."""
        drops = Gauge("chaos_reply_drop_ratio", "Share of replies that are lost on purpose.", registry=registry)
        drops.set_function(lambda: value("drop_pct") / 100)
        delays = Gauge(
            "chaos_reply_delay_seconds", "Wall seconds by which replies are late on purpose.", registry=registry
        )
        delays.set_function(lambda: value("delay_s"))
        twice = Gauge(
            "chaos_reply_duplicate_ratio", "Share of requests that are handled twice on purpose.", registry=registry
        )
        twice.set_function(lambda: value("duplicate_pct") / 100)


def _duration(name: str, path: str, registry: CollectorRegistry) -> Durations:
    about = f"Wall seconds until a POST {path} (one request or an array) was answered."
    return Durations(name, about, REQUEST_BUCKETS_S, registry)


class SubstationMetrics:
    """What a substation counts. Its gauges are read from the substation when scraped, by `observe`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._current_load = Gauge(SUBSTATION_CURRENT_LOAD, "Sessions running now.", registry=registry)
        self._capacity_sessions = Gauge(
            "substation_capacity_sessions", "Sessions that may run at once.", registry=registry
        )
        self._load_kw = Gauge("substation_load_kw", "Power of the running sessions.", registry=registry)
        self._capacity_kw = Gauge(
            "substation_capacity_kw",
            "Power that may be drawn at once; +Inf where it is not limited.",
            registry=registry,
        )
        self._count(registry)

    def _count(self, registry: CollectorRegistry) -> None:
        self.requests = Counted(
            "substation_requests",
            "Charge requests by how they were answered.",
            "outcome",
            SUBSTATION_OUTCOMES,
            registry,
        )
        self.request_duration_s = _duration("substation_request_duration_seconds", "/charge", registry)
        self.charging_time_s = Spread(
            "substation_charging_time_seconds",
            "Grid seconds that an ended session charged.",
            CHARGING_BUCKETS_S,
            registry,
        )
        self.energy_kwh = Total("substation_energy_delivered_kwh", "Energy delivered to sessions that ended.", registry)

    def observe(
        self,
        sessions: Callable[[], float],
        load_kw: Callable[[], float],
        max_sessions: Callable[[], float],
        capacity_kw: Callable[[], float],
    ) -> None:
        """Sets where the gauges come from; each is called at every scrape."""
        self._current_load.set_function(sessions)
        self._load_kw.set_function(load_kw)
        self._capacity_sessions.set_function(max_sessions)
        self._capacity_kw.set_function(capacity_kw)


class BalancerMetrics:
    """What a balancer counts and believes. One label value a substation, gone when the substation is."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.load_percentage = Gauge(
            "substation_load_percentage",
            "Load of a substation as the balancer believes it, 100 is full.",
            ["substation_id"],
            registry=registry,
        )
        self.report_age_s = Gauge(
            "balancer_report_age_seconds",
            "Wall seconds since a substation was heard; NaN before.",
            ["substation_id"],
            registry=registry,
        )
        self._count_requests(registry)
        self._count_queue(registry)
        self.peers = Gauge("balancer_peers", "Other balancers that place their share of EVs.", registry=registry)
        self.avoidable_rejections = Total(
            "balancer_avoidable_rejections",
            "Requests refused though a substation that was not asked was believed to have room.",
            registry,
        )
        self.grid_loading_percentage = Gauge(
            "grid_loading_percentage", "Load of all substations together, 100 is full.", registry=registry
        )
        self.grid_health = Gauge("grid_health", "2 ok, 1 strained, 0 overloaded.", registry=registry)

    def _count_requests(self, registry: CollectorRegistry) -> None:
        self.requests = Counted(
            "balancer_requests", "Requests by how they were answered.", "outcome", BALANCER_OUTCOMES, registry
        )
        self.attempts = Counted(
            "balancer_attempts",
            "Attempts to place a request at a substation, by result.",
            "result",
            ATTEMPT_RESULTS,
            registry,
        )
        self.request_duration_s = _duration("balancer_request_duration_seconds", "/route", registry)
        self.decision_s = Spread(
            "balancer_decision_seconds",
            "Wall seconds that a pick of a substation took.",
            DECISION_BUCKETS_S,
            registry,
        )

    def _count_queue(self, registry: CollectorRegistry) -> None:
        self.queue_length = Gauge("balancer_queue_length", "Requests that wait for a place.", registry=registry)
        self.queue_wait_s = Spread(
            "balancer_queue_wait_seconds",
            "Grid seconds that a queued request waited until it charged.",
            WAITING_BUCKETS_S,
            registry,
        )
        self.queue_drops = Counted(
            "balancer_queue_drops", "Queued requests that were dropped, by reason.", "reason", DROP_REASONS, registry
        )

    def watch(self, substation_id: str, load_pct: Callable[[], float], age_s: Callable[[], float]) -> None:
        """A substation came: its series show what these give at each scrape."""
        self.load_percentage.labels(substation_id).set_function(load_pct)
        self.report_age_s.labels(substation_id).set_function(age_s)

    def forget(self, substation_id: str) -> None:
        """Drops the series of a substation that left; nothing happens where there are none."""
        for gauge in (self.load_percentage, self.report_age_s):
            with contextlib.suppress(KeyError):
                gauge.remove(substation_id)


class ChargeRequestMetrics:
    """What the charge-request service counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counted(
            "charge_requests", "Charge requests by the HTTP status of their answer.", "status", STATUSES, registry
        )
        self.failures = Counted(
            "charge_request_failures",
            "Charge requests answered 500 and above, other than for want of room, by reason.",
            "reason",
            FAILURES,
            registry,
        )
        self.request_duration_s = _duration("charge_request_duration_seconds", "/charge", registry)
