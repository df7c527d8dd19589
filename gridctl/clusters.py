"""Which cluster is meant, and which are running; must not talk to one beyond asking whether it is there."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from config.errors import NotRunning
from config.lookup import NAME_VARIABLE, cluster_name, find_topology_file
from gridctl.state import ClusterPaths, cluster_names, state_root

#: A Unix socket's connect is answered by the kernel; only a full backlog makes it wait.
CONNECT_TIMEOUT_S = 1.0
#: What a supervisor needs at most from its last word to its end (wall seconds).
END_S = 5.0
#: How many other clusters a hint names.
_NAMED = 8


def resolve(
    name: str | None,
    file: Path | None,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> ClusterPaths:
    """The cluster that is meant: `name` (`--name`), else `$GRIDCTL_NAME`, else by the topology file, else `grid`.

    The topology is `file` (`--file`), else `$GRIDCTL_FILE`, else `gridctl.yaml` here or above. It need not be running.
    Invalid for a name that is none, or a file that is not there.
    """
    root = state_root(environ)
    if file is None and (name is not None or environ.get(NAME_VARIABLE)):
        return ClusterPaths(root, cluster_name(name, environ, None))
    found = find_topology_file(file, environ, cwd or Path.cwd())
    return ClusterPaths(root, cluster_name(name, environ, found))


def running(paths: ClusterPaths) -> bool:
    """Whether the cluster's supervisor lives: its socket takes connections, or it holds its lock.

    Never judged by a PID, which may have gone to somebody else.
    """
    return _accepts(paths.control_socket) or _locked(paths.lock)


def running_clusters(root: Path) -> list[ClusterPaths]:
    """The clusters under the state root `root` whose supervisor lives, by name."""
    candidates = (ClusterPaths(root, name) for name in cluster_names(root))
    return [paths for paths in candidates if running(paths)]


def await_end(paths: ClusterPaths) -> None:
    """Return once the supervisor of a cluster that went down is gone, and with it its lock and sockets."""
    give_up = time.monotonic() + END_S
    while running(paths) and time.monotonic() < give_up:
        time.sleep(0.005)


def not_running(paths: ClusterPaths) -> NotRunning:
    """The error that says that this cluster is not running, with the hint that fits which others are."""
    others = [other.name for other in running_clusters(paths.root) if other.name != paths.name]
    if not others:
        hint = "start one: gridctl up -d"
    elif len(others) == 1:
        hint = f"did you mean --name {others[0]}? it is running; or start this one: gridctl up -d --name {paths.name}"
    else:
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        hint = f"running are {', '.join(others[:_NAMED])}{more}: choose one with --name (gridctl ls shows them)"
    return NotRunning(f"no cluster {paths.name!r} is running", hint)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # shared, so that two who ask at once do not take each other for the supervisor
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
