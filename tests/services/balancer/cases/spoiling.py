"""A substation whose first replies go wrong on their way, and one that is less preferred. Must not know the cases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from config.report import HEADER
from services.substation.service import SubstationService
from tests.services.grid import Grid

PassOn = Callable[[], Awaitable[web.Response]]
Spoil = Callable[[web.Request, PassOn], Awaitable[web.StreamResponse]]


async def proxied(grid: Grid, name: str, behind: str, spoil: Spoil, times: int) -> None:
    """Serves `name`, which passes all on to `behind` and answers the first `times` charges by `spoil`."""
    left = [None] * times

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()

        async def pass_on() -> web.Response:
            url = grid.urls[behind] + request.path_qs
            async with grid.client.request(request.method, url, data=body, headers=request.headers) as answer:
                kept = {name: answer.headers[name] for name in (HEADER, "Content-Type") if name in answer.headers}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)

        if request.method == "POST" and left:
            left.pop()
            return await spoil(request, pass_on)
        return await pass_on()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    await grid.serve_app(name, app)


async def two_of_which_the_first_is_preferred(grid: Grid, spoil: Spoil, times: int) -> list[SubstationService]:
    """`substation1`, of which the first `times` charges are answered by `spoil`, and `substation2`, half full."""
    stations = [await grid.substation("behind", max_sessions=8), await grid.substation("substation2", max_sessions=20)]
    for number in range(11):
        await grid.post("substation2", "/charge", {"ev_id": f"before{number}", "request_id": f"before{number}"})
    await proxied(grid, "substation1", "behind", spoil, times)
    return stations


async def prefer_the_second(grid: Grid) -> None:
    for number in range(11):
        await grid.client.delete(f"{grid.urls['substation2']}/sessions/before{number}")
