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


#: A request that goes out so long after its intended time (wall seconds) is late, …
LATE_S = 0.02
#: … and of all that are sent, no more than this share may be.
LATE_SHARE = 0.01


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

    def merge(self, other: Latencies) -> None:
        """Count all that `other` counted: exact, since both have the same slots."""
        for value, count in other._counts.items():
            self._counts[value] = self._counts.get(value, 0) + count
        self._max_us = max(self._max_us, other._max_us)
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

    `delays` from the intended to the real time of sending: the load tester's own lateness. `late` counts those that went out
    more than LATE_S after it.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.accepted = 0
        self.refused = 0
        self.failed = 0
        self.per_substation: Counter[str] = Counter()
        self.refused_reasons: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.late = 0
        self.latencies = Latencies()
        self.delays = Latencies()

    @property
    def late_share(self) -> float:
        """Of all that were sent, those that went out too late (0…1)."""
        return self.late / self.sent if self.sent else 0.0

    @property
    def is_behind(self) -> bool:
        """Whether the load tester is too slow for its scenario: more than one request in a hundred goes out too late."""
        return self.late_share > LATE_SHARE

    @property
    def finished(self) -> int:
        """How many have an outcome."""
        return self.accepted + self.refused + self.failed

    def note_sent(self, delay_s: float) -> None:
        """One order goes out, `delay_s` after its intended time."""
        self.sent += 1
        self.delays.add(delay_s)
        if delay_s > LATE_S:
            self.late += 1

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

    def merge(self, other: Tally) -> None:
        """Count all that `other` counted."""
        for count in ("sent", "accepted", "refused", "failed", "late"):
            setattr(self, count, getattr(self, count) + getattr(other, count))
        for counts in ("per_substation", "refused_reasons", "failures"):
            getattr(self, counts).update(getattr(other, counts))
        self.latencies.merge(other.latencies)
        self.delays.merge(other.delays)

    def take(self) -> Tally:
        """All that was counted since the last time, as a tally of its own."""
        taken = Tally()
        taken.__dict__, self.__dict__ = self.__dict__, taken.__dict__
        return taken
