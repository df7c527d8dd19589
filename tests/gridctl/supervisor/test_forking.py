"""The zygote's client against a real zygote: births, refusals, its death with requests in flight, its silence."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from config.errors import GridError
from config.report import HEADER
from config.settings import SubstationSettings, settings_to_json
from gridctl import kernel
from gridctl.supervisor.forking import Birth, Zygote
from gridctl.supervisor.sockets import hold


@pytest.fixture
def birth(tmp_path: Path) -> Iterator[Birth]:
    kernel.become_subreaper()
    with ExitStack() as stack:
        held = hold("substation1", "127.0.0.1", 0, fixed=False)
        ours, theirs = socket.socketpair()
        for one in (held.sock, ours, theirs):
            stack.enter_context(one)
        settings = settings_to_json(SubstationSettings())
        yield Birth("substation1", "substation", "grid", settings, tmp_path / "logs.log", held.sock, theirs)


async def _status(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def _reap(*pids: int | None) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids if pid is not None]


async def test_a_birth_gives_a_service_that_answers_on_the_socket(birth: Birth) -> None:
    zygote = Zygote(asyncio.get_running_loop())
    pid = await zygote.spawn(birth)
    assert b"200 OK" in await _status(birth.listener.getsockname()[1])
    assert os.getpgid(pid) == pid
    os.kill(pid, signal.SIGTERM)
    assert _reap(pid) == [0]
    assert b'"message": "stopped"' in birth.log_file.read_bytes()
    zygote.close()
    _reap(zygote.pid)


async def test_a_log_that_cannot_be_written_costs_the_log_only(birth: Birth) -> None:
    birth.log_file.mkdir()
    zygote = Zygote(asyncio.get_running_loop())
    pid = await zygote.spawn(birth)
    assert b"200 OK" in await _status(birth.listener.getsockname()[1])
    os.kill(pid, signal.SIGTERM)
    zygote.close()
    assert _reap(pid, zygote.pid) == [0, 0]


async def test_settings_that_are_none_end_the_newborn_and_say_why_in_its_log(birth: Birth) -> None:
    zygote = Zygote(asyncio.get_running_loop())
    odd = Birth("a", "substation", "grid", {"nonsense": 1}, birth.log_file, birth.listener, birth.lifeline)
    pid = await zygote.spawn(odd)
    assert _reap(pid) == [1]
    assert "nonsense" in birth.log_file.read_text()
    zygote.close()
    _reap(zygote.pid)


async def test_a_zygote_that_dies_with_a_request_in_flight_says_so_and_another_follows(birth: Birth) -> None:
    deaths: list[int] = []
    zygote = Zygote(asyncio.get_running_loop(), on_death=deaths.append)
    zygote.start()
    first = zygote.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    asked = asyncio.ensure_future(zygote.spawn(birth))
    await asyncio.sleep(0)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(GridError, match="the zygote died"):
        await asked
    pid = await zygote.spawn(birth)
    assert deaths == [first]
    assert b"200 OK" in await _status(birth.listener.getsockname()[1])
    os.kill(pid, signal.SIGTERM)
    zygote.close()
    zygote.close()
    assert _reap(first, pid, zygote.pid) == [-9, 0, 0]


async def test_a_zygote_that_hangs_is_killed(birth: Birth) -> None:
    zygote = Zygote(asyncio.get_running_loop(), answer_s=0.2)
    zygote.start()
    assert zygote.pid is not None
    os.kill(zygote.pid, signal.SIGSTOP)
    with pytest.raises(GridError, match=r"did not answer within 0\.2 s"):
        await zygote.spawn(birth)
    assert _reap(zygote.pid) == [-9]


async def test_a_closed_socket_cannot_be_handed_over(birth: Birth) -> None:
    zygote = Zygote(asyncio.get_running_loop())
    birth.lifeline.close()
    with pytest.raises(GridError, match="the zygote cannot be asked"):
        await zygote.spawn(birth)
    zygote.close()
    _reap(zygote.pid)


#: A supervisor that starts a zygote, sends it a listening socket, says their PID and port, and waits to be killed.
_SUPERVISOR = """
import asyncio, socket
from gridctl.supervisor.forking import Zygote

