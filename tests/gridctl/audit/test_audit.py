"""`gridctl.audit.run` and `gridctl audit` on folders as processes leave them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from config.report import HEADER, Report
from gridctl import audit
from gridctl.audit import Answered, Refused, counters, records, summary
from gridctl.audit.evidence import Counter
from gridctl.audit.verdict import Overlap, Verdict, Violation
from tests.gridctl.audit.folder import START_S, Folder
from tests.gridctl.loadtest.server import accept, serving


@pytest.fixture
def folder(environment: dict[str, str]) -> Folder:
    """A cluster of two substations with two places each, and a balancer."""
    made = Folder(Path(environment["GRIDCTL_STATE_DIR"]))
    made.substation("s1")
    made.substation("s2")
    made.balancer()
    return made


def found(verdict: Verdict) -> list[tuple[str, str, str]]:
    return [(each.promise, each.substation, each.request_id) for each in verdict.violations]


def test_a_grid_that_kept_its_promises(folder: Folder) -> None:
    folder.session("s1", "a", 5, 8)
    folder.session("s1", "b", 6, 9)
    folder.session("s2", "c", 7, 10)
    folder.session("s2", "d", 7.5, 10.5)
    folder.refused("e", 7.6, 7.7)
    folder.state("s1", "STOPPED", 60)
    verdict = audit.run(folder.close(), [Answered("a", START_S + 5.01, "s1")])
    assert found(verdict) == []
    assert verdict.ok
    assert verdict.checked == {
        "substations": 2,
        "balancers": 1,
        "sessions": 4,
        "answers": 1,
        "refusals": 1,
        "counters": 0,
    }


def test_each_kind_of_offender_is_named(folder: Folder) -> None:
    for number in range(3):
        folder.session("s1", f"many{number}", 5, 8)
    folder.session("s1", "twice", 10, 13)
    folder.session("s2", "twice", 11, 14, attempt=2)
    folder.session("s2", "early", 20, 21, state="dropped", planned_s=23)
    folder.refused("sent-away", 30, 30.1)
    folder.state("s1", "PAUSED", 29.9)
    folder.state("s2", "STOPPED", 60)
    told = [Answered(name, START_S + 20.5, "s2") for name in ("lost", "early", "twice")]
    verdict = audit.run(folder.close(), told)
    assert found(verdict) == [
        ("I1", "s1", "many2"),
        ("I2", "s2", "twice"),
        ("I3", "s2", "lost"),
        ("I3", "s2", "early"),
        ("avoidable-rejection", "s2", "sent-away"),
    ]
    assert not verdict.ok
    text = "\n".join(summary.lines(verdict))
    assert "I1          BROKEN 1 times" in text
    assert "s2 sent-away: expected: that s2 takes it" in text


def test_what_was_paused_failed_or_did_not_admit_is_not_blamed(folder: Folder) -> None:
    folder.limit("s1", 10, 2, admitting=False)
    folder.failed("s2", 30.05)
    folder.failed("s2", 40.05, result="full")
    folder.refused("x", 30, 30.1)
    folder.refused("y", 40, 40.1)
    folder.refused("z", 50, 50.1, reason="recovering")
    folder.state("s2", "STOPPED", 60)
    assert found(audit.run(folder.close())) == [("avoidable-rejection", "s2", "y")]


def test_a_refusal_of_which_client_and_balancer_tell_counts_once(folder: Folder) -> None:
    folder.refused("x", 30, 30.1)
    folder.state("s2", "STOPPED", 60)
    told = Refused("x", START_S + 30, START_S + 30.1, 7400)
    verdict = audit.run(folder.close(), refused=[told])
    assert verdict.checked["refusals"] == 1
    assert len(verdict.violations) == 1


def test_refusals_from_before_the_journals_are_not_counted_as_checked(folder: Folder) -> None:
    folder.refused("old", -5, -4.9)
    folder.refused("new", 5, 5.1)
    assert audit.run(folder.close()).checked["refusals"] == 1


def test_queues_are_answers_too(folder: Folder) -> None:
    folder.queued("waits", 5)
    folder.queued("gone", 5, "dropped", 9, reason="departed")
    folder.queued("why", 6, "dropped", 9)
    folder.queued("placed", 7, "placed", 9, substation="s1")
    folder.session("s1", "placed", 9, 12)
    folder.queued("lost", 8, "placed", 9, substation="s1")
    verdict = audit.run(folder.close())
    assert found(verdict) == [("I3", "", "why"), ("I3", "", "lost")]
    assert verdict.checked["answers"] == 5


def test_a_revoked_duplicate_is_listed_and_judged_by_events(folder: Folder) -> None:
    folder.session("s1", "r", 5, 20, state="revoked", planned_s=35)
    folder.session("s2", "r", 7, 40, attempt=2)
    folder.revocation("s1", "r", 1, 6.9)
    folder.state("s1", "PAUSED", 5.5)
    folder.state("s1", "READY", 18)
    folder.state("s2", "STOPPED", 60)
    verdict = audit.run(folder.close())
    assert found(verdict) == []
    assert [(each.revoked_at, each.kept_at, round(each.reachable_s, 3)) for each in verdict.overlaps] == [
        ("s1", "s2", 1.0)
    ]
    assert "revoked at s1, 13.000 s beside s2, 1.000 s of it reachable" in "\n".join(summary.lines(verdict))


def test_a_session_whose_end_was_not_written_ended_when_it_was_planned_to(folder: Folder) -> None:
    folder.session("s1", "a", 5, None)
    folder.session("s1", "b", 6, None)
    folder.session("s1", "c", 8, None)
    verdict = audit.run(folder.close(), [Answered("a", START_S + 5.1, "s1")])
    assert verdict.ok, verdict


def test_a_supervisor_that_died_without_a_word_proves_no_reach(folder: Folder) -> None:
    folder.refused("x", 30, 30.1)
    assert audit.run(folder.close()).ok


def test_soft_limits_and_external_substations_are_said(folder: Folder) -> None:
    folder.substation("s3", max_sessions=1, hard=False)
    for number in range(3):
        folder.session("s3", f"r{number}", 5, 8)
    folder.state("other", "READY", 1, role="external")
    verdict = audit.run(folder.close(), [Answered("x", START_S + 5, "other")])
    assert verdict.ok
    assert any(note.startswith("I1 is off at s3") for note in verdict.notes)
    assert any("external: other" in note for note in verdict.notes)


def test_a_substation_that_never_had_a_session_has_no_journal(folder: Folder) -> None:
    folder.session("s1", "a", 5, 8)
    folder.substation("s3", journal=False)
    told = [Answered("a", START_S + 5.1, "s1"), Answered("b", START_S + 5.1, "s3")]
    folder.refused("c", 6, 6.1, reason="draining")
    verdict = audit.run(folder.close(), told)
    assert [each for each in found(verdict) if each[0] == "I3"] == [("I3", "s3", "b")]
    assert any(note.startswith("s3: no session and so no journal") for note in verdict.notes)


def test_what_cannot_be_read_proves_nothing(folder: Folder) -> None:
    folder.session("s1", "a", 5, 8)
    paths = folder.close()
    (paths.data / "s2.db").write_bytes(b"no database" * 1000)
    verdict = audit.run(paths, [Answered("b", START_S + 5, "s2")])
    assert not verdict.ok
    assert found(verdict) == []
    assert len(verdict.unread) == 1
    assert verdict.unread[0].startswith("s2: ")


def test_lines_that_cannot_be_read_are_passed_over(folder: Folder) -> None:
    folder.session("s1", "a", 5, 8)
    for path in (folder.paths.events, folder.paths.logs / "balancer.log"):
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as stream:
            stream.write('nonsense\n[]\n{"ts": 5}\n{"ts": "2026-11-21T10:00:00Z", "message": "refused"}\n{"ts": "20')
    assert audit.run(folder.close()).ok


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "gridctl", "audit", *arguments]
    return subprocess.run(
        command, env=environment, cwd=environment["HOME"], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_says_what_it_found(folder: Folder, environment: dict[str, str]) -> None:
    folder.session("s1", "a", 5, 8)
    folder.close()
    kept = run(environment, "--name", "city", "--json")
    assert kept.returncode == 0, kept.stderr
    assert json.loads(kept.stdout)["ok"] is True
    folder.substation("s3", max_sessions=1)
    folder.session("s3", "b", 5, 8)
    folder.session("s3", "c", 5, 8)
    folder.close()
    broken = run(environment, "--name", "city")
    assert broken.returncode == 4
    assert "I1          BROKEN 1 times: no session began above a limit" in broken.stdout
    assert "s3 c: expected: at most 1 sessions at once; found: 2 sessions as it began" in broken.stdout
    assert "1 broken promises" in broken.stderr


def test_nothing_to_check_is_no_proof(folder: Folder, environment: dict[str, str]) -> None:
    folder.close()
    ended = run(environment, "--name", "city")
    assert ended.returncode == 4
    assert "nothing to check" in ended.stdout
    assert "proves nothing" in ended.stderr
    assert json.loads(run(environment, "--name", "city", "--json").stdout)["ok"] is False
    nobody = run(environment, "--name", "nobody")
    assert nobody.returncode == 3


async def test_counters_are_those_of_who_answers() -> None:
    report = Report(7, 1, 0, 0, 10, None, ()).encode()

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"accepted_total": 5}, headers={HEADER: report})

    async def nonsense(_: web.Request) -> web.Response:
        return web.json_response({"accepted_total": 5})

    async with serving(accept, health) as url, serving(accept, nonsense) as other:
        asked = [("s1", *_address(url)), ("s2", *_address(other)), ("s3", "127.0.0.1", 1)]
        assert await asyncio.to_thread(counters.ask, asked) == [Counter("s1", 7, 5, 10)]


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def test_runs_of_a_substation_are_told_apart(folder: Folder) -> None:
    folder.session("s1", "a", 5, 8)
    folder.session("s1", "b", 15, 18)
    folder.restarted("s1", 10, epoch=2)
    folder.session("s1", "c", 16, 19)
    gathered = records.gather(folder.close(), (), ())
    assert gathered.evidence.stations["s1"].begun == {1: 1, 2: 2}


def test_of_many_offenders_some_are_shown() -> None:
    many = [Violation("I3", START_S, f"r{number}", "s1", "one thing", "another") for number in range(50)]
    beside = [Overlap(f"r{number}", "s1", "s2", START_S, START_S + 1, 0.5) for number in range(50)]
    text = list(summary.lines(Verdict(many, {"answers": 50}, beside, ["s1: gone"], ["a note"])))
    assert sum("expected: one thing" in line for line in text) == summary.SHOWN
    assert any("and 30 more: --json" in line for line in text)
    assert any("and 30 more overlaps" in line for line in text)
    assert text[-2:] == ["unread      s1: gone", "note        a note"]
