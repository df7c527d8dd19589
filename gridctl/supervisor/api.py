"""The control API: HTTP on the cluster's Unix socket, for whoever may enter its folder. Must not know the grid's rules.

GET  /snapshot?usage=1              the cluster as one document; usage=0: without a look at CPU and memory
GET  /events?since=SEQ&follow=1     its event journal, one JSON object a line
POST /operations                    {"verb": …, …}: progress lines, the last one {"done": true, "ok", "exit_code", …}
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from config.errors import GridError, InUse
from gridctl.state import FREE_SPACE
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.verbs import VERBS
from gridctl.supervisor.waiting import Line

log = logging.getLogger("gridctl.supervisor")

#: A topology of 10,000 substations is about 1 MB of JSON.
MAX_BODY = 16 << 20
#: What a client gets when it does not read: lines wait, and the operation goes on without it.
LINES_KEPT = 10_000
#: What a grid that goes down does not take up any more.
REFUSED_AT_THE_END = frozenset({"apply", "scale", "start", "restart"})


@dataclass(slots=True)
class ControlApi:
    """Serves one cluster. Operations go on when their client goes away."""

    cluster: Cluster
    snapshot: Callable[[bool], dict[str, Any]]
    look: Callable[[], None]
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.get("/snapshot", self._snapshot),
                web.get("/events", self._events),
                web.post("/operations", self._operations),
            ]
        )
        return app

    async def _snapshot(self, request: web.Request) -> web.Response:
        self.look()
        return web.json_response(self.snapshot(request.query.get("usage") != "0"))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        since, follow = request.query.get("since", "0"), request.query.get("follow", "0") not in {"0", "false", ""}
        answer = await _stream(request)
        async for event in self.cluster.journal.read(int(since) if since.isdigit() else 0, follow):
            await _send(answer, event)
        await answer.write_eof()
        return answer

    async def _operations(self, request: web.Request) -> web.StreamResponse:
        try:
            args = json.loads(await request.read())
            verb = VERBS[args["verb"]]
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": f"expected {{'verb': one of {', '.join(VERBS)}}}"}, status=400)
        del verb
        lines: asyncio.Queue[Line | None] = asyncio.Queue(LINES_KEPT)
        task = asyncio.create_task(self._operate(args, lines))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        answer = await _stream(request)
        while (line := await lines.get()) is not None:
            await _send(answer, line)
        await answer.write_eof()
        return answer

    async def _operate(self, args: Mapping[str, Any], lines: asyncio.Queue[Line | None]) -> None:
        put = _dropping(lines)
        try:
            await self._drive(args, put)
            put({"done": True, "ok": True, "exit_code": 0, "message": "", "hint": ""})
        except GridError as error:
            put(_failed(error.exit_code, error.message, error.hint))
        except (ValidationError, KeyError, ValueError, TypeError) as error:
            put(_failed(2, f"bad operation: {error}", ""))
        except OSError as error:
            put(_failed(1, f"cannot write the cluster's state: {error}", FREE_SPACE))
        except Exception as error:
            log.exception("operation %s failed", args.get("verb"))
            put(_failed(1, f"a bug in gridctl: {error!r}; see the supervisor's log", ""))
        finally:
            put(None)

    async def _drive(self, args: Mapping[str, Any], put: Callable[[Line | None], None]) -> None:
        if self.cluster.stopping and args["verb"] in REFUSED_AT_THE_END:
            raise InUse(f"cluster {self.cluster.paths.name!r} is going down", "once it is gone: gridctl up -d")
        async for line in VERBS[args["verb"]](self.cluster, args):
            put(line)


def _dropping(lines: asyncio.Queue[Line | None]) -> Callable[[Line | None], None]:
    def put(line: Line | None) -> None:
        if lines.full():
            lines.get_nowait()
        lines.put_nowait(line)

    return put


def _failed(exit_code: int, message: str, hint: str) -> Line:
    return {"done": True, "ok": False, "exit_code": exit_code, "message": message, "hint": hint}


async def _stream(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await answer.prepare(request)
    return answer


async def _send(answer: web.StreamResponse, line: Mapping[str, Any]) -> None:
    await answer.write(json.dumps(line).encode() + b"\n")
