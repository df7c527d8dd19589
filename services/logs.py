"""Log lines of a service: one JSON object a line on stderr, and the rotation of the file behind it.

Must not know who reads them. A log that cannot be written (a full disk) is dropped, never waited for or raised.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.tracing import CURRENT, about

#: A log file is rotated at this size; this many older ones are kept.
ROTATE_BYTES = 50 * 1000**2
KEPT_FILES = 3

_encode = json.JSONEncoder(default=repr).encode
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """A record as one JSON line: ts, level, name, role, message, the record's extra fields, then what it was about.

    That is `request_id`, `trace_id` and `span_id` of the request for which the work is done, where there is one.
    """

    def __init__(self, name: str, role: str) -> None:
        super().__init__()
        self._name = name
        self._role = role
        self._second, self._text = 0, ""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline; never raises for what an extra field holds."""
        line: dict[str, Any] = {
            "ts": self._timestamp(record.created),
            "level": record.levelname.lower(),
            "name": self._name,
            "role": self._role,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in record.__dict__.items() if key not in _STANDARD and key not in line)
        for key, value in about().items():
            line.setdefault(key, value)
        if (span := CURRENT.get()) is not None:
            line["span_id"] = span.span_id
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line)

    def _timestamp(self, unix_s: float) -> str:
        """ISO 8601 in UTC, to the microsecond; the part that changes once a second is made once a second."""
        second, micros = divmod(round(unix_s * 1e6), 1_000_000)
        if second != self._second:
            self._second, self._text = second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._text}.{micros:06d}Z"


class PlainLines(logging.Formatter):
    """A record as one line for people: local time, level, message, then `key=value` for each extra field."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """The line without a traceback."""
        extra = [f"{key}={value}" for key, value in record.__dict__.items() if key not in _STANDARD]
        return "  ".join([super().formatMessage(record), *extra])


class LogFile:
    """The file that is this process's stdout and stderr: rotated by renaming and opening anew.

    `descriptors` are pointed at the new file. Another process may have rotated it meanwhile: then it is only opened.
    """

    def __init__(
        self, path: Path, limit_bytes: int = ROTATE_BYTES, kept: int = KEPT_FILES, descriptors: tuple[int, ...] = (1, 2)
    ) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._kept = kept
        self._descriptors = descriptors

    def rotate_if_large(self) -> None:
        """Rotates where the file has reached its limit; OSError where that fails (the old file is then kept)."""
        state = os.fstat(self._descriptors[-1])
        if state.st_size < self._limit_bytes:
            return
        if _same(state, self._path):
            self._rename()
        self._reopen()

    def _rename(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _reopen(self) -> None:
        fresh = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for descriptor in self._descriptors:
                os.dup2(fresh, descriptor)
        finally:
            os.close(fresh)


def _same(state: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(state, path.stat())
    except FileNotFoundError:
        return False


class DescriptorHandler(logging.Handler):
    """Writes each line with one `write`, so that lines of several processes never mix; drops what cannot be written."""

    def __init__(self, descriptor: int = 2, log_file: LogFile | None = None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._log_file = log_file
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Writes `record`; a failure (disk full, closed pipe) is only counted, since a log must not stop a service."""
        line = self.format(record).encode(errors="backslashreplace") + b"\n"
        try:
            self._rotate()
            os.write(self._descriptor, line)
        except OSError:
            self.dropped += 1

    def _rotate(self) -> None:
        if self._log_file is None:
            return
        with contextlib.suppress(OSError):  # what cannot be rotated is still written to
            self._log_file.rotate_if_large()


def set_up(name: str, role: str, log_file: LogFile | None = None, level: int = logging.INFO) -> logging.Handler:
    """Sends all of this process's logging to stderr: JSON lines, in a terminal plain ones.

    `log_file` is the file behind stderr, to be rotated.
    """
    # no line says where in the code it was written, nor by which thread: looking for that took half of its time
    logging._srcfile = None  # as logging's documentation has it, under "Optimization"
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = DescriptorHandler(log_file=log_file)
    handler.setFormatter(PlainLines() if os.isatty(2) else JsonLines(name, role))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(capture=True)
    return handler


def log_by(handler: logging.Handler) -> None:
    """Sends all of this process's logging to `handler` alone: where several were set up before a fork, its own."""
    logging.getLogger().handlers[:] = [handler]
