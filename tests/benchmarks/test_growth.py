"""What the benchmark of growth writes into journals is what a substation resumes."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.growth import ENDS_S, _fill
from benchmarks.peers.field import TIME_SCALE
from services.journal import Journal
from services.substation import journal


async def test_sessions_written_into_a_journal_are_read_back_as_charging_for_long(tmp_path: Path) -> None:
    path = tmp_path / "substation1.db"
    own = Journal(path, journal.SCHEMA, "process")
    now_s = time.time()
    written = (1, "r", "EV1", 1, 7400, 1.0, 31.0, now_s, 31.0, now_s + 3, "ended", "")
    await own.commit(*journal.run(journal.Run(1, now_s, 100.0, TIME_SCALE, "machine", 0.0)))
    await own.commit(("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", written))
    await own.close()
    _fill(path, 50)
    sessions = [each for each in journal.read(path).sessions if each.state == "charging"]
    assert len({each.number for each in sessions} | {1}) == 51
    assert len({each.request_id for each in sessions}) == len({each.ev_id for each in sessions}) == 50
    ends = sorted(each.ends_s - each.started_s for each in sessions)
    assert ENDS_S[0] <= ends[0] < ends[-1] <= ENDS_S[1]
    assert all(100.0 <= each.started_s < 100.0 + 60.0 * TIME_SCALE for each in sessions)
