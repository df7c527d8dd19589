"""Counters and histograms for what each request passes: plain numbers, put into Prometheus' words when it asks.

One event loop counts and is asked; for several threads at once they are not. Must not know what is counted.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

#: Of each bucket so many exemplars a second are kept: who is seldom asked, or seldom slow, shows every request.
EXEMPLARS_A_SECOND = 10


class Tally:
    """One number that only grows."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """`amount` more, which must not be negative."""
        self.total += amount


class Told:
    """A metric of this `name` and `kind` in `registry`; what it says there is made when it is asked."""

    def __init__(self, name: str, about: str, kind: str, registry: CollectorRegistry) -> None:
        self._name = name
        self._about = about
        self._kind = kind
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client: every registry calls this at a scrape."""
        metric = Metric(self._name, self._about, self._kind)
        for suffix, labels, value, exemplar in self._samples():
            metric.add_sample(self._name + suffix, labels, float(value), exemplar=exemplar)
        yield metric

    def describe(self) -> Iterator[Metric]:
        """See prometheus_client: so that no other has the same name."""
        return self.collect()

    def _samples(self) -> Iterable[tuple[str, dict[str, str], float, Exemplar | None]]:
        raise NotImplementedError


class Counted(Told):
    """A counter with one `label`, whose `values` are there from the start; others come when they are first asked for."""

    def __init__(self, name: str, about: str, label: str, values: Sequence[str], registry: CollectorRegistry) -> None:
        self._label = label
        self._tallies = {value: Tally() for value in values}
        super().__init__(name, about, "counter", registry)

    def labels(self, value: str) -> Tally:
        """The number of this value."""
        tally = self._tallies.get(value)
        if tally is None:
            tally = self._tallies[value] = Tally()
        return tally

    def _samples(self) -> Iterable[tuple[str, dict[str, str], float, Exemplar | None]]:
        return [("_total", {self._label: value}, tally.total, None) for value, tally in self._tallies.items()]


class Total(Told):
    """A counter without a label."""

    def __init__(self, name: str, about: str, registry: CollectorRegistry) -> None:
        self.total = 0.0
        super().__init__(name, about, "counter", registry)

    def inc(self, amount: float = 1.0) -> None:
        """See `Tally.inc`."""
        self.total += amount

    def _samples(self) -> Iterable[tuple[str, dict[str, str], float, Exemplar | None]]:
        return [("_total", {}, self.total, None)]


class Spread(Told):
    """A histogram by `buckets`: the highest value of each, ascending from 0 or more; above them there is one more."""

    def __init__(self, name: str, about: str, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        self._bounds = tuple(map(float, buckets))
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        self._exemplars: list[Exemplar | None] = [None] * len(self._counts)
        super().__init__(name, about, "histogram", registry)

    def observe(self, value: float) -> None:
        """Counts `value`."""
        self._sum += value
        self._counts[bisect_left(self._bounds, value)] += 1

    def _samples(self) -> Iterator[tuple[str, dict[str, str], float, Exemplar | None]]:
        counted = 0
        for bound, count, exemplar in zip((*self._bounds, math.inf), self._counts, self._exemplars, strict=True):
            counted += count
            le: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
            yield "_bucket", {"le": le}, counted, exemplar
        yield "_count", {}, counted, None
        yield "_sum", {}, self._sum, None


class Durations(Spread):
    """A histogram of wall seconds, whose exemplars are few where there are many to choose from."""

    def __init__(
        self,
        name: str,
        about: str,
        buckets: Sequence[float],
        registry: CollectorRegistry,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, about, buckets, registry)
        self._now_s = now_s
        self._since_s = -math.inf
        self._left: list[int] = []

    def observe(self, value: float, about: Callable[[], Mapping[str, str]] = dict) -> None:
        """Counts a duration; what `about` gives leads to it, at most 114 characters, and is asked for only where wanted."""
        if self.count(value):
            self.show(value, about())

    def count(self, value: float) -> bool:
        """Counts a duration; whether it is worth to `show` what it was."""
        at = bisect_left(self._bounds, value)
        self._sum += value
        self._counts[at] += 1
        now_s = self._now_s()
        if now_s - self._since_s >= 1.0:
            self._since_s, self._left = now_s, [EXEMPLARS_A_SECOND] * len(self._counts)
        return self._left[at] > 0

    def show(self, value: float, about: Mapping[str, str]) -> None:
        """Of a duration that was counted: `about` leads to it, at most 114 characters; nothing in it, nothing is shown."""
        at = bisect_left(self._bounds, value)
        self._left[at] -= 1
        if about:
            self._exemplars[at] = Exemplar(dict(about), value, time.time())
