"""Compiles the busiest modules with mypyc where GRIDCTL_COMPILE=1 (`make wheel`); else gridctl is plain Python.

All else about the package, and which modules these are, stands in setup.cfg.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.extension import Extension

#: What all compiled modules share is in one library, this one.
LIBRARY = "services.native"
#: The commands for which something is compiled. A build begins with others, and to translate the modules takes 15 seconds.
COMMANDS = {"build", "build_ext", "bdist_wheel"}


def compiled() -> list[Extension]:
    """The extensions of the modules that setup.cfg names; none unless it is asked for."""
    if os.environ.get("GRIDCTL_COMPILE", "0") == "0" or not COMMANDS & set(sys.argv):
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


class Together(build_ext):
    """Runs as many C compilers as there are cores: the library is one extension of many files."""

    def build_extensions(self) -> None:
        """See `build_ext`."""
        one_by_one = self.compiler.compile
        self.compiler.compile = partial(_together, one_by_one)
        super().build_extensions()


def _together(compile_: Any, sources: Sequence[str], *positional: Any, **named: Any) -> list[str]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [
            file for files in pool.map(lambda each: compile_([each], *positional, **named), sources) for file in files
        ]


setup(ext_modules=compiled(), cmdclass={"build_ext": Together})
