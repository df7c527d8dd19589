"""Where a cluster keeps its state on disk; must not know what is written there. Every verb imports it: nothing heavy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.errors import GridError

#: Unix socket paths are limited to 108 bytes on Linux and 104 on macOS, with the closing NUL.
SOCKET_PATH_LIMIT = 100
#: What to do where nothing can be written.
FREE_SPACE = "free some space, or set GRIDCTL_STATE_DIR to a folder that can be written"


def state_root(environ: Mapping[str, str] = os.environ) -> Path:
    """`$GRIDCTL_STATE_DIR`, else `$XDG_STATE_HOME/gridctl`, else `~/.local/state/gridctl`."""
    if given := environ.get("GRIDCTL_STATE_DIR"):
        return Path(given).expanduser().absolute()
    if base := environ.get("XDG_STATE_HOME"):
        return Path(base) / "gridctl"
    return Path.home() / ".local" / "state" / "gridctl"


@dataclass(frozen=True, slots=True)
class ClusterPaths:
    """The files of one cluster: `root` is the state root, `name` the cluster's name."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """The cluster's own folder, mode 0700."""
        return self.root / self.name

    @property
    def record(self) -> Path:
        """`cluster.json`: who runs this cluster, from which source, on which ports."""
        return self.folder / "cluster.json"

    @property
    def roster(self) -> Path:
        """`processes.json`: PID and identity of every process of this cluster, for whoever starts it after a crash."""
        return self.folder / "processes.json"

    @property
    def lock(self) -> Path:
        """Held (flock) by the supervisor as long as it lives; whoever can take it found a dead cluster."""
        return self.folder / "supervisor.lock"

    @property
    def logs(self) -> Path:
        """A log file a process: `<name>.log`, rotated to `<name>.log.1` … `.3`; the supervisor's is `supervisor.log`."""
        return self.folder / "logs"

    def log_file(self, name: str) -> Path:
        """Where process `name` logs."""
        return self.logs / f"{name}.log"

    @property
    def data(self) -> Path:
        """The journals, `<name>.db`: what a restart resumes from; only `down -v` deletes them."""
        return self.folder / "data"

    @property
    def deratings(self) -> Path:
        """`deratings.json`: limits below the topology's, until they are lifted or the cluster goes down in order."""
        return self.folder / "deratings.json"

    @property
    def events(self) -> Path:
        """`events.jsonl`: every change of state, one JSON object a line."""
        return self.folder / "events.jsonl"

    @property
    def targets(self) -> Path:
        """The Prometheus `file_sd` file through which balancer and Prometheus find the services."""
        return self.prometheus / "targets.json"

    @property
    def prometheus(self) -> Path:
        """What the cluster's own Prometheus reads, and its `data`."""
        return self.folder / "prometheus"

    @property
    def grafana(self) -> Path:
        """What the cluster's own Grafana is provisioned with, and its `data`."""
        return self.folder / "grafana"

    @property
    def control_socket(self) -> Path:
        """The control API's Unix socket; hashed into the runtime or temporary folder where the path is too long."""
        plain = self.folder / "control.sock"
        if len(os.fsencode(plain)) <= SOCKET_PATH_LIMIT:
            return plain
        import hashlib  # noqa: PLC0415 - few paths are that long
        import tempfile  # noqa: PLC0415

        digest = hashlib.sha256(os.fsencode(plain)).hexdigest()[:16]
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        return Path(base) / f"gridctl-{os.getuid()}-{digest}" / "control.sock"

    def read_record(self) -> dict[str, Any] | None:
        """The record, or None where there is none or it cannot be read as a JSON object."""
        try:
            record = json.loads(self.record.read_text())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None


def no_folder(paths: ClusterPaths, why: str) -> GridError:
    """The error that says that the cluster's files cannot be written."""
    return GridError(f"cannot keep state in {paths.folder}: {why}", FREE_SPACE)


def cluster_names(root: Path) -> list[str]:
    """Every cluster that has a folder with a record under `root`, running or not, sorted."""
    try:
        return sorted(entry.name for entry in root.iterdir() if (entry / "cluster.json").is_file())
    except OSError:
        return []
