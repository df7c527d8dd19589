"""Every metric's name, written once; must not know how the numbers come about.

Each service has its own registry, so that several fit into one process. Names and units are DESIGN's, and an interface.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

#: Wall seconds of a request: half a millisecond to the request timeout's default and beyond.
REQUEST_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
#: Wall seconds of a decision: it costs microseconds.
DECISION_BUCKETS_S = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2)
#: Grid seconds of charging: half a minute to two days.
CHARGING_BUCKETS_S = (15.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 57600.0, 172800.0)

#: Grid seconds in the queue: at once to the default `max_wait_s` and a night.
WAITING_BUCKETS_S = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 43200.0)

#: The gauge of a substation's running sessions, ours and (by default) an external one's.
SUBSTATION_CURRENT_LOAD = "substation_current_load"

# A `_created` series for each counter would say nothing that anybody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]


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
        self.requests = Counter(
            "substation_requests", "Charge requests by how they were answered.", ["outcome"], registry=registry
        )
        self.charging_time_s = Histogram(
            "substation_charging_time_seconds",
            "Grid seconds that an ended session charged.",
            buckets=CHARGING_BUCKETS_S,
            registry=registry,
        )
        self.energy_kwh = Counter(
            "substation_energy_delivered_kwh", "Energy delivered to sessions that ended.", registry=registry
        )

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
            "Age of the newest report of a substation.",
            ["substation_id"],
            registry=registry,
        )
        self.requests = Counter(
            "balancer_requests", "Requests by how they were answered.", ["outcome"], registry=registry
        )
        self.attempts = Counter(
            "balancer_attempts",
            "Attempts to place a request at a substation, by result.",
            ["result"],
            registry=registry,
        )
        self.decision_s = Histogram(
            "balancer_decision_seconds",
            "Time to pick a substation.",
            buckets=DECISION_BUCKETS_S,
            registry=registry,
        )
        self._count_queue(registry)
        self.peers = Gauge("balancer_peers", "Other balancers that place their share of EVs.", registry=registry)
        self.avoidable_rejections = Counter(
            "balancer_avoidable_rejections",
            "Requests refused though some substation was believed to have room.",
            registry=registry,
        )
        self.grid_loading_percentage = Gauge(
            "grid_loading_percentage", "Load of all substations together, 100 is full.", registry=registry
        )
        self.grid_health = Gauge("grid_health", "2 ok, 1 strained, 0 overloaded.", registry=registry)

    def _count_queue(self, registry: CollectorRegistry) -> None:
        self.queue_length = Gauge("balancer_queue_length", "Requests that wait for a place.", registry=registry)
        self.queue_wait_s = Histogram(
            "balancer_queue_wait_seconds",
            "Grid seconds that a queued request waited until it charged.",
            buckets=WAITING_BUCKETS_S,
            registry=registry,
        )
        self.queue_drops = Counter(
            "balancer_queue_drops", "Queued requests that were dropped, by reason.", ["reason"], registry=registry
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
        self.requests = Counter(
            "charge_requests", "Charge requests by the HTTP status of their answer.", ["status"], registry=registry
        )
        self.request_duration_s = Histogram(
            "charge_request_duration_seconds",
            "Time until a charge request was answered.",
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )
