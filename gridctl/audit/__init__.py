"""Proves or refutes, from what a cluster wrote down, that it kept its promises. Must not change anything."""

from __future__ import annotations

from collections.abc import Sequence

from gridctl.audit.verdict import Answered, Overlap, Refused, Verdict, Violation
from gridctl.state import ClusterPaths

__all__ = ["Answered", "Overlap", "Refused", "Verdict", "Violation", "run"]


def run(paths: ClusterPaths, answered: Sequence[Answered] = (), refused: Sequence[Refused] = ()) -> Verdict:
    """The verdict on the cluster of `paths`, running or stopped, by its journals, logs and events.

    `answered` and `refused` are what clients were told, beside what the balancers wrote down themselves.
    """
    from gridctl.audit import auditor, records  # noqa: PLC0415 - SQLite and pydantic: not for who only names a verdict

    return auditor.judge(records.gather(paths, answered, refused))
