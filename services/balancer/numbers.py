"""Numbers in what others say: JSON knows NaN, infinity and integers without end. Must not know what they are of."""

from __future__ import annotations

from typing import Any


def number(found: Any, most: int) -> float | None:
    """`found`, where it is a number from -`most` to `most`; else None.

    Not `isinstance(found, int | float)`: what is compiled would take that for a float before it is compared.
    """
    if isinstance(found, int):
        return float(found) if -most <= found <= most else None
    return found if isinstance(found, float) and abs(found) <= most else None
