"""What a line is that can ask without anybody waiting for the answer. Must not know how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from services.balancer.reading import Answer
from services.balancer.targets import Target

#: Told what became of an attempt; None: nothing was sent, and who is asked is to be asked over HTTP.
Tell = Callable[[Answer | None], None]


@runtime_checkable
class Begins(Protocol):
    """A line that can ask without anybody waiting for the answer."""

    def begin(self, target: Target, request_id: str, body: bytes, timeout_s: float, tell: Tell) -> bool:
        """As `services.balancer.line.Line.charge`, but `tell` is told the answer later; None: nothing was sent, and a stream
        is not the way. False: it is not begun, nothing was sent and nobody is told."""
        ...
