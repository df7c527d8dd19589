"""What a grid finds around it: other grids, busy ports, the remains of a crash, full disks, narrow terminals, pipes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from gridctl.state import ClusterPaths
from gridctl.testing import Grid
from tests.e2e.conftest import Cluster, supervisor_of

WITHIN_S = 60.0
#: The verbs that only look, as a user types them.
LOOKING = (["ps"], ["ls"], ["top", "--once"], ["plan"], ["logs"], ["loadtest", "--burst", "3"])


def gridctl(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "gridctl", *arguments]
    full = {**os.environ, **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False, cwd=cwd, env=full)


@contextmanager
def up(
    *arguments: str, name: str = "grid", cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.CompletedProcess[str]]:
    """A detached grid by the real command; it goes down afterwards."""
    done = gridctl("up", "-d", "--name", name, *arguments, cwd=cwd, env=env)
    try:
        yield done
    finally:
        gridctl("down", "--name", name, env=env)


def on_a_terminal(arguments: Sequence[str], columns: int, env: Mapping[str, str]) -> tuple[int, str]:
    """The exit code, and all that was written, of a command on a pty of its own."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-P", "-m", "gridctl", *arguments]
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env={**env, "TERM": "xterm-256color"}
    ) as process:
        os.close(slave)
        written = b""
        with suppress(OSError), os.fdopen(master, "rb", buffering=0) as screen:  # EIO: nobody has the terminal any more
            while data := screen.read(1 << 16):
                written += data
    return process.returncode, written.decode()


@contextmanager
def a_listener() -> Iterator[int]:
    """A port that another program, this one, listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def clusters(env: Mapping[str, str] | None = None) -> dict[str, str]:
    return {entry["name"]: entry["state"] for entry in json.loads(gridctl("ls", "--json", env=env).stdout)}


def test_two_clusters_live_side_by_side() -> None:
    with up(name="north") as north, up(name="south") as south:
        assert (north.returncode, south.returncode) == (0, 0)
        # both want the same ports, as may other grids on this machine: who comes later is told where its processes listen
        assert " is busy: " in north.stderr + south.stderr
        ports = [json.loads(gridctl("ps", "--json", "--name", name).stdout) for name in ("north", "south")]
        assert not {row["port"] for row in ports[0]} & {row["port"] for row in ports[1]}
        assert "gridctl down --name south" in south.stdout
        pids = {
            name: {row["pid"] for row in json.loads(gridctl("ps", "--json", "--name", name).stdout)}
            for name in ("north", "south")
        }
        assert not pids["north"] & pids["south"]
        neither = gridctl("ps")
        assert neither.returncode == 3
        assert "running are north, south: choose one with --name" in neither.stderr
        assert gridctl("down", "--name", "north").returncode == 0
        assert "did you mean --name south?" in gridctl("ps", "--name", "north").stderr
        assert {row["state"] for row in json.loads(gridctl("ps", "--json", env={"GRIDCTL_NAME": "south"}).stdout)} == {
            "READY"
        }


def test_a_busy_port_that_the_topology_sets_is_an_error_that_names_its_holder(tmp_path: Path) -> None:
    with a_listener() as port:
        topology = tmp_path / "grid.yaml"
        topology.write_text(f"name: grid\nsubstations: [{{name: east}}, {{name: west, port: {port}}}]\n")
        done = gridctl("up", "-d", "-f", str(topology))
    assert done.returncode == 5
    assert f"port {port} (west) is in use by {psutil.Process().name()} (pid {os.getpid()}: " in done.stderr
    assert done.stdout == ""
    assert clusters() == {}


def test_a_busy_default_port_is_given_up_for_a_free_one_and_that_is_said() -> None:
    with holding(9001), up() as done:
        moved = re.search(r"port 9001 is busy: substation1 listens on (\d+)", done.stderr)
        assert moved
        assert f"http://127.0.0.1:{moved[1]}/sessions" in done.stdout


@contextmanager
def holding(port: int) -> Iterator[None]:
    """Listens on `port`, once other tests' grids have left it; where somebody holds it for long, that is as good."""
    give_up = time.monotonic() + 15
    server = None
    while server is None and time.monotonic() < give_up:
        with suppress(OSError):
            server = socket.create_server(("127.0.0.1", port))
        time.sleep(0.05)  # sleep: between two tries to get the port
    yield
    if server is not None:
        server.close()


