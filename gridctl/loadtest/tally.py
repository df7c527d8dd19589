"""What a run has seen so far: counts and latencies. Must not know the network or the terminal."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gridctl.loadtest.client import Outcome

#: HDR histograms here hold 1 µs … 1 h with three significant digits.
_LONGEST_US = 3_600_000_000
_DIGITS = 3
#: An HDR histogram of three digits tells values of so many bits apart exactly, and of longer ones these first bits.
_BITS = 11


class Latencies:
    """An HDR histogram of seconds, kept in microseconds; the maximum is exact.

    What was counted lies in a dictionary, by the histogram's own slots, and becomes a histogram when it is asked: recording
    in one costs ten times as much.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._max_us = 0
        self._histogram: Any = None

    def add(self, seconds: float) -> None:
        """Count one; what is shorter than 1 µs counts as 1 µs."""
        value = min(_LONGEST_US, max(1, round(seconds * 1e6)))
        self._max_us = max(self._max_us, value)
        shift = value.bit_length() - _BITS
        if shift > 0:
            value = value >> shift << shift
        self._counts[value] = self._counts.get(value, 0) + 1
        self._histogram = None

    def percentile_ms(self, percent: float) -> float | None:
        """The latency (ms) that `percent` % did not exceed, never above the maximum; None when nothing was counted."""
        if not self._max_us:
            return None
        if self._histogram is None:
            self._histogram = self._recorded()
        return min(int(self._histogram.get_value_at_percentile(percent)), self._max_us) / 1000

    def _recorded(self) -> Any:
        from hdrh.histogram import HdrHistogram  # noqa: PLC0415 - not before there is something to tell

        histogram = HdrHistogram(1, _LONGEST_US, _DIGITS)
        for value, count in self._counts.items():
            histogram.record_value(value, count)
        return histogram

    @property
    def max_ms(self) -> float | None:
        """The longest one (ms), or None."""
        return self._max_us / 1000 if self._max_us else None


class Tally:
    """Counts of one run. `latencies` run from the intended time of sending to the answer (or to giving up waiting);

    `delays` from the intended to the real time of sending: the load tester's own lateness.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.accepted = 0
        self.refused = 0
        self.failed = 0
        self.per_substation: Counter[str] = Counter()
        self.refused_reasons: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.latencies = Latencies()
        self.delays = Latencies()

    @property
    def finished(self) -> int:
        """How many have an outcome."""
        return self.accepted + self.refused + self.failed

    def note_sent(self, delay_s: float) -> None:
        """One order goes out, `delay_s` after its intended time."""
        self.sent += 1
        self.delays.add(delay_s)

    def note(self, outcome: Outcome, latency_s: float) -> None:
        """One order has its outcome. A broken connection has no latency; a timeout has at least the time waited."""
        if outcome.status is not None or outcome.timed_out:
            self.latencies.add(latency_s)
        if outcome.kind == "accepted":
            self.accepted += 1
            self.per_substation[outcome.substation or ""] += 1
        elif outcome.kind == "refused":
            self.refused += 1
            self.refused_reasons[outcome.reason] += 1
        else:
            self.failed += 1
            self.failures[outcome.reason] += 1
