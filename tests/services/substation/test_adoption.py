"""Each substation of a shared folder owns one journal, whoever starts, dies or comes back, and in whatever order."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import GridError
from config.settings import SubstationSettings
from services.clock import SystemClock
from services.journal import JournalError
from services.journalfile import JournalFile, lock_path
from services.substation.adoption import Claim, adopt
from services.substation.journal import SCHEMA
from services.substation.service import create

#: One session of 100 grid seconds.
SESSION = "INSERT INTO sessions VALUES (1, 'r1', 'EV1', 1, 7400, 0, 100, ?, NULL, NULL, ?, '')"
RUN = "INSERT INTO runs VALUES (1, 7, 0, 0, ?, 'machine', 0)"


def journal(folder: Path, number: int, state: str | None = None, age_s: float = 0.0, time_scale: float = 1.0) -> Path:
    """A journal that nobody owns, with one session in `state` that began `age_s` ago."""
    path = folder / f"substation-{number}.db"
    file = JournalFile(path, SCHEMA)
    file.connection()
    if state is not None:
        file.write([(RUN, (time_scale,)), (SESSION, (time.time() - age_s, state))])
    file.close()
    return path


def taken(folder: Path, count: int) -> list[Claim]:
    """So many adoptions, one after the other."""
    return [adopt(folder, "substation") for _ in range(count)]


def names(claims: list[Claim]) -> list[str]:
    """Their names; all are let go."""
    for claim in claims:
        claim.release()
    return [claim.name for claim in claims]


def test_an_empty_folder_gives_the_lowest_numbers(tmp_path: Path) -> None:
    claims = taken(tmp_path / "new", 3)
    assert [claim.path.name for claim in claims] == ["substation-1.db", "substation-2.db", "substation-3.db"]
    claims.pop(1).release()
    assert names([*claims, *taken(tmp_path / "new", 2)]) == [f"substation-{k}" for k in (1, 3, 2, 4)]


def test_sessions_that_still_charge_come_first_then_what_nobody_owns(tmp_path: Path) -> None:
    journal(tmp_path, 1)
    journal(tmp_path, 2, "ended")
    journal(tmp_path, 5, "charging")
    journal(tmp_path, 12, "charging")
    found = names(taken(tmp_path, 5))
    assert found == [f"substation-{k}" for k in (5, 12, 1, 2, 3)]


def test_what_ended_unseen_comes_after_what_still_charges(tmp_path: Path) -> None:
    journal(tmp_path, 1, "charging", age_s=101)
    journal(tmp_path, 2)
    journal(tmp_path, 3, "charging", age_s=11, time_scale=10)
    journal(tmp_path, 4, "charging", age_s=99)
    journal(tmp_path, 5, "charging", age_s=101)
    assert names(taken(tmp_path, 5)) == [f"substation-{k}" for k in (4, 1, 3, 5, 2)]


def test_other_bases_and_other_files_are_not_touched(tmp_path: Path) -> None:
    for name in ("other-1.db", "substation-01.db", "substation-1.db.lock", "substation-x.db", "substation.db"):
        (tmp_path / name).write_bytes(b"theirs")
    assert names(taken(tmp_path, 2)) == ["substation-1", "substation-2"]
    assert (tmp_path / "substation-01.db").read_bytes() == b"theirs"


def test_what_cannot_be_used_is_said_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "substation-1.db").write_bytes(b"no journal at all" * 100)
    newer = journal(tmp_path, 2, "charging")
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version = 99")
    journal(tmp_path, 3)
    assert names(taken(tmp_path, 2)) == ["substation-3", "substation-4"]
    reasons = [vars(record)["reason"] for record in caplog.records if record.levelno == logging.ERROR]
    assert sorted(set(reasons)) == ["journal-corrupt", "journal-newer"]
    assert (tmp_path / "substation-1.db").read_bytes().startswith(b"no journal")


@pytest.mark.parametrize("left", [b"", None])
def test_a_journal_to_which_nothing_was_written_is_adopted(tmp_path: Path, left: bytes | None) -> None:
    path = tmp_path / "substation-1.db"
    if left is None:  # killed between the file's header and its tables
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    else:
        path.write_bytes(left)
    assert names(taken(tmp_path, 1)) == ["substation-1"]


def test_a_folder_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GridError, match=r"--journal-dir .* cannot be used"):
        adopt(tmp_path / "file" / "folder", "substation")


def test_one_that_is_paused_while_it_chooses_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    held = os.open(tmp_path / ".substation.choosing", os.O_RDWR | os.O_CREAT)
    waited: list[float] = []
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        claim = adopt(tmp_path, "substation", waited.append)
    finally:
        os.close(held)
    claim.release()
    assert 4 < sum(waited) < 6
    assert "beside another" in caplog.text


async def test_the_journal_is_opened_under_the_lock_that_is_held(tmp_path: Path) -> None:
    journal(tmp_path, 1)
    wanted = SubstationSettings(name="substation", journal_dir=str(tmp_path))
    service = create(wanted, SystemClock(), Random(1))
    assert service.name == "substation-1"
    await service.start()
    assert service.health().status == "ok"
    with pytest.raises(JournalError, match="another process"):
        JournalFile(tmp_path / "substation-1.db", SCHEMA).connection()
    await service.stop()
    with pytest.raises(JournalError, match="another process"):  # it ends with the process, not with the file
        JournalFile(tmp_path / "substation-1.db", SCHEMA).connection()
    os.close(_lock_of(tmp_path / "substation-1.db"))


def _lock_of(path: Path) -> int:
    wanted = os.stat(lock_path(path))  # noqa: PTH116
    for text in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(OSError):
            if os.path.samestat(os.fstat(int(text)), wanted):
                return int(text)
    raise AssertionError("no descriptor of the lock is open")


@settings(max_examples=30)
@given(st.lists(st.one_of(st.just("start"), st.integers(0, 9)), max_size=25))
def test_no_two_ever_own_one_and_numbers_stay_dense(acts: list[str | int]) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        alive: list[Claim] = []
        stack.callback(lambda: names(alive))
        most = 0
        for act in acts:
            if act == "start":
                claim = adopt(Path(folder), "substation")
                alive.append(claim)
                claim.path.touch()
                most = max(most, len(alive))
            elif isinstance(act, int) and alive:
                alive.pop(act % len(alive)).release()
            owned = [claim.name for claim in alive]
            assert len(set(owned)) == len(owned)
            assert set(owned) <= {f"substation-{k}" for k in range(1, most + 1)}, "no number while one was unowned"


_CHILD = """
import signal, sys
from pathlib import Path
from services.substation.adoption import adopt
print(adopt(Path(sys.argv[1]), "substation").name, flush=True)
signal.pause()
"""


def test_real_processes_that_start_together_and_are_killed(tmp_path: Path, environment: dict[str, str]) -> None:
    with ExitStack() as stack:

        def start() -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CHILD, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        def name(process: subprocess.Popen[str]) -> str:
            assert process.stdout is not None
            return process.stdout.readline().strip()

        first = [start() for _ in range(6)]
        by_name = {name(process): process for process in first}
        assert sorted(by_name) == [f"substation-{k}" for k in range(1, 7)]
        for number in by_name:
            journal_of = tmp_path / f"{number}.db"
            journal_of.touch()
        for k in (2, 5):
            by_name[f"substation-{k}"].send_signal(signal.SIGKILL)
            by_name[f"substation-{k}"].wait()
        assert sorted(name(process) for process in [start(), start()]) == ["substation-2", "substation-5"]
        assert name(start()) == "substation-7"