def crash(paths: ClusterPaths) -> None:
    """kill -9 of everything, the supervisor first."""
    supervisor = psutil.Process(json.loads(paths.record.read_text())["supervisor_pid"])
    everything = [supervisor, *supervisor.children(recursive=True)]
    for process in everything:
        process.kill()
    psutil.wait_procs(everything, timeout=WITHIN_S)


@pytest.mark.parametrize(
    "garbage", [None, b"", b"{", b"\xff\x00" * 100, b"[1, 2]", b'{"name": 7}', b'[{"pid": 1, "name": "init"}]']
)
def test_a_folder_that_a_crash_left_is_no_obstacle(garbage: bytes | None) -> None:
    with up("--substations", "1") as done:
        assert done.returncode == 0
        paths = ClusterPaths(Path(os.environ["GRIDCTL_STATE_DIR"]), "grid")
        crash(paths)
        if garbage is not None:
            paths.control_socket.unlink()
            for file in (paths.control_socket, paths.record, paths.roster, paths.targets, paths.lock, paths.events):
                file.write_bytes(garbage)
        assert clusters() == {"grid": "STOPPED"}
        assert gridctl("ps").returncode == 3
        assert gridctl("down").returncode == 3
        again = gridctl("up", "-d", "--substations", "1")
        assert again.returncode == 0, again.stderr
        assert clusters() == {"grid": "READY"}


def test_a_state_directory_that_is_a_file_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = gridctl("up", "-d", env={"GRIDCTL_STATE_DIR": str(file)})
    assert done.returncode == 1
    assert f"cannot keep state in {file / 'grid'}: {file} is a file" in done.stderr
    assert gridctl("ps", env={"GRIDCTL_STATE_DIR": str(file)}).returncode == 3
    assert gridctl("ls", env={"GRIDCTL_STATE_DIR": str(file)}).returncode == 0


def test_a_state_directory_that_may_not_be_written_is_said() -> None:
    with tempfile.TemporaryDirectory() as folder:
        closed = Path(folder)
        (closed / "grid").mkdir()
        closed.chmod(0o755)
        if os.geteuid() != 0:
            (closed / "grid").chmod(0o555)
        done = _as_nobody("up", "-d", extra={"GRIDCTL_STATE_DIR": str(closed)})
        assert done.returncode == 1
        assert f"cannot keep state in {closed / 'grid'}: Permission denied" in done.stderr
        assert "GRIDCTL_STATE_DIR" in done.stderr


