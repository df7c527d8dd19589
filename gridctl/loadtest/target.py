"""What is loaded: a running cluster and the records of its substations, or any server with POST /charge.

Must not know pacing, figures or HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.errors import GridError
from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from gridctl.loadtest.placement import Limits
from gridctl.state import ClusterPaths

#: Why nobody could be asked: it left a cluster that runs here; or no cluster is known, only a server that named it.
_GONE = "it was gone before its records were read"
_UNKNOWN = "its records cannot be read from here: the target is a URL, and its substations' addresses are not known"


@dataclass(frozen=True, slots=True)
class Target:
    """Where EVs are sent: `url` is the whole one, with its path; `time_scale` grid seconds per wall second.

    `substations` are those that keep records (name → URL), `limits` those of every substation that tells them.
    `names` are all substations, external ones too; empty for a server that is no cluster. `balancers` are name → URL,
    `paths` says where the cluster writes things down, None where that is not known.
    """

    url: str
    time_scale: float
    cluster: str = ""
    names: tuple[str, ...] = ()
    substations: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    balancers: Mapping[str, str] = field(default_factory=dict)
    paths: ClusterPaths | None = None


def from_url(url: str, time_scale: float) -> Target:
    """A server at `url`, of which nothing is known but POST /charge; a URL with a path of its own is taken as it is."""
    host_end = url.find("/", url.find("://") + 3)
    bare = host_end < 0 or url[host_end:] == "/"
    return Target(url.rstrip("/") + "/charge" if bare else url, time_scale)


def from_snapshot(snapshot: Mapping[str, Any]) -> Target:
    """The cluster that a supervisor's snapshot describes; GridError when its request service has no address."""
    processes = snapshot["processes"]
    urls = [entry["url"] for entry in processes if entry["role"] == CHARGE_REQUEST and entry["url"]]
    cluster = snapshot["cluster"]
    if not urls:
        raise GridError(f"cluster {cluster['name']!r} has no charge-request service", "see gridctl ps")
    substations = snapshot["substations"]
    return Target(
        url=urls[0].rstrip("/") + "/charge",
        time_scale=float(cluster["time_scale"]),
        cluster=cluster["name"],
        names=tuple(entry["name"] for entry in substations),
        substations={entry["name"]: entry["url"] for entry in processes if entry["role"] == SUBSTATION},
        limits={entry["name"]: _limits(entry) for entry in substations if entry.get("max_sessions")},
        balancers={entry["name"]: entry["url"] for entry in processes if entry["role"] == BALANCER and entry["url"]},
        paths=_paths(cluster.get("state_dir")),
    )


def _paths(folder: str | None) -> ClusterPaths | None:
    return None if folder is None else ClusterPaths(Path(folder).parent, Path(folder).name)


def merged(before: Target, after: Target) -> Target:
    """The target of a whole run: also what was there only at its beginning, or only at its end."""
    return Target(
        url=before.url,
        time_scale=before.time_scale,
        cluster=before.cluster,
        names=tuple(dict.fromkeys((*before.names, *after.names))),
        substations={**before.substations, **after.substations},
        limits={**before.limits, **after.limits},
        balancers={**before.balancers, **after.balancers},
        paths=before.paths,
    )


def _limits(entry: Mapping[str, Any]) -> Limits:
    kw = entry.get("capacity_kw")
    return Limits(int(entry["max_sessions"]), None if kw is None else round(kw * 1000))


def unread(target: Target, accepted: Mapping[str, int]) -> dict[str, str]:
    """Who took sessions and cannot be asked for records, and why; by `accepted`, as in `read`."""
    why = _GONE if target.names else _UNKNOWN
    return {name: why for name in accepted if name and name not in target.names}
