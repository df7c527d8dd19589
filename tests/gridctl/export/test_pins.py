"""What the images install: pinned, hashed, and what setup.cfg asks for."""

from __future__ import annotations

import configparser
import re

from packaging.requirements import Requirement
from packaging.version import Version

from gridctl.export.pins import pins
from tests.conftest import ROOT

ENTRY = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?P<marker> ; .+?)?(?P<hashes>( \\\n    --hash=sha256:[0-9a-f]{64})+)$",
    re.MULTILINE,
)


#: No service needs it, and it has no wheel for arm64.
LOAD_TESTERS = "hdrhistogram"


def _pinned() -> dict[str, Version]:
    return {found["name"]: Version(found["version"]) for found in ENTRY.finditer(pins())}


def _wanted() -> list[Requirement]:
    setup = configparser.ConfigParser(comment_prefixes=("#",), inline_comment_prefixes=None)
    setup.read(ROOT / "setup.cfg")
    return [Requirement(line) for line in setup["options"]["install_requires"].splitlines() if line.strip()]


def test_every_line_is_an_exact_version_with_hashes() -> None:
    lines = [line for line in pins().splitlines() if line and not line.startswith((" ", "#"))]
    assert len(lines) == len(_pinned()) > 15


def test_it_is_what_setup_cfg_asks_for() -> None:
    pinned = _pinned()
    for wanted in _wanted():
        name = wanted.name.lower().replace("_", "-")
        if name == LOAD_TESTERS:
            continue
        assert name in pinned, f"{name} is not pinned: make lock"
        assert pinned[name] in wanted.specifier, f"{name}: make lock"


def test_it_names_no_index_and_not_gridctl() -> None:
    assert not {"gridctl", LOAD_TESTERS, "setuptools", "pip"} & _pinned().keys()
    assert "index" not in pins()
    assert "://" not in pins()
