"""The one place where chaos asks for the audit. Must not know how a promise is proven."""

from __future__ import annotations

from collections.abc import Sequence

from gridctl import audit
from gridctl.chaos.load import Told
from gridctl.state import ClusterPaths


def verdict(paths: ClusterPaths, placed: Sequence[Told]) -> audit.Verdict:
    """The audit's verdict on the cluster, which must account for everything that clients were told. Blocks."""
    return audit.run(paths, [audit.Answered(*told) for told in placed])
