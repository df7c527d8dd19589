"""`gridctl logs`: the logs of a cluster's processes in the order of time; the cluster need not run."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from gridctl.clusters import not_running, resolve
from gridctl.commands.options import long_file_option, name_option, names_argument
from gridctl.console import uses_ansi
from gridctl.logs.display import Display
from gridctl.logs.files import names_in
from gridctl.logs.lines import LEVELS, Line
from gridctl.logs.moment import instant
from gridctl.logs.reader import Extent, LogStream
from gridctl.selection import matches, select
from gridctl.state import ClusterPaths

#: How often a followed log is looked at, in wall seconds.
POLL_S = 0.2
#: The launcher's own logs: shown when they are named only.
OWN = frozenset({"supervisor", "zygote"})


@click.command("logs")
@names_argument
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written, until Ctrl-C.")
@click.option("--since", metavar="5m|TIME", help="From then on: a span before now, an ISO time, or Unix seconds.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="N", help="The last N lines of each process.")
@click.option("--level", type=click.Choice(LEVELS), help="Only this level and graver ones; raw lines always.")
@click.option("--no-log-prefix", "shape", flag_value="bare", help="Without the process's name before each line.")
@click.option("--json", "shape", flag_value="json", help="Print one JSON object a line.")
@name_option
@long_file_option
def command(
    names: tuple[str, ...],
    follow: bool,
    since: str | None,
    tail: int | None,
    level: str | None,
    shape: str | None,
    name: str | None,
    file: Path | None,
) -> int:
    """Show the logs of all processes, or of those that NAME… mean (globs: 'substation*'), in the order of time.

    The launcher's own log is shown by `gridctl logs supervisor`.
    """
    paths = resolve(name, file)
    extent = Extent(None if since is None else instant(since, time.time()), tail, level)
    chosen = _chosen(paths, names)
    display = Display(chosen, prefix=shape != "bare", ansi=uses_ansi(sys.stdout), as_json=shape == "json")
    _allow_many_files()
    stream = LogStream(paths.logs, _wanted(names), extent)
    try:
        _show(stream.history(), display)
        if follow:
            _follow(stream, display)
        _show(stream.last_lines(), display)
    finally:
        stream.close()
    return 0


def _chosen(paths: ClusterPaths, patterns: tuple[str, ...]) -> list[str]:
    known = names_in(paths.logs)
    if not known and not paths.folder.is_dir():
        raise not_running(paths)
    return select(patterns, known) if patterns else [name for name in known if name not in OWN]


def _wanted(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    if not patterns:
        return lambda name: name not in OWN
    return lambda name: any(matches(pattern, name) for pattern in patterns)


def _allow_many_files() -> None:
    """A city has more logs than the 256 files that some systems let a process open unasked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_240 if hard == resource.RLIM_INFINITY else hard
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _show(lines: Iterable[Line], display: Display) -> None:
    for line in lines:
        sys.stdout.write(display.text(line))
    sys.stdout.flush()


def _follow(stream: LogStream, display: Display) -> None:
    while True:
        _show(stream.poll(time.time()), display)
        time.sleep(POLL_S)
