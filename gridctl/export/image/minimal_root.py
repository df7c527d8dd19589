"""Gathers Python, an environment and the libraries that both need into a root file system of their own.

Runs while an image is built (`python3 minimal_root.py /opt/gridctl /root`), so that the image holds no shell, no package
manager and no pip. Knows Debian's layout and the official Python images'; imports nothing but the standard library.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

#: Parts of the standard library that no service uses: tests, installers, windows, old tools.
UNUSED = (
    *("test", "tests", "ensurepip", "venv", "distutils", "lib2to3", "idlelib", "pydoc_data", "tkinter", "turtledemo"),
    *("site-packages", "dist-packages", "__pycache__"),
)
#: Names are looked up in files, then by DNS.
NSSWITCH = "hosts: files dns\n"
#: The loader's own settings, and whom to trust.
SETTINGS = ("/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/openssl.cnf")
#: A line of ldd: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or the loader alone.
_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)


def gather(environment: Path, root: Path) -> None:
    """Fill `root` with the interpreter that runs this, the virtual environment and the libraries of both."""
    interpreter = Path(sys.executable).resolve()
    standard = sorted({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")})
    for folder in standard:
        _copy_folder(folder, root, UNUSED)
    _copy_folder(environment, root, ("__pycache__",))
    _place_interpreter(interpreter, _inside(root, environment / "bin/python3"))
    binaries = [path for folder in (*standard, environment) for path in _inside(root, folder).rglob("*.so*")]
    for library in sorted(libraries([interpreter, *binaries])):
        if not library.is_relative_to(root):  # some bring their own libraries along
            _copy_file(library, root)
    for setting in filter(Path.exists, map(Path, SETTINGS)):
        (_copy_folder if setting.is_dir() else _copy_file)(setting, root)
    (root / "etc/nsswitch.conf").write_text(NSSWITCH)
    subprocess.run(["ldconfig", "-r", str(root)], check=True)  # noqa: S603, S607
    _compile(root, [*standard, environment])


def _place_interpreter(interpreter: Path, place: Path) -> None:
    """There and nowhere else: `pyvenv.cfg` leads it to its library. No link, whose end a builder's cache may overlook."""
    place.unlink()
    shutil.copy2(interpreter, place)


def libraries(binaries: Iterable[Path]) -> set[Path]:
    """Every shared library that the loader would take for `binaries`, the loader itself among them."""
    command = ["ldd", *sorted(map(str, binaries))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return {Path(found) for found in _LIBRARY.findall(done.stdout)}


def _inside(root: Path, path: Path) -> Path:
    return root / str(path).lstrip("/")


def _copy_file(path: Path, root: Path) -> None:
    """The same path below `root`, where it is a file even if it was a link."""
    target = _inside(root, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target)


def _copy_folder(path: Path, root: Path, without: Iterable[str] = ()) -> None:
    ignored = shutil.ignore_patterns(*without)
    shutil.copytree(path, _inside(root, path), symlinks=True, ignore=ignored, dirs_exist_ok=True)


def _compile(root: Path, folders: Iterable[Path]) -> None:
    """Compiled once, here: the root is read-only later. Never compared with the source, whose date says nothing."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for folder in folders:
        compileall.compile_dir(
            _inside(root, folder), quiet=2, stripdir=str(root), prependdir="/", invalidation_mode=mode
        )


if __name__ == "__main__":
    os.umask(0o022)
    gather(Path(sys.argv[1]), Path(sys.argv[2]))
