"""Ends what coroutines began, whatever became of them. Must not know what that is.

It stands apart because of who is compiled: a coroutine that awaits in a `finally` loses the exception there, or meets
another task's (mypyc#1114).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable


async def then(work: Awaitable[None], last: Callable[[], Awaitable[object]]) -> None:
    """Awaits `work`, and `last()` however that ended; raises what `work` raised."""
    try:
        await work
    finally:
        await last()
