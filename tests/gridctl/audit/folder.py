"""A cluster's folder as its processes leave it: journals, events, logs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gridctl.state import ClusterPaths
from services.balancer import journal as balancer_journal
from services.journalfile import JournalFile
from services.substation import journal as substation_journal

#: When the cluster was started, Unix seconds; its substations' grid time is 0 then, and goes ten times as fast.
START_S = 1_790_000_000.0
SCALE = 10.0
SESSION = "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
QUEUED = "INSERT INTO queue VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ATTEMPT = "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?)"


@dataclass
class Folder:
    """Writes the folder of the cluster `name` below `root`; all times in wall seconds since START_S."""

    root: Path
    name: str = "city"
    _numbers: int = 0
    _seq: int = 0
    _files: dict[str, JournalFile] = field(default_factory=dict)

    @property
    def paths(self) -> ClusterPaths:
        """Where it is."""
        return ClusterPaths(self.root, self.name)

    def substation(self, name: str, max_sessions: int = 2, hard: bool = True, journal: bool = True) -> None:
        """A substation that is READY from the beginning, with its journal."""
        self.state(name, "READY", 0.0)
        if not journal:
            return
        run = substation_journal.Run(1, START_S, 0.0, SCALE, "", 0.0)
        limit = substation_journal.LimitRecord(START_S, 0.0, max_sessions, None, True, hard)
        self._file(name, substation_journal.SCHEMA).write(
            [*substation_journal.run(run), substation_journal.limited(limit)]
        )

    def restarted(self, name: str, at_s: float, epoch: int) -> None:
        """Another run of it began."""
        run = substation_journal.Run(epoch, START_S + at_s, SCALE * at_s, SCALE, "", 0.0)
        self._files[name].write(substation_journal.run(run))

    def limit(self, name: str, at_s: float, max_sessions: int, admitting: bool = True) -> None:
        """From now on it has this limit."""
        record = substation_journal.LimitRecord(START_S + at_s, SCALE * at_s, max_sessions, None, admitting, True)
        self._files[name].write([substation_journal.limited(record)])

    def session(
        self, name: str, request_id: str, start_s: float, end_s: float | None, attempt: int = 1, **more: Any
    ) -> None:
        """A session, planned for 30 grid seconds; ended as planned unless `end_s` and `more` (state, reason) say else."""
        self._numbers += 1
        state = more.get("state", "charging" if end_s is None else "ended")
        planned_s = start_s + 3 if end_s is None else more.get("planned_s", end_s)
        ended = (None, None) if end_s is None else (SCALE * end_s, START_S + end_s)
        begun = (SCALE * start_s, SCALE * planned_s, START_S + start_s)
        about = (self._numbers, request_id, f"EV-{request_id}", attempt, 7400)
        self._files[name].write([(SESSION, (*about, *begun, *ended, state, more.get("reason", "")))])

    def balancer(self, name: str = "balancer") -> None:
        """A balancer that is READY from the beginning; it has a journal once it writes something."""
        self.state(name, "READY", 0.0, role="balancer")
        self._file(name, balancer_journal.SCHEMA)

    def queued(
        self, request_id: str, at_s: float, state: str = "queued", left_s: float | None = None, **more: Any
    ) -> None:
        """A place in the balancer's queue."""
        left = None if left_s is None else START_S + left_s
        place = (request_id, f"EV-{request_id}", 1, "{}", START_S + at_s, START_S + at_s + 60)
        way = (state, more.get("reason"), more.get("substation"), None, left)
        self._files["balancer"].write([(QUEUED, (*place, *way))])

    def revocation(self, substation: str, request_id: str, attempt: int, at_s: float) -> None:
        """The balancer's decision that this attempt is void."""
        values = (substation, request_id, attempt, START_S + at_s, START_S + at_s, None)
        self._files["balancer"].write([(ATTEMPT, values)])

    def state(self, name: str, state: str, at_s: float, role: str = "substation") -> None:
        """An event of the supervisor."""
        self._seq += 1
        self._line(self.paths.events, at_s, seq=self._seq, event="state", name=name, role=role, to=state)

    def refused(self, request_id: str, arrived_s: float, refused_s: float, reason: str = "grid-full") -> None:
        """A refusal in the balancer's log."""
        times = {"arrived_s": START_S + arrived_s, "refused_s": START_S + refused_s, "power_kw": 7.4}
        self._log(refused_s, message="refused", request_id=request_id, reason=reason, **times)

    def failed(self, substation: str, at_s: float, result: str = "unreachable") -> None:
        """A failed attempt in the balancer's log."""
        self._log(at_s, message="attempt failed", substation=substation, request_id="any", result=result)

    def close(self) -> ClusterPaths:
        """Everything is written."""
        for file in self._files.values():
            file.close()
        return self.paths

    def _file(self, name: str, schema: Any) -> JournalFile:
        self._files[name] = JournalFile(self.paths.data / f"{name}.db", schema, "process")
        return self._files[name]

    def _log(self, at_s: float, **fields: Any) -> None:
        self._line(self.paths.logs / "balancer.log", at_s, level="info", name="balancer", role="balancer", **fields)

    def _line(self, path: Path, at_s: float, **fields: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        moment = datetime.fromtimestamp(START_S + at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with path.open("a") as stream:
            stream.write(json.dumps({"ts": moment, **fields}) + "\n")
