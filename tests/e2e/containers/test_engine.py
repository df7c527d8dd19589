"""What may skip the tests of this folder where nothing may."""

from __future__ import annotations

import os

import pytest

from tests.conftest import ALLOWED_SKIP
from tests.e2e.containers.engine import TOOL, bring_up


def test_only_a_missing_tool_may_skip_where_nothing_else_may() -> None:
    """In CI: whoever is not root fails there, for the tool is at hand and nothing was tested."""
    there = TOOL.exists()
    os.seteuid(10001 if os.geteuid() == 0 else os.geteuid())
    try:
        with pytest.raises(pytest.skip.Exception) as skipped:
            bring_up()
    finally:
        os.seteuid(os.getuid())
    assert str(skipped.value).startswith(ALLOWED_SKIP) != there
