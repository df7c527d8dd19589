"""What other balancers have yet to be told, for each of them. Pure: must not know HTTP; time is passed in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from config.report import Report
from services.balancer.book import Entry

#: So many sessions go into one note; more are told in the next.
MOST_AT_ONCE = 2_000
#: One that does not answer is told of no more than so many: once it counts as dead it collects them itself.
MOST_KEPT = 50_000


class Outbox:
    """The newest report of each substation, and sessions that began, for one other balancer."""

    def __init__(self) -> None:
        self._reports: dict[str, Report] = {}
        self._placed: list[Entry] = []

    def __len__(self) -> int:
        return len(self._reports) + len(self._placed)

    def report(self, substation: str, report: Report) -> None:
        """`substation` reported; only the newest is told."""
        self._reports[substation] = report

    def placed(self, entry: Entry) -> None:
        """A session began."""
        if len(self._placed) < MOST_KEPT:
            self._placed.append(entry)

    def take(self) -> tuple[dict[str, Report], list[Entry]]:
        """What is to be told now; out of here."""
        reports, self._reports = self._reports, {}
        placed, self._placed = self._placed[:MOST_AT_ONCE], self._placed[MOST_AT_ONCE:]
        return reports, placed

    def put_back(self, reports: dict[str, Report], placed: list[Entry]) -> None:
        """It was not heard: to be told again, unless something newer is."""
        self._reports = {**reports, **self._reports}
        self._placed[:0] = placed

    def clear(self) -> None:
        """Nobody is there to be told."""
        self._reports.clear()
        self._placed.clear()


def written(reports: dict[str, Report], placed: Iterable[Entry], now_s: float) -> dict[str, Any]:
    """The `reports` and `placed` of a note; planned ends as wall seconds from `now_s` (monotonic)."""
    return {
        "reports": [[name, report.encode()] for name, report in reports.items()],
        "placed": [
            {
                "request_id": entry.request_id,
                "ev_id": entry.ev_id,
                "substation": entry.substation,
                "attempt": entry.attempt,
                "ends_in_s": round(entry.ends_at_s - now_s, 3),
                "epoch": entry.epoch,
            }
            for entry in placed
        ],
    }
