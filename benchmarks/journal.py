"""What a journal costs: entries a second and how long each waits, beside SQLite with one transaction an entry.

`python benchmarks/journal.py [FOLDER]`: FOLDER (else a temporary one) says which disk is measured.
"""

from __future__ import annotations

import asyncio
import platform
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from services.journal import Journal
from services.substation.journal import SCHEMA

SECONDS = 3.0
ROW = ("r" * 32, "EV1234", 1, 7400, 1.0, 31.0, 1e9, None, None, "charging", "")
INSERT = f"INSERT INTO sessions VALUES ({', '.join('?' * (len(ROW) + 1))})"


async def grouped(path: Path, durability: str, waiting: int) -> tuple[float, list[float]]:
    """`waiting` callers who each commit one entry after the other: entries a second, and the seconds that each waited."""
    journal = Journal(path, SCHEMA, durability)
    numbers = iter(range(1, 10**9))
    waits: list[float] = []
    await journal.commit()
    began = time.perf_counter()

    async def caller() -> None:
        while time.perf_counter() - began < SECONDS:
            before = time.perf_counter()
            await journal.commit((INSERT, (next(numbers), *ROW)))
            waits.append(time.perf_counter() - before)

    await asyncio.gather(*(caller() for _ in range(waiting)))
    took_s = time.perf_counter() - began
    await journal.close()
    return len(waits) / took_s, waits


def alone(path: Path, synchronous: str) -> tuple[float, list[float]]:
    """One transaction an entry, in a plain loop."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; {SCHEMA.tables}")
    waits: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        before = time.perf_counter()
        connection.execute(INSERT, (len(waits) + 1, *ROW))
        waits.append(time.perf_counter() - before)
    took_s = time.perf_counter() - began
    connection.close()
    return len(waits) / took_s, waits


def show(what: str, per_s: float, waits: list[float]) -> None:
    """One line: entries a second, median and 99th percentile of the waits in milliseconds."""
    waits.sort()
    median, late = (1000 * waits[int(len(waits) * share)] for share in (0.5, 0.99))
    print(f"{what:<44}{per_s:>10,.0f} /s   p50 {median:7.3f} ms   p99 {late:7.3f} ms")


def main() -> None:
    """Both ways to write, with and without syncing, for 1, 16, 64 and 256 callers."""
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        print(f"SQLite {sqlite3.sqlite_version}, Python {platform.python_version()}, {SECONDS:g} s each, in {folder}")
        for durability, synchronous in (("fsync", "FULL"), ("process", "NORMAL")):
            show(f"{durability}: a transaction an entry", *alone(Path(folder, f"alone-{durability}.db"), synchronous))
            for waiting in (1, 16, 64, 256):
                path = Path(folder, f"{durability}-{waiting}.db")
                show(f"{durability}: group commit, {waiting} wait", *asyncio.run(grouped(path, durability, waiting)))


if __name__ == "__main__":
    main()
