"""Writes rendered files into a folder, and never over anybody else's; must not know what is rendered, or for whom.

A manifest in the folder says what was written, and by which kind of export: a folder has one. What the manifest does not
name, or what was edited since, is not ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from config.errors import GridError, NotReady

#: The manifest: the kind of export that wrote here, and every file of it, with the SHA-256 of its content.
MANIFEST = ".gridctl-export.json"
_FORMAT = 1
#: What stands where a file should and can never be replaced by one.
_FOLDER, _LINK_ABOVE = "a folder is there", "below a link or a file"
#: How many files a message names.
_NAMED = 10

#: A rendered file: its path below the folder, with `/` between, and its content (text is UTF-8).
File = tuple[str, bytes | str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an export came to, in paths below the folder. `kept`: of an earlier export, edited since and left alone."""

    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One file that is not as it would be written now: `missing`, `differs`, or `not rendered any more`."""

    path: str
    how: str


@dataclass(slots=True)
class _Plan:
    """What is to be done, found by looking only.

    `conflicts` are path → why it is not ours to write; `ours` the digests on disk that are known to be.
    """

    writes: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removals: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)
    ours: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Manifest:
    """Path → the digests that are ours (one, or two where an export was cut short), and the `kind` that wrote them."""

    files: Mapping[str, frozenset[str]] = field(default_factory=dict)
    kind: str = ""

    def foreign(self, kind: str) -> bool:
        """Whether there is something that another kind of export wrote, or one that did not say which it is."""
        return bool(self.files) and self.kind != kind

    @property
    def writer(self) -> str:
        """Who wrote the folder, for a message."""
        return f"`{self.kind}`" if self.kind else "an earlier gridctl"


def write(folder: Path, files: Iterable[File], *, kind: str, force: bool = False) -> Outcome:
    """Make `folder` hold `files`, all readable for everybody, and remove what an earlier export left there unchanged.

    `kind` is the command that exports, as a user knows it. GridError where another kind wrote the folder, for its files
    would be removed, unless `force`.
    A file that was not written by an export, or was edited since, is a conflict: GridError names all of them and nothing
    is written, unless `force`. Each file is replaced as a whole; an export that was cut short can be repeated.
    GridError where the disk refuses. ValueError for a path that leaves the folder or is rendered twice.
    """
    contents = _contents(files)
    try:
        manifest = _manifest(folder, force)
        if manifest.foreign(kind) and not force:
            hint = "name another folder with -o; --force removes what was written there"
            raise GridError(f"{folder} was written by {manifest.writer}, and this is `{kind}`", hint)
        plan = _plan(folder, contents, manifest.files)
        _refuse(folder, plan, force)
        _carry_out(folder, contents, plan, kind)
    except OSError as error:
        where = error.filename or folder
        raise GridError(f"{where} cannot be written: {error.strerror}", "name another folder with -o") from error
    return Outcome(tuple(plan.writes), tuple(plan.unchanged), tuple(plan.removals), tuple(plan.kept))


def differences(folder: Path, files: Iterable[File]) -> tuple[Difference, ...]:
    """How `folder` differs from what would be written now, by path; nothing is touched. GridError if it is unreadable."""
    contents = _contents(files)
    try:
        manifest = _manifest(folder, force=False)
        found = {path: _found(folder, path) for path in contents}
        stale = [path for path in manifest.files if path not in contents and _found(folder, path) is not None]
    except OSError as error:
        raise GridError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    changed = [
        Difference(path, "missing" if found[path] is None else "differs")
        for path, content in contents.items()
        if found[path] != _digest(content)
    ]
    return tuple(sorted([*changed, *(Difference(path, "not rendered any more") for path in stale)], key=_by_path))


def require_current(folder: Path, files: Iterable[File], *, kind: str) -> None:
    """NotReady, which names every file that differs, unless `folder` holds what would be written now (`--check`).

    NotReady too, and says so, where another kind of export wrote the folder.
    """
    found, manifest = differences(folder, files), _manifest(folder, force=False)
    if manifest.foreign(kind):
        raise NotReady(
            f"{folder} was written by {manifest.writer}, and this is `{kind}`", "name another folder with -o"
        )
    if found:
        listed = listing(f"{each.path} ({each.how})" for each in found)
        raise NotReady(f"{folder} is not current: {listed}", "export again, without --check")


def _by_path(difference: Difference) -> str:
    return difference.path


def _contents(files: Iterable[File]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for path, content in files:
        if not _is_inside(path) or path == MANIFEST:
            raise ValueError(f"an exported file must lie below its folder: {path!r}")
        if path in contents:
            raise ValueError(f"rendered twice: {path!r}")
        contents[path] = content.encode() if isinstance(content, str) else content
    folders = {str(parent) for path in contents for parent in PurePosixPath(path).parents}
    if both := folders & contents.keys():
        raise ValueError(f"rendered as a file and as a folder: {sorted(both)}")
    return dict(sorted(contents.items()))


def _is_inside(path: str) -> bool:
    plain = PurePosixPath(path)
    return bool(path) and str(plain) == path and path != "." and not ({"..", "/"} & {*plain.parts}) and "\0" not in path


def _manifest(folder: Path, force: bool) -> _Manifest:
    file = folder / MANIFEST
    try:
        document = json.loads(file.read_bytes())
        return _Manifest(_digests(document), str(document.get("export", "")))
    except FileNotFoundError:
        return _Manifest()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if force:
            return _Manifest()
        raise GridError(f"{file} is damaged: {error}", "--force writes everything anew") from error


def _digests(document: Mapping[str, Mapping[str, str]]) -> dict[str, frozenset[str]]:
    known: dict[str, frozenset[str]] = {}
    for part in (document["files"], document.get("unfinished", {})):
        for path, digest in part.items():
            if not _is_inside(path):
                raise ValueError(f"{path!r} leaves the folder")
            known[path] = known.get(path, frozenset()) | {digest}
    return known


def _plan(folder: Path, contents: Mapping[str, bytes], manifest: Mapping[str, frozenset[str]]) -> _Plan:
    plan = _Plan()
    for path in sorted(contents.keys() | manifest.keys()):
        found, known = _found(folder, path), manifest.get(path, frozenset())
        wanted = _digest(contents[path]) if path in contents else None
        if found is not None and (found in known or found == wanted):
            plan.ours[path] = found
        if wanted is None:
            _sort_stale(plan, path, found)
        elif found == wanted:
            plan.unchanged.append(path)
        else:
            plan.writes.append(path)
            if found is not None and path not in plan.ours:
                plan.conflicts[path] = _why(found, bool(known))
    return plan


def _sort_stale(plan: _Plan, path: str, found: str | None) -> None:
    if path in plan.ours:
        plan.removals.append(path)
    elif found is not None:
        plan.kept.append(path)


def _why(found: str, known: bool) -> str:
    if found in {_FOLDER, _LINK_ABOVE}:
        return found
    return "edited since it was exported" if known else "not written by an export"


def _found(folder: Path, path: str) -> str | None:
    """The digest of what lies at `path`; None for nothing, a sentence for what is no plain file."""
    if any(_leads_away(folder / parent) for parent in list(PurePosixPath(path).parents)[:-1]):
        return _LINK_ABOVE
    file = folder / path
    if file.is_symlink():
        return "a link"
    if file.is_dir():
        return _FOLDER
    return _digest(file.read_bytes()) if file.exists() else None


def _leads_away(between: Path) -> bool:
    return between.is_symlink() or (between.exists() and not between.is_dir())


def _refuse(folder: Path, plan: _Plan, force: bool) -> None:
    hopeless = {path: why for path, why in plan.conflicts.items() if why in {_FOLDER, _LINK_ABOVE}}
    refused = hopeless if force else plan.conflicts
    if refused:
        listed = listing(f"{path} ({why})" for path, why in refused.items())
        hint = "move that away" if hopeless else "--force overwrites"
        raise GridError(f"not overwritten in {folder}: {listed}", f"{hint}; or name another folder with -o")


def _carry_out(folder: Path, contents: Mapping[str, bytes], plan: _Plan, kind: str) -> None:
    wanted = {path: _digest(content) for path, content in contents.items()}
    _make_folders(folder, contents)
    if plan.writes or plan.removals:
        _replace(folder / MANIFEST, _document(kind, plan.ours, wanted))
    for path in plan.writes:
        _replace(folder / path, contents[path])
    for path in plan.removals:
        (folder / path).unlink(missing_ok=True)
        _remove_empty(folder, path)
    _replace(folder / MANIFEST, _document(kind, wanted))


def _document(kind: str, files: Mapping[str, str], unfinished: Mapping[str, str] | None = None) -> bytes:
    document = {"format": _FORMAT, "export": kind, "files": files} | ({"unfinished": unfinished} if unfinished else {})
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def _make_folders(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Containers run as somebody else: all may read."""
    folder.mkdir(parents=True, exist_ok=True)
    for parent in sorted({parent for path in contents for parent in PurePosixPath(path).parents}):
        if not (between := folder / parent).is_dir():
            between.mkdir()
            between.chmod(0o755)


def _replace(file: Path, content: bytes) -> None:
    """So that a reader, and whoever kills us, sees the old or the new and never half."""
    descriptor, fresh = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            os.fchmod(descriptor, 0o644)
        Path(fresh).replace(file)
    except OSError:
        Path(fresh).unlink(missing_ok=True)
        raise


def _remove_empty(folder: Path, path: str) -> None:
    for parent in list(PurePosixPath(path).parents)[:-1]:
        between = folder / parent
        if any(between.iterdir()):
            return
        between.rmdir()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def listing(texts: Iterable[str]) -> str:
    """The texts with commas between; of many the first ones, and how many more there are."""
    every = list(texts)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more
