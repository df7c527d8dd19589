"""What several processes of one service counted, told as one. Pure: must not know processes, or how one hears of another.

Counters and histograms add up, those of processes that are gone too, so that no sum ever falls. Gauges are those of who
lives: what a process has is added up, what it says of the service is the most that any says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar

#: One metric as JSON has it: name, what it means, type, and samples (name, labels, value, exemplar or None).
Family = Sequence[Any]

_ADDED = frozenset({"counter", "histogram"})
#: Gauges of what a process has.
_HAD = frozenset({"process_open_fds", "process_resident_memory_bytes", "process_virtual_memory_bytes"})


def told(registry: CollectorRegistry) -> list[Family]:
    """All that `registry` says now."""
    return [
        (metric.name, metric.documentation, metric.type, [_plain(sample) for sample in metric.samples])
        for metric in registry.collect()
    ]


def _plain(sample: Any) -> tuple[str, dict[str, str], float, Any]:
    exemplar = sample.exemplar
    noted = None if exemplar is None else (exemplar.labels, exemplar.value, exemplar.timestamp)
    return sample.name, sample.labels, sample.value, noted


def counted(families: Iterable[Family]) -> list[Family]:
    """Of `families` what stays true once its process is gone."""
    return [family for family in families if family[2] in _ADDED]


def added(past: Iterable[Family], now: Iterable[Family]) -> list[Family]:
    """What a process says `now`, and in its counters what those before it counted."""
    before = {family[0]: family for family in past}
    grown = [_sum([family, before.pop(family[0])]) if family[0] in before else family for family in now]
    return [*grown, *before.values()]


def together(living: Sequence[Iterable[Family]], gone: Iterable[Iterable[Family]]) -> list[Family]:
    """One list for all: of those that are `gone` only the counters."""
    found: dict[str, list[Family]] = {}
    for families in (*living, *map(counted, gone)):
        for family in families:
            found.setdefault(family[0], []).append(family)
    return [_sum(each) if each[0][2] in _ADDED else _gauge(each) for each in found.values()]


def _sum(same: Sequence[Family]) -> Family:
    """Exactly rounded: else a sum may fall by its last bit when its parts come in another order, to Prometheus a restart."""
    samples: dict[tuple[Any, ...], tuple[str, dict[str, str], list[float], list[Any]]] = {}
    for family in same:
        for name, labels, value, exemplar in family[3]:
            _, _, values, exemplars = samples.setdefault((name, *labels.items()), (name, labels, [], []))
            values.append(value)
            exemplars.append(exemplar)
    return (
        *same[0][:3],
        [
            (name, labels, math.fsum(values), reduce(_newer, exemplars))
            for name, labels, values, exemplars in samples.values()
        ],
    )


def _newer(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda each: each[2] or 0.0)


def _gauge(same: Sequence[Family]) -> Family:
    had = same[0][0] in _HAD
    samples: dict[tuple[Any, ...], list[Any]] = {}
    for family in same:
        for name, labels, value, exemplar in family[3]:
            kept = samples.get((name, *labels.items()))
            if kept is None:
                samples[name, *labels.items()] = [name, labels, value, exemplar]
            else:
                kept[2] = kept[2] + value if had else max(kept[2], value)
    return (*same[0][:3], list(samples.values()))


@dataclass(frozen=True, slots=True)
class Joint:
    """`families` as a registry, for what writes one down."""

    families: Sequence[Family]

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        for name, documentation, kind, samples in self.families:
            metric = Metric(name, documentation, kind)
            for sample, labels, value, exemplar in samples:
                metric.add_sample(sample, labels, value, exemplar=None if exemplar is None else Exemplar(*exemplar))
            yield metric
