"""What images install beside gridctl: exact versions with hashes, as `make lock` found them; must not ask an index."""

from __future__ import annotations

from importlib.resources import files


def pins() -> str:
    """A requirements file for `pip install --require-hashes`, for Python 3.11 and newer on any platform."""
    return files("gridctl.export").joinpath("requirements.txt").read_text(encoding="utf-8")
