"""Counters and histograms that cost little where much is counted; must not know what is."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric

#: Of each bucket so many exemplars a second are kept: who is seldom asked, or seldom slow, shows every request.
EXEMPLARS_A_SECOND = 10


class Counted:
    """A counter with one `label`, whose `values` are there from the start; to find one of them costs next to nothing."""

    def __init__(self, name: str, about: str, label: str, values: Sequence[str], registry: CollectorRegistry) -> None:
        self._counter = Counter(name, about, [label], registry=registry)
        self._known = {value: self._counter.labels(value) for value in values}

    def labels(self, value: str) -> Counter:
        """The counter of this value."""
        return self._known.get(value) or self._counter.labels(value)

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        return self._counter.collect()


class Durations:
    """A histogram of wall seconds, by `buckets` (ascending), whose exemplars are few where there are many to choose from."""

    def __init__(
        self,
        name: str,
        about: str,
        buckets: Sequence[float],
        registry: CollectorRegistry,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._histogram = Histogram(name, about, buckets=buckets, registry=registry)
        self._buckets = tuple(buckets)
        self._now_s = now_s
        self._since_s = -math.inf
        self._left: list[int] = []

    def observe(self, duration_s: float, about: Callable[[], Mapping[str, str]]) -> None:
        """Counts a duration; what `about` gives leads to it, at most 114 characters, and is asked for only where wanted."""
        found = dict(about()) if self._wants(duration_s) else None
        self._histogram.observe(duration_s, found or None)

    def _wants(self, duration_s: float) -> bool:
        now_s = self._now_s()
        if now_s - self._since_s >= 1.0:
            self._since_s, self._left = now_s, [EXEMPLARS_A_SECOND] * (len(self._buckets) + 1)
        at = bisect_left(self._buckets, duration_s)
        self._left[at] -= 1
        return self._left[at] >= 0
