"""Compiles the busiest modules with mypyc where GRIDCTL_COMPILE=1 (`make wheel`); else gridctl is plain Python.

All else about the package, and which modules these are, stands in setup.cfg.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from setuptools import setup
from setuptools.extension import Extension

#: What all compiled modules share is in one library, this one.
LIBRARY = "services.native"


def compiled() -> list[Extension]:
    """The extensions of the modules that setup.cfg names; none unless it is asked for."""
    if os.environ.get("GRIDCTL_COMPILE", "0") == "0":
        return []
    from mypyc.build import mypycify  # noqa: PLC0415  only who compiles has it

    config = configparser.ConfigParser()
    config.read(Path(__file__).with_name("setup.cfg"))
    files = [name.replace(".", "/") + ".py" for name in config["compiled"]["modules"].split()]
    options = ["--config-file", "setup.cfg", *files]
    found = list(mypycify(options, opt_level="2", debug_level="0", multi_file=True, group_name=LIBRARY))
    for extension in found:
        extension.include_dirs.append("build/services")  # where the library's own headers are put, by its dotted name
    return found


setup(ext_modules=compiled())
