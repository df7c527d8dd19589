"""Who waits for what becomes of another's question to a doubtful substation. Must not know why it is doubtful."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable


class Probes:
    """The waiting, by substation. Whoever asked one calls `ended`, whether anybody waits or not."""

    def __init__(self) -> None:
        # a dict as a set in order: who came first is told first
        self._waiting: defaultdict[str, dict[asyncio.Future[tuple[str, bool]], None]] = defaultdict(dict)

    async def wait(self, names: Iterable[str], timeout_s: float) -> list[str]:
        """Until somebody's question to one of `names` ended, or `timeout_s` (wall seconds); those that failed."""
        future: asyncio.Future[tuple[str, bool]] = asyncio.get_running_loop().create_future()
        asked = list(names)
        for name in asked:
            self._waiting[name][future] = None
        try:
            async with asyncio.timeout(timeout_s):
                name, failed = await future
        except TimeoutError:
            return []
        finally:
            for name in asked:
                self._waiting[name].pop(future, None)
                if not self._waiting[name]:
                    del self._waiting[name]
        return [name] if failed else []

    def ended(self, name: str, failed: bool) -> None:
        """A question to the substation `name` ended; `failed`: without an answer that can be used."""
        for future in self._waiting.get(name, ()):
            if not future.done():
                future.set_result((name, failed))
