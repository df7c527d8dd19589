"""What balancers counted during a run: attempts by requests. Must not know placing or records.

Two readings of `GET /metrics`, before the first EV and after the last answer; a counter that went back began anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from gridctl.loadtest.measured import NO_BALANCER

TIMEOUT_S = 5.0
ATTEMPTS = "balancer_attempts_total"
REQUESTS = "balancer_requests_total"
#: Requests that one balancer passed on, which another one counts.
_FORWARDED = 'outcome="forwarded"'


@dataclass(frozen=True, slots=True)
class Counted:
    """The sums of one balancer's counters over all labels."""

    attempts: float
    requests: float


#: By the balancer's name: its counters, or why they could not be read.
Reading = Mapping[str, Counted | str]


async def read(http: aiohttp.ClientSession, balancers: Mapping[str, str]) -> Reading:
    """The counters of `balancers` (name → URL) now."""
    found = await asyncio.gather(*(_read(http, url) for url in balancers.values()))
    return dict(zip(balancers, found, strict=True))


async def _read(http: aiohttp.ClientSession, url: str) -> Counted | str:
    try:
        async with asyncio.timeout(TIMEOUT_S), http.get(f"{url.rstrip('/')}/metrics") as response:
            if response.status != 200:
                return f"it answered {response.status} when asked for its counters"
            return parsed(await response.text())
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return f"its counters cannot be read ({type(error).__name__})"


def parsed(page: str) -> Counted:
    """The sums in a page of Prometheus text; ValueError where a number is none."""
    sums = dict.fromkeys((ATTEMPTS, REQUESTS), 0.0)
    for line in page.splitlines():
        name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
        if name in sums and _FORWARDED not in rest:
            sums[name] += float(rest.rpartition("}")[2].split()[0])
    return Counted(sums[ATTEMPTS], sums[REQUESTS])


def attempts_per_request(before: Reading, after: Reading) -> tuple[float | None, str]:
    """How many substations were asked for a request on average, over all balancers; or None, and why."""
    attempts = requests = 0.0
    for name, now in after.items():
        was = before.get(name, Counted(0, 0))
        if isinstance(was, str) or isinstance(now, str):
            return None, f"{name}: {was if isinstance(was, str) else now}"
        if now.requests < was.requests or now.attempts < was.attempts:
            was = Counted(0, 0)
        attempts += now.attempts - was.attempts
        requests += now.requests - was.requests
    if not after:
        return None, NO_BALANCER
    return (attempts / requests, "") if requests else (None, "the balancers saw no request")
