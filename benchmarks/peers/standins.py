"""Stand-ins for substations: so many real substation services in one process, without journals, each on a port of its own.

    python -m benchmarks.peers.standins COUNT CAPACITY SESSION_S TIME_SCALE

Prints their URLs as one JSON line once all listen; ends by SIGTERM. What they cost is not the balancer's.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys

import uvloop

from tests.services.grid import a_grid


async def main(count: int, capacity: int, session_s: float, time_scale: float) -> None:
    """Serve them until told to end."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with a_grid() as grid:
        for number in range(1, count + 1):
            await grid.substation(
                f"substation{number}", time_scale=time_scale, max_sessions=capacity, session_s=session_s
            )
        print(json.dumps(list(grid.urls.values())), flush=True)
        await ended.wait()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
