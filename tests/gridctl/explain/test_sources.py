"""What journals and logs hold of one request, read from real files."""

from __future__ import annotations

import json
from pathlib import Path

from gridctl.explain.sources import gather, journal, logged
from gridctl.state import ClusterPaths
from services.balancer import journal as balancers
from services.journal import Journal
from services.substation import journal as substations


async def _substation(path: Path) -> None:
    writer = Journal(path, substations.SCHEMA, "process")
    # number, id, ev, attempt, watts, grid start, grid end, unix start, grid ended, unix ended, state, reason
    sessions = "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    await writer.commit(
        *substations.run(substations.Run(1, 900.0, 0.0, 10.0, "boot", 0.0)),
        (sessions, (1, "r1", "EV1", 1, 7400, 10.0, 40.0, 1000.0, 20.0, 1001.0, "revoked", "revoked")),
        (sessions, (2, "r2", "EV2", 1, 7400, 10.0, 40.0, 1000.0, None, None, "charging", "")),
        (sessions, (3, "r1", "EV1", 2, 11000, 30.0, 60.0, 1002.0, None, None, "charging", "")),
        substations.revoked("r1", 1, 1001.0),
    )
    await writer.close()


async def _balancer(path: Path) -> None:
    writer = balancers.BalancerJournal(str(path), "process", lambda: 1000.0)
    await writer.load()
    await writer.queued(balancers.Queued("r1", "EV1", 1, "{}", 990.0, 1600.0))
    writer.left("r1", "placed", at=("substation1", 2))
    writer.revoked("substation1", "r1", 1)
    writer.sent("substation3", "r1", 3)
    writer.sent("substation3", "r2", 1)
    await writer.survives()
    await writer.close()


async def test_journals_tell_sessions_revocations_doubts_and_the_queue(tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path, "grid")
    await _substation(paths.data / "substation1.db")
    await _balancer(paths.data / "balancer.db")
    story = gather(paths, "r1")
    assert [(stay.attempt, stay.power_kw, stay.state, stay.ends_s) for stay in story.stays] == [
        (1, 7.4, "revoked", 1003.0),
        (2, 11.0, "charging", 1005.0),
    ]
    assert {(each.by, each.substation, each.attempt) for each in story.revocations} == {
        ("balancer", "substation1", 1),
        ("substation1", "substation1", 1),
    }
    assert [(doubt.substation, doubt.attempt) for doubt in story.doubts] == [("substation3", 3)]
    assert [(wait.state, wait.substation, wait.queued_s) for wait in story.waits] == [("placed", "substation1", 990.0)]
    assert story.rings == ()
    assert story.notes == ()
    assert story.forgotten
    assert story.first_s == 990.0
    assert json.loads(json.dumps(story.to_json())) == story.to_json()


async def test_an_unknown_request_is_known_to_nobody(tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path, "grid")
    await _substation(paths.data / "substation1.db")
    assert not gather(paths, "nobody").known


def test_a_journal_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "substation1.db"
    file.write_bytes(b"this is no journal at all" * 100)
    records = journal(file, "r1")
    assert records.stays == ()
    assert "substation1.db" in records.note
    assert journal(tmp_path / "none.db", "r1").note == ""


def test_log_records_about_the_request_are_found_in_all_files_of_all_processes(tmp_path: Path) -> None:
    record = {"ts": "2026-11-21T10:00:00Z", "message": "refused", "request_id": "r1"}
    (tmp_path / "balancer.log").write_text(
        "\n".join([json.dumps(record), json.dumps({**record, "request_id": "r12"}), "Traceback about r1", ""])
    )
    (tmp_path / "balancer.log.1").write_text(json.dumps({**record, "message": "attempt failed"}) + "\n")
    (tmp_path / "other.txt").write_text(json.dumps(record))
    assert [found["message"] for found in logged(tmp_path, "r1")] == ["refused", "attempt failed"]