def _as_nobody(*arguments: str, extra: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The command as a user who is not root; its code is loaded before the rights go."""
    code = "import os, sys, gridctl.cli, gridctl.commands.up, gridctl.foreground, gridctl.declared\n"
    code += "os.geteuid() or os.setuid(65534)\nsys.exit(gridctl.cli.run(sys.argv[1:]))"
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")} | dict(extra)
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False, env=env)


def test_a_disk_without_space_is_said_and_nothing_stays() -> None:
    limited = (
        "import os, sys, resource as r; r.setrlimit(r.RLIMIT_FSIZE, (0, -1)); os.execv(sys.executable, sys.argv[1:])"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", limited, sys.executable, "-P", "-m", "gridctl", "up", "-d"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False, env=env)
    assert done.returncode == 1
    assert "cannot write the cluster's state" in done.stderr
    assert "free some space" in done.stderr
    assert clusters() == {}


def test_a_disk_that_fills_up_stops_nothing(cluster: Cluster) -> None:
    grid = cluster(2, topology={"defaults": {"session_s": 100_000}})
    assert [grid.charge(f"EV{number}", request_id=f"r{number}")[0] for number in range(2)] == [202, 202]
    limit_files(grid, 0)
    status, problem = grid.charge("EV2")
    assert status == 503, "what cannot be journaled is not promised"
    assert problem["detail"]
    grid.wait_until(lambda g: {row["state"] for row in g.top()["substations"]} == {"UNHEALTHY"})
    assert "cannot be written" in grid.process("substation1")["reason"]
    assert [grid.charge(f"EV{number}", request_id=f"r{number}")[0] for number in range(2)] == [202, 202]
    limit_files(grid, resource.RLIM_INFINITY)
    grid.wait_until(lambda g: {row["state"] for row in g.top()["substations"]} == {"READY"})
    assert grid.charge("EV2")[0] == 202
    limit_files(grid, 0)
    more = grid.run("scale", "substations=3")
    assert more.returncode == 1
    assert "cannot write the cluster's state" in more.stderr
    assert len(grid.ps()) == 4
    assert grid.run("down").returncode == 0


def limit_files(grid: Grid, most_bytes: int) -> None:
    """No process of the grid may write beyond `most_bytes` of a file: 0 is a disk that is full."""
    supervisor = supervisor_of(grid)
    for process in (supervisor, *supervisor.children(recursive=True)):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


def test_a_state_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with up("--substations", "1", env={"GRIDCTL_STATE_DIR": str(deep)}) as done:
        assert done.returncode == 0, done.stderr
        assert clusters(env={"GRIDCTL_STATE_DIR": str(deep)}) == {"grid": "READY"}
    assert clusters(env={"GRIDCTL_STATE_DIR": str(deep)}) == {}
    assert not list(Path(os.environ["XDG_RUNTIME_DIR"]).iterdir())


def test_sixty_columns_are_enough(cluster: Cluster) -> None:
    grid = cluster(3)
    for arguments in LOOKING:
        code, written = on_a_terminal(arguments, 60, grid.environment)
        assert code == 0, written
        lines = [re.sub(r"\x1b\[\??[\d;]*[a-z]", "", line) for line in re.split(r"[\r\n]|\x1b\[\d*[AK]", written)]
        if arguments[0] in {"ps", "ls", "top"}:  # the others print lines of text, which the terminal wraps
            assert max(len(line) for line in lines) <= 60, lines


def test_a_pipe_and_no_color_get_no_ansi(cluster: Cluster) -> None:
    grid = cluster(1)
    changing = (["restart", "substation1"], ["pause", "balancer"], ["unpause", "balancer"], ["scale", "substations=2"])
    for arguments in (*LOOKING, *changing, ["ps", "--name", "none"]):
        done = grid.run(*arguments)
        assert "\x1b" not in done.stdout + done.stderr, arguments
        _, written = on_a_terminal(arguments, 80, {**grid.environment, "NO_COLOR": "1"})
        assert "\x1b" not in written, arguments


def test_what_lies_in_the_working_directory_is_not_imported(tmp_path: Path) -> None:
    for name in ("random", "config", "services", "gridctl", "monitoring", "json", "logging", "aiohttp"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working directory')\n")
    with up("--substations", "1", cwd=tmp_path) as done:
        assert done.returncode == 0, done.stderr
        assert gridctl("ps", cwd=tmp_path).returncode == 0


def test_a_working_directory_that_is_gone_or_closed_does_not_matter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    with up("--substations", "1", cwd=closed) as done:
        assert done.returncode == 0, done.stderr


def test_closed_standard_streams_do_not_matter() -> None:
    closing = "import os, sys; os.closerange(0, 3); os.execv(sys.executable, sys.argv[1:])"
    for verb in (["up", "-d"], ["down"]):
        command = [sys.executable, "-c", closing, sys.executable, "-P", "-m", "gridctl", *verb]
        assert subprocess.run(command, timeout=WITHIN_S, check=False).returncode == 0
        assert clusters() == ({"grid": "READY"} if verb[0] == "up" else {})


def test_a_pipe_behind_a_detached_start_ends() -> None:
    """`communicate` returns at the end of file: the supervisor holds neither stdout nor stderr."""
    with up() as done:
        assert done.returncode == 0
        assert json.loads(gridctl("ls", "--json").stdout)[0]["state"] == "READY"


def test_a_stranger_with_the_pid_of_a_dead_process_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as stranger:
        paths = ClusterPaths(Path(os.environ["GRIDCTL_STATE_DIR"]), "grid")
        paths.folder.mkdir(parents=True)
        forged = [{"pid": stranger.pid, "name": "substation1", "identity": "another start time"}]
        paths.roster.write_text(json.dumps(forged))
        with up("--substations", "1") as done:
            assert done.returncode == 0
            assert stranger.poll() is None
        stranger.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("hosts", ["http://grid.example", "grid example", "[::1"])
def test_a_setting_that_services_could_not_start_with_is_refused_before_any_starts(hosts: str, tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    done = gridctl("up", "-d", env={"GRIDCTL_STATE_DIR": str(state_dir), "ALLOWED_HOSTS": hosts})
    assert (done.returncode, done.stdout) == (2, "")
    for words in ("ALLOWED_HOSTS", repr(hosts), "ALLOWED_HOSTS=grid.example,10.0.0.5"):
        assert words in done.stderr
    assert not state_dir.exists(), "nothing was begun"
