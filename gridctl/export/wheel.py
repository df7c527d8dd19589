"""A wheel of the gridctl that runs, made from its installed files; must not know what it is packed for.

The same code gives the same bytes, on every machine and whether the installation is editable or not: files are sorted,
stored without compression (zlib's output differs between its makes), and dated alike.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

import gridctl
from config.errors import GridError

#: The earliest that a ZIP file can tell.
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = (stat.S_IFREG | 0o644) << 16
_UNIX = 3
#: What of the installed metadata an installation needs; the README in it would change the bytes with every edit of it.
_HEADERS = ("Name", "Version", "Summary", "Requires-Python")
#: Where installers of different age keep the licence.
_LICENCES = ("licenses/LICENSE", "LICENSE")


def wheel(distribution: Distribution | None = None) -> tuple[str, bytes]:
    """The wheel's file name and content. GridError where installed files are missing or cannot be told."""
    found = distribution or _installed()
    version = found.version
    info = f"gridctl-{version}.dist-info"
    packages = (found.read_text("top_level.txt") or "").split()
    files = dict(sorted(_package_files(found, packages)))
    files |= {
        f"{info}/METADATA": _metadata(found),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: gridctl\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": _entry_points(found),
        f"{info}/top_level.txt": "".join(f"{package}\n" for package in sorted(packages)).encode(),
        **{f"{info}/licenses/LICENSE": text.encode() for text in _licence(found)},
    }
    return f"gridctl-{version}-py3-none-any.whl", _zipped(files | {f"{info}/RECORD": _record(files, info)})


def _installed() -> Distribution:
    """That of the running code. It has a record: a source tree's `egg-info`, where it is on the path, may be old."""
    running = Path(gridctl.__file__).resolve()
    for found in importlib.metadata.distributions(name="gridctl"):
        own = Path(str(found.locate_file("gridctl/__init__.py")))  # an editable one has no files there
        if found.read_text("RECORD") is not None and (own.resolve() == running or not own.exists()):
            return found
    raise GridError("the gridctl that runs here is not installed, so it cannot be packed", "install it with pip")


def _package_files(found: Distribution, packages: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Every file of the installed packages, by its path in the wheel."""
    if not packages:
        raise GridError("the installed gridctl does not say which packages it has", "install it with pip")
    listed = [path for path in _recorded(found) if path.parts[0] in packages and _belongs(path)]
    if listed:  # an ordinary installation: other packages may have put files into folders of the same name
        yield from ((path.as_posix(), _read(Path(str(found.locate_file(path))))) for path in listed)
        return
    for package in packages:
        folder = _folder(package)
        for path in sorted(folder.rglob("*")):
            inside = PurePosixPath(package, path.relative_to(folder).as_posix())
            if path.is_file() and _belongs(inside):
                yield str(inside), _read(path)


def _recorded(found: Distribution) -> list[PurePosixPath]:
    """What was installed, there or not: `found.files` leaves out what is missing, since Python 3.12."""
    return [PurePosixPath(row[0]) for row in csv.reader((found.read_text("RECORD") or "").splitlines()) if row]


def _belongs(path: PurePosixPath) -> bool:
    """Whether it is packed: not what was compiled for this machine, whose source lies beside it."""
    return "__pycache__" not in path.parts and not path.name.startswith(".") and not path.name.endswith(("~", ".so"))


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if len(places) != 1:
        raise GridError(f"the package {package!r} of gridctl cannot be found", "install gridctl again")
    return Path(places[0])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GridError(f"a file of the installed gridctl is missing: {path}", "install gridctl again") from error


def _metadata(found: Distribution) -> bytes:
    headers = [("Metadata-Version", "2.1")]
    headers += [(name, value) for name in _HEADERS if (value := found.metadata[name])]
    headers += [("Requires-Dist", each) for each in sorted(found.requires or ()) if "extra ==" not in each]
    return "".join(f"{name}: {value}\n" for name, value in headers).encode()


def _licence(found: Distribution) -> list[str]:
    return [text for place in _LICENCES if (text := found.read_text(place))][:1]


def _entry_points(found: Distribution) -> bytes:
    groups: dict[str, list[str]] = {}
    for point in found.entry_points:
        groups.setdefault(point.group, []).append(f"{point.name} = {point.value}\n")
    return "\n".join(f"[{group}]\n{''.join(sorted(groups[group]))}" for group in sorted(groups)).encode()


def _record(files: Mapping[str, bytes], info: str) -> bytes:
    """https://packaging.python.org/en/latest/specifications/recording-installed-packages/"""
    rows = [f"{_quoted(path)},sha256={_digest(content)},{len(content)}\n" for path, content in files.items()]
    return "".join([*rows, f"{info}/RECORD,,\n"]).encode()


def _quoted(path: str) -> str:
    return f'"{path}"' if "," in path else path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, _DATE)
            entry.external_attr = _MODE
            entry.create_system = _UNIX
            archive.writestr(entry, content)
    return stream.getvalue()