async def main():
    zygote = Zygote(asyncio.get_running_loop())
    listener = socket.create_server(("127.0.0.1", 0))
    socket.send_fds(zygote.start(), [b"x"], [listener.fileno()])
    print(zygote.pid, listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_zygote_that_still_imports_dies_with_its_supervisor_and_frees_the_port(tmp_path: Path) -> None:
    # an interpreter that never gets as far as its first line of ours
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'gridctl.zygote' in sys.orig_argv:\n    os.read(os.open(os.environ['FIFO'], os.O_RDONLY), 1)\n"
    )
    os.mkfifo(fifo := tmp_path / "fifo")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "FIFO": str(fifo)}
    kernel.become_subreaper()
    with subprocess.Popen(
        [sys.executable, "-c", _SUPERVISOR], env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        zygote, port = (int(word) for word in process.stdout.readline().split())
        process.kill()
    assert _reap(zygote) == [-signal.SIGKILL]
    socket.create_server(("127.0.0.1", port)).close()


def _sockets(pid: int, descriptors: Sequence[int] = ()) -> set[str]:
    """Those of a process, or of some of its descriptors."""
    folder = Path(f"/proc/{pid}/fd")
    chosen = [folder / str(each) for each in descriptors] or list(folder.iterdir())
    names = {str(each.readlink()) for each in chosen}
    return {name for name in names if name.startswith("socket:")}


def _crowd(stack: ExitStack, folder: Path, count: int) -> list[Birth]:
    """So many substations that wait to be born."""
    births = []
    for number in range(count):
        held = hold(f"s{number}", "127.0.0.1", 0, fixed=False)
        ours, theirs = socket.socketpair()
        for one in (held.sock, ours, theirs):
            stack.enter_context(one)
        settings = settings_to_json(SubstationSettings(name=f"s{number}", max_sessions=number + 1))
        log = folder / f"{number}.log"
        births.append(Birth(f"s{number}", "substation", "grid", settings, log, held.sock, theirs))
    return births


async def test_a_crowd_is_born_together_and_nobody_holds_what_is_anothers(tmp_path: Path) -> None:
    kernel.become_subreaper()
    zygote = Zygote(asyncio.get_running_loop())
    with ExitStack() as stack:
        births = _crowd(stack, tmp_path, 20)
        pids = await asyncio.gather(*(zygote.spawn(birth) for birth in births))
        answers = [await _status(birth.listener.getsockname()[1]) for birth in births]
        said = [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers]
        assert [(each["name"], each["max_sessions"]) for each in said] == [(f"s{n}", n + 1) for n in range(20)]
        reports = [line for answer in answers for line in answer.splitlines() if HEADER.encode() in line]
        assert len({re.search(rb"epoch=(\d+)", report)[1] for report in reports}) == 20  # type: ignore[index]
        assert {psutil.Process(pid).ppid() for pid in pids} == {os.getpid()}
        held_by = [_sockets(pid) for pid in pids]
        for birth, sockets in zip(births, held_by, strict=True):
            mine = _sockets(os.getpid(), birth.descriptors)
            assert mine <= sockets
            assert sum(1 for others in held_by if mine & others) == 1
        assert {psutil.Process(pid).num_threads() for pid in pids} == {1}
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        assert set(_reap(*pids)) == {0}
        assert [birth.log_file.read_text().count('"listening"') for birth in births] == [1] * 20
        assert all(f'"name": "s{n}"' in birth.log_file.read_text() for n, birth in enumerate(births))
    zygote.close()
    _reap(zygote.pid)


async def test_one_of_a_crowd_whose_settings_are_none_says_why_in_its_log_and_the_others_come(tmp_path: Path) -> None:
    kernel.become_subreaper()
    zygote = Zygote(asyncio.get_running_loop())
    with ExitStack() as stack:
        births = _crowd(stack, tmp_path, 20)
        births[15] = replace(births[15], settings={"nonsense": 1})
        pids = await asyncio.gather(*(zygote.spawn(birth) for birth in births))
        odd = pids.pop(15)
        assert _reap(odd) == [1]
        assert "nonsense" in births.pop(15).log_file.read_text()
        for birth in births:
            assert b"200 OK" in await _status(birth.listener.getsockname()[1])
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        assert set(_reap(*pids)) == {0}
    zygote.close()
    _reap(zygote.pid)
