"""The one error handler: every way in which a command can end badly becomes lines on stderr and an exit code.

Three sorts of end: expected (`error:` and `hint:`, the error's own code), a bug (one line that names the file with the
traceback, 1), and Ctrl-C (130). Must not know the commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import click

from config.errors import GridError, Invalid
from gridctl.console import uses_ansi
from gridctl.state import state_root

INTERRUPTED = 130
_RED, _CYAN = "31;1", "36"


def report_failure(
    failure: BaseException,
    arguments: Sequence[str],
    stderr: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Say on `stderr` what `failure` was and answer the exit code; `arguments` go into a bug's report only."""
    stream = stderr or sys.stderr
    ansi = uses_ansi(stream, environ)
    try:
        return _report(failure, arguments, stream, ansi, environ)
    except BrokenPipeError:
        return _reader_gone()


def _report(
    failure: BaseException, arguments: Sequence[str], stream: TextIO, ansi: bool, environ: Mapping[str, str]
) -> int:
    if isinstance(failure, SystemExit):
        return failure.code if isinstance(failure.code, int) else int(failure.code is not None)
    if isinstance(failure, BrokenPipeError):
        return _reader_gone()
    if _is_interrupt(failure):
        stream.write("\n" if ansi else "")  # behind the terminal's ^C
        return INTERRUPTED
    lines, code = _expected(failure) or _bug(failure, arguments, environ)
    for kind, text in lines:
        stream.write(_line(kind, text, ansi))
    stream.flush()
    return code


def _reader_gone() -> int:
    """Whoever read our output (`head`) has enough: a quiet end, also for what the interpreter still flushes."""
    sink = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(sink, stream.fileno())
        except (OSError, ValueError):  # a stream without a file of its own has nothing to flush
            continue
    os.close(sink)
    return 0


def _is_interrupt(failure: BaseException) -> bool:
    if isinstance(failure, click.Abort):
        return not isinstance(failure.__context__, EOFError)
    return isinstance(failure, KeyboardInterrupt)


def _expected(failure: BaseException) -> tuple[list[tuple[str, str]], int] | None:
    if isinstance(failure, GridError):
        return _grid_lines(failure), failure.exit_code
    if isinstance(failure, click.UsageError):
        path = failure.ctx.command_path if failure.ctx else "gridctl"
        return [("error", failure.format_message()), ("hint", f"{path} --help")], failure.exit_code
    if isinstance(failure, click.ClickException):
        return [("error", failure.format_message())], failure.exit_code
    if isinstance(failure, click.Abort):
        return [("error", "a question was left without an answer"), ("hint", "answer with an option: --yes")], 1
    return None


def _grid_lines(failure: GridError) -> list[tuple[str, str]]:
    lines = [("error", failure.message)]
    faults = failure.faults if isinstance(failure, Invalid) else ()
    lines += [("", f"  {fault}") for fault in faults if str(fault) != failure.message]
    if failure.hint:
        lines.append(("hint", failure.hint))
    return lines


def _bug(
    failure: BaseException, arguments: Sequence[str], environ: Mapping[str, str]
) -> tuple[list[tuple[str, str]], int]:
    import platform  # noqa: PLC0415 - only a bug needs these
    import traceback  # noqa: PLC0415

    from gridctl import __version__  # noqa: PLC0415

    head = f"gridctl {__version__}, Python {platform.python_version()}, {platform.platform()}\narguments: {arguments}\n"
    file = _write_report(head + "".join(traceback.format_exception(failure)), environ)
    summary = f"gridctl failed unexpectedly ({type(failure).__name__}: {_first_line(failure)}); {file}"
    return [("error", summary)], 1


def _first_line(failure: BaseException) -> str:
    return next(iter(str(failure).splitlines()), "")


def _write_report(text: str, environ: Mapping[str, str]) -> str:
    import tempfile  # noqa: PLC0415
    from datetime import UTC, datetime  # noqa: PLC0415

    name = f"bug-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    for folder in (state_root(environ), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # O_EXCL: in a shared temporary folder nobody may have laid a link there before us
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as report:
                report.write(text)
        except OSError:
            continue
        return f"the details are in {folder / name}"
    return "its details could not be written anywhere:\n" + text


def _line(kind: str, text: str, ansi: bool) -> str:
    if not kind:
        return f"{text}\n"
    label = f"\x1b[{_RED if kind == 'error' else _CYAN}m{kind}:\x1b[0m" if ansi else f"{kind}:"
    return f"{label} {text}\n"
