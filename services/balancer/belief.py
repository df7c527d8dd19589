"""How long a report that says "full" is believed without asking. Pure: must not know who asks.

Sessions end as planned, which the report tells (rounded to the earlier end, and counted from when it was asked for: never
too late), or are pushed at once. So what was full is full until its next planned end, unless a push is lost or on its way.
Because of that a report is believed for a second only, of a substation that is not in doubt and pushes to whom asked; a
report that came unasked may be old, so its ends may be believed too late: it counts for a moment. And who is refused has
asked at least one, that which was heard the longest ago: where many are refused, all are heard again and again.
"""

from __future__ import annotations

import math

#: One that was asked for, from a substation that pushes (wall seconds since it was asked for).
BELIEVED_S = 1.0
#: Any other (wall seconds since it came).
CERTAIN_S = 0.05


def until_s(asked_at_s: float, now_s: float, pushes: bool) -> float:
    """Until when a report is believed that came at `now_s`, asked for at `asked_at_s` (-inf: not at all)."""
    asked = pushes and math.isfinite(asked_at_s)
    return max(now_s + CERTAIN_S, asked_at_s + BELIEVED_S) if asked else now_s + CERTAIN_S
