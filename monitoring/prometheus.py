"""What a Prometheus that watches a grid is given: its configuration and its rules. Pure; must not know who runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from monitoring import rules

#: Labels of the targets file that tell a balancer where and how to place; in Prometheus they would only split series.
BALANCERS_OWN = ("capacity_kw", "draining", "external", "load_metric", "max_sessions", "scheme", "url")
#: More series than this from one target are a mistake of somebody else's page.
SAMPLE_LIMIT = 100_000
#: In a pattern of Go's, each of these stands for more than itself …
_SPECIAL = re.compile(r"[\\\[\]?*]")
#: … and this for an asterisk only, without being one: Prometheus refuses a folder behind an asterisk, escaped or not.
_ASTERISK = "[^\x01-)+-\U0010ffff]"

_HEAD = """\
# Written by gridctl. Prometheus reads it: prometheus --config.file=prometheus.yml --enable-feature=exemplar-storage
# The targets bring their own labels: job (charge-request, balancer, substation), cluster, and substation_id or worker.
"""


@dataclass(frozen=True, slots=True)
class Setup:
    """How a Prometheus finds a grid. Intervals are wall seconds.

    `discovery` are Prometheus' own service discovery sections, e.g. `targets_file("targets.json")`. `alertmanagers` are
    `host:port`; `token_file` holds the bearer token that the services demand of whoever scrapes, if they do: it is sent
    to no external substation. `folder` is where all files will be, an absolute path, if that is known.
    """

    discovery: Mapping[str, Sequence[Mapping[str, Any]]]
    scrape_interval_s: float = 5.0
    poll_interval_s: float = 5.0
    alertmanagers: tuple[str, ...] = ()
    token_file: str | None = None
    folder: str | None = None


def targets_file(path: str) -> dict[str, list[dict[str, Any]]]:
    """Discovery by a `file_sd` document, which is read again as soon as it changes.

    Within 5 s where `path` had to be escaped: Prometheus takes the folder's name literally where it waits for changes.
    """
    pattern = literal(path)
    return {"file_sd_configs": [{"files": [pattern], "refresh_interval": "1m" if pattern == path else "5s"}]}


def literal(path: str) -> str:
    """The pattern that only `path` matches, where Prometheus takes patterns (Go's `filepath.Match`)."""
    return _SPECIAL.sub(lambda found: _ASTERISK if found[0] == "*" else f"\\{found[0]}", path)


def beside(folder: str | None, name: str) -> str:
    """How a `prometheus.yml` in `folder` calls its neighbour `name`: so that all can be moved together, if possible.

    Prometheus puts its own folder before it, and takes all that for a pattern: then the whole path is needed.
    """
    return name if folder is None or literal(folder) == folder else f"{folder}/{name}"


def files(setup: Setup) -> Iterator[tuple[str, str]]:
    """Every file that Prometheus needs: its relative path, with slashes, and its content."""
    yield "prometheus.yml", config(setup)
    for name, document in rules.groups(setup.poll_interval_s):
        yield f"rules/{name}.yml", _yaml(document)


def config(setup: Setup) -> str:
    """`prometheus.yml`; the rules are in `rules/` beside it."""
    interval = duration(setup.scrape_interval_s)
    document: dict[str, Any] = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": duration(min(setup.scrape_interval_s, 10.0)),
            "evaluation_interval": interval,
        },
        "rule_files": [f"{literal(beside(setup.folder, 'rules'))}/*.yml"],
    }
    if setup.alertmanagers:
        document["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [*setup.alertmanagers]}]}]}
    document["scrape_configs"] = list(_scraping(setup))
    return _HEAD + _yaml(document)


def _scraping(setup: Setup) -> Iterator[dict[str, Any]]:
    """One job; two where there is a token, which is nothing that anybody outside should be told.

    The label `job` of what is scraped is the target's own in either.
    """
    if setup.token_file is None:
        yield _job("gridctl", setup)
        return
    bearer = {"type": "Bearer", "credentials_file": setup.token_file}  # Prometheus 2.42 has no default for the type
    yield _job("gridctl", setup, "drop", {"authorization": bearer, "follow_redirects": False})
    yield _job("gridctl-external", setup, "keep")


def _job(
    name: str, setup: Setup, externals: str | None = None, access: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`externals`: what becomes of external substations, `drop` or `keep` (and nobody else); None for everybody."""
    only = [] if externals is None else [{"action": externals, "source_labels": ["external"], "regex": "true"}]
    return {
        "job_name": name,
        **(access or {}),
        "sample_limit": SAMPLE_LIMIT,
        **{kind: [dict(each) for each in sections] for kind, sections in setup.discovery.items()},
        "relabel_configs": [*only, {"action": "labeldrop", "regex": "|".join(BALANCERS_OWN)}],
    }


def duration(seconds: float) -> str:
    """`seconds` as Prometheus writes it: `5s`, `500ms`; never less than a millisecond."""
    milliseconds = max(1, round(seconds * 1000))
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


class _Dumper(yaml.SafeDumper):
    """Keeps what was not given twice free of anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # yaml's own signature
        return True


def _yaml(document: Mapping[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
