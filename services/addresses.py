"""How long services believe what DNS said. Must not know who asks whom."""

from __future__ import annotations

#: An address is believed for so long (wall seconds; aiohttp's own is 10): a restarted container has another. Not for no time
#: at all, or a burst of new connections would be a burst of questions.
BELIEVED_S = 1
