"""One EV that is going to arrive, and the request that it becomes. Must not know pacing, clocks or HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple

EV_ID_LIMIT = 128
_SPAN_BITS = (1 << 64) - 1
#: What an EV asks for that leaves all to the grid.
NOTHING: Mapping[str, float] = MappingProxyType({})


class Arrival(NamedTuple):
    """An EV arriving `at_s` wall seconds after the start, asking for `charge` (fields of POST /charge, grid units).

    `label` is what the EV is called where it comes from; it need not be unique, and is empty for a made-up EV.
    """

    at_s: float
    charge: Mapping[str, float] = NOTHING
    label: str = ""


class Order(NamedTuple):
    """One request to send `at_s` wall seconds after the start: `body` is the JSON, `request_id` its idempotency key.

    `traceparent` is the header (W3C Trace Context) that begins a trace of its own; "": none.
    """

    at_s: float
    request_id: str
    body: Mapping[str, Any]
    traceparent: str = ""

    @property
    def trace_id(self) -> str:
        """The trace's id, 32 hex digits; "" without one."""
        return self.traceparent[3:35]


class Share(NamedTuple):
    """Of every `of` arrivals one: those that come as `number` (from 0). So all shares have the same load at all times."""

    number: int
    of: int


ALL = Share(0, 1)


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes the ids of one run its own, so that a second run of the same seed is no repetition of the first.

    `token` becomes part of every request id and of labelled EVs; made-up EVs are numbered from `first_ev`.
    """

    token: str
    first_ev: int

    @property
    def prefix(self) -> str:
        """What every request id of this run begins with."""
        return f"lt-{self.token}-"

    def orders(self, arrivals: Iterable[Arrival], traces: Random | None = None, share: Share = ALL) -> Iterator[Order]:
        """Each arrival of `share` with a `request_id` and an `ev_id` that no other of this run has, in a trace by `traces`.

        An arrival becomes the same order whoever sends it.
        """
        rng = traces or Random()
        for number, arrival in enumerate(arrivals):
            trace = rng.getrandbits(192)
            if number % share.of == share.number:
                body = {"ev_id": self._ev_id(arrival.label, number), **arrival.charge}
                yield Order(arrival.at_s, f"{self.prefix}{number}", body, _traceparent(trace))

    def _ev_id(self, label: str, number: int) -> str:
        if not label:
            return f"EV{self.first_ev + number}"
        suffix = f"-{self.token}-{number}"
        return label[: EV_ID_LIMIT - len(suffix)] + suffix


def _traceparent(bits: int) -> str:
    """A trace of these 192 bits. It is sampled: services pass that on as it came, so whoever records spans has it."""
    return f"00-{bits >> 64 or 1:032x}-{bits & _SPAN_BITS or 1:016x}-01"
