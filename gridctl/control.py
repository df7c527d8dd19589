"""The client's side of a cluster's control API: HTTP on its Unix socket. Must not know what the supervisor does.

Only the standard library: every client verb pays for what is imported here.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from config.errors import GridError, InUse, Invalid, NotReady, NotRunning
from gridctl.clusters import not_running, resolve, running
from gridctl.state import ClusterPaths

#: How long a supervisor may take until the first byte of an answer, in wall seconds; it answers from memory.
ANSWER_TIMEOUT_S = 5.0

_BY_CODE: dict[int, type[GridError]] = {
    kind.exit_code: kind for kind in (GridError, Invalid, NotRunning, NotReady, InUse)
}


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Control:
    """One cluster's control API at the Unix socket `socket_path`.

    `paths` lets errors name the cluster, its supervisor's PID and its log. `timeout_s` bounds the wait for the
    beginning of each answer (wall seconds). Every call raises NotRunning when nobody listens, GridError when nobody
    answers or the answer is an error.
    """

    def __init__(
        self, socket_path: Path, paths: ClusterPaths | None = None, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        self.socket_path = socket_path
        self.paths = paths
        self.timeout_s = timeout_s

    def snapshot(self, usage: bool = True) -> dict[str, Any]:
        """The cluster as it is now: `cluster`, `grid`, `processes` and `substations`; no CPU and memory without `usage`."""
        with _Answer(self, "GET", "/snapshot" if usage else "/snapshot?usage=0") as answer:
            document = answer.document()
        if not isinstance(document, dict):
            raise GridError(
                "the supervisor's snapshot is no JSON object", "was it started by another version? gridctl version"
            )
        return document

    def operation(self, verb: str, **args: Any) -> Iterator[dict[str, Any]]:
        """Ask for `verb`; yields its progress as it comes, the outcome (`done: true`) last. May take long."""
        return self._stream("POST", "/operations", {"verb": verb, **args})

    def events(self, since: int = 0, follow: bool = False) -> Iterator[dict[str, Any]]:
        """The events after sequence number `since`; with `follow` it goes on until the cluster ends."""
        return self._stream("GET", "/events?" + urlencode({"since": since, "follow": int(follow)}), None)

    def _stream(self, method: str, target: str, body: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        with _Answer(self, method, target, body) as answer:
            yield from answer.lines()

    def silent(self) -> GridError:
        """The error that says that the supervisor is there and does not answer."""
        if self.paths is None:
            return GridError(f"the supervisor at {self.socket_path} does not answer (waited {self.timeout_s:g} s)")
        record = self.paths.read_record() or {}
        message = (
            f"the supervisor of {self.paths.name!r} (pid {record.get('supervisor_pid', 'unknown')})"
            f" does not answer (waited {self.timeout_s:g} s)"
        )
        return GridError(message, f"see its log: {self.paths.logs / 'supervisor.log'}")

    def absent(self) -> GridError:
        """The error that says that nobody listens at the socket."""
        if self.paths is None:
            return NotRunning(f"no cluster is running at {self.socket_path}", "start one: gridctl up -d")
        # locked and yet without a socket: it is just starting, or just ending
        return self.silent() if running(self.paths) else not_running(self.paths)

    def broken(self) -> GridError:
        """The error that says that the supervisor went away in the middle of an answer."""
        hint = f"see its log: {self.paths.logs / 'supervisor.log'}" if self.paths else ""
        return GridError("the supervisor ended before it had answered", hint)


class _Answer:
    """One request and its answer; the connection is closed at the end of the `with`."""

    def __init__(self, control: Control, method: str, target: str, body: dict[str, Any] | None = None) -> None:
        self._control = control
        self._connection = _UnixConnection(control.socket_path, control.timeout_s)
        self._request = (method, target, None if body is None else json.dumps(body).encode())

    def __enter__(self) -> _Answer:
        try:
            self._response = self._send()
        except BaseException:
            self._connection.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()

    def _send(self) -> HTTPResponse:
        control = self._control
        method, target, body = self._request
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            self._connection.request(method, target, body, headers)
            self._socket = self._connection.sock  # http.client forgets it where the answer ends the connection
            response = self._connection.getresponse()
        except TimeoutError:
            raise control.silent() from None
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise control.absent() from None
        except (OSError, HTTPException) as error:
            raise control.broken() from error
        if response.status < 400:
            return response
        with response:
            raise self._refusal(response)

    def _refusal(self, response: HTTPResponse) -> GridError:
        try:
            said = json.loads(response.read())
        except (OSError, HTTPException, ValueError):
            said = None
        fields = said if isinstance(said, dict) else {}
        message = fields.get("message") or fields.get("detail") or fields.get("title") or f"HTTP {response.status}"
        return _error(message, fields.get("hint", ""), fields.get("exit_code", 1))

    def document(self) -> Any:
        try:
            return json.loads(self._response.read())
        except TimeoutError:
            raise self._control.silent() from None
        except (OSError, HTTPException, ValueError) as error:
            raise self._control.broken() from error

    def lines(self) -> Iterator[dict[str, Any]]:
        self._socket.settimeout(None)  # a drain says nothing for minutes; the first byte has come
        try:
            for line in self._response:
                if line.strip():
                    yield json.loads(line)
        except (OSError, HTTPException, ValueError) as error:
            raise self._control.broken() from error


def control_of(name: str | None, file: Path | None, timeout_s: float = ANSWER_TIMEOUT_S) -> Control:
    """The control API of the cluster that `--name` and `--file` mean (see `resolve`)."""
    return control_at(resolve(name, file), timeout_s)


def control_at(paths: ClusterPaths, timeout_s: float = ANSWER_TIMEOUT_S) -> Control:
    """The control API of the cluster at `paths`."""
    return Control(paths.control_socket, paths, timeout_s)


def run_operation(
    control: Control, verb: str, args: dict[str, Any], printer: Callable[[str], object]
) -> dict[str, Any]:
    """Ask for `verb` with `args`, give each line of progress to `printer`, and answer the outcome.

    An outcome that is not `ok` is raised as the GridError of its `exit_code`, with its message and hint.
    """
    for line in control.operation(verb, **args):
        if line.get("done"):
            return outcome(line)
        printer(progress_line(line))
    raise control.broken()


def outcome(line: dict[str, Any]) -> dict[str, Any]:
    """An operation's last line, when it is ok; else the GridError of its `exit_code` is raised."""
    if not line.get("ok"):
        raise _error(line.get("message") or "the operation failed", line.get("hint", ""), line.get("exit_code", 1))
    return line


def _error(message: object, hint: object, exit_code: object) -> GridError:
    kind = _BY_CODE.get(exit_code, GridError) if isinstance(exit_code, int) else GridError
    return kind(str(message), str(hint or ""))


def progress_line(line: dict[str, Any]) -> str:
    """One line of an operation's progress as text: `substation1  READY  answered`, whichever of the three there are."""
    parts = (line.get("name"), line.get("state"), line.get("message"))
    return "  ".join(str(part) for part in parts if part)
