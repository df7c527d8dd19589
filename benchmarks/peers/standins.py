"""Stand-ins for substations: so many real substation services in few processes, without journals, each on a port of its own.

    python -m benchmarks.peers.standins COUNT CAPACITY SESSION_S TIME_SCALE

Prints their URLs as one JSON line once all listen; ends by SIGTERM. What they cost is not the balancer's.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import subprocess
import sys
from contextlib import AsyncExitStack, ExitStack
from random import Random

import uvloop

from config.access import PATIENT
from config.settings import SubstationSettings
from services.clock import SystemClock
from services.serving import Stage, listening
from services.substation.service import SubstationService

#: In one process: each has a port and some connections, and a process may have 20,000 files open at the least here.
MOST = 4_000


async def serve(count: int, capacity: int, session_s: float, time_scale: float) -> None:
    """Serve them until told to end."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with AsyncExitStack() as stack:
        urls = []
        for number in range(1, count + 1):
            settings = SubstationSettings(
                name=f"substation{number}", time_scale=time_scale, max_sessions=capacity, session_s=session_s
            )
            service = SubstationService(settings, SystemClock(time_scale), Random())
            await service.start()
            stack.push_async_callback(service.stop)
            sock = socket.create_server(("127.0.0.1", 0))
            await stack.enter_async_context(listening(Stage.of(service), sock, PATIENT))
            urls.append(f"http://127.0.0.1:{sock.getsockname()[1]}")
        print(json.dumps(urls), flush=True)
        await ended.wait()


def spread(count: int, about: list[str]) -> None:
    """Serve them by several processes until told to end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with ExitStack() as stack:
        urls = []
        for first in range(0, count, MOST):
            command = [sys.executable, "-m", "benchmarks.peers.standins", str(min(MOST, count - first)), *about]
            part = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=_hear)  # noqa: PLW1509
            stack.callback(part.wait)
            stack.callback(part.terminate)
            assert part.stdout is not None
            urls += json.loads(part.stdout.readline())
        print(json.dumps(urls), flush=True)
        signal.sigwait({signal.SIGTERM})


def _hear() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if (number := int(sys.argv[1])) > MOST:
        spread(number, sys.argv[2:])
    else:
        uvloop.run(serve(number, int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
