"""Which topology file is meant, and what the cluster is called; must not know what a topology holds beyond its `name`.

Every verb needs this, so nothing heavy is imported: pydantic never, PyYAML only where a file's `name` decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from config.document import compose, read_text
from config.errors import Fault, Invalid
from config.names import NAME_RULE, is_name

FILE_VARIABLE = "GRIDCTL_FILE"
NAME_VARIABLE = "GRIDCTL_NAME"
#: Looked for in this order, in the working directory and then in each folder above it.
FILE_NAMES = ("gridctl.yaml", "gridctl.yml")
#: The cluster's name where nothing says another.
DEFAULT_NAME = "grid"


def find_topology_file(given: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """`given`, else `$GRIDCTL_FILE`, else the nearest `gridctl.yaml` or `gridctl.yml` in `cwd` or above.

    None means: the built-in default. The answer is absolute. Invalid when a named file is missing or no file; a
    variable that is set but empty counts as unset.
    """
    if given is not None:
        return _named(given, str(given), cwd)
    if named := environ.get(FILE_VARIABLE):
        return _named(Path(named), f"${FILE_VARIABLE}", cwd)
    folders = (cwd, *cwd.parents)
    candidates = (folder / name for folder in folders for name in FILE_NAMES)
    return next((path for path in candidates if _is_file(path)), None)


def _named(path: Path, where: str, cwd: Path) -> Path:
    absolute = cwd / path.expanduser() if str(path).startswith("~") else cwd / path
    if _is_file(absolute):
        return absolute
    found = "a folder" if _is_folder(absolute) else "no such file" if not _exists(absolute) else "no regular file"
    named = found if where == str(path) else f"{path}: {found}"
    raise _invalid(where, "(file)", named, "an existing topology file; `gridctl topology init FILE` writes one")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def cluster_name(given: str | None, environ: Mapping[str, str], file: Path | None) -> str:
    """`given` (`--name`), else `$GRIDCTL_NAME`, else `file`'s own `name`, else its folder's name, else `grid`.

    Invalid when the flag or the variable holds no legal name. A file that is broken, or whose `name` is, is passed
    over here: to stop a running cluster its topology need not be right. A folder's name is made legal.
    """
    for where, value in (("--name", given), (f"${NAME_VARIABLE}", environ.get(NAME_VARIABLE) or None)):
        if value is not None:
            return _checked(value, where)
    if file is None:
        return DEFAULT_NAME
    return _declared_name(file) or _folder_name(file)


def _checked(name: str, where: str) -> str:
    if is_name(name):
        return name
    raise _invalid(where, "name", repr(name), NAME_RULE)


def _declared_name(file: Path) -> str | None:
    try:
        root = compose(read_text(file), str(file))
    except Invalid:
        return None
    if root is None or not isinstance(root.value, list):
        return None
    for key, value in (pair for pair in root.value if isinstance(pair, tuple)):
        legal = value.tag == "tag:yaml.org,2002:str" and isinstance(value.value, str) and is_name(value.value)
        if key.value == "name" and legal:
            return str(value.value)
    return None


def _folder_name(file: Path) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", file.absolute().parent.name).lstrip(".-")[:64]
    return plain if is_name(plain) else DEFAULT_NAME


def _invalid(where: str, key: str, found: str, allowed: str) -> Invalid:
    return Invalid(f"{where} cannot be used", faults=(Fault(where, 0, key, found, allowed),))
