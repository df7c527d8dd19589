"""The one grid that all tests of this folder look at through Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.monitoring.watched import Watched, watched


@pytest.fixture(scope="package")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """What a real Prometheus saw of a real grid: load, refusals, a queue, a crash, faults and silence."""
    folder: Path = tmp_path_factory.mktemp("watched")
    with watched(folder) as found:
        yield found
