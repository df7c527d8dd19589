"""What all exports have in common, as a user types it."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
from contextlib import chdir
from pathlib import Path

import pytest

from config.access import read_token
from gridctl.cli import run
from gridctl.export.compose.services import MAKE_TOKEN

EXPORTS = ("compose", "kubernetes", "monitoring")
ALL = [(kind,) for kind in EXPORTS] + [("compose", "--swarm"), ("compose", "--scalable")]


def _export(kind: str, *arguments: str | Path) -> int:
    return run([kind, "export", *map(str, arguments)])


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("first", [*EXPORTS, "compose --swarm"])
@pytest.mark.parametrize("second", [*EXPORTS, "compose --swarm"])
def test_none_takes_the_files_of_another(
    first: str, second: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = first.split(), second.split()
    assert _export(one[0], "-o", tmp_path / "x", *one[1:]) == 0
    before = _contents(tmp_path)
    capsys.readouterr()
    assert _export(other[0], "-o", tmp_path / "x", *other[1:]) == (0 if first == second else 1)
    told = capsys.readouterr().err
    assert _contents(tmp_path) == before
    if first != second:
        assert f"was written by `gridctl {one[0]} export{''.join(f' {each}' for each in one[1:])}`" in told
        assert "another folder" in told
        assert _export(other[0], "-o", tmp_path / "x", *other[1:], "--force") == 0
        assert "removed, because they are exported no more: " in capsys.readouterr().out


@pytest.mark.parametrize("kind", EXPORTS)
def test_an_export_says_what_it_removed_and_what_it_kept(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _export(kind, "-o", tmp_path) == 0
    manifest = tmp_path / ".gridctl-export.json"
    stale = {"gone": _digest("gone"), "mine": _digest("not mine yet")}
    for name in stale:
        (tmp_path / name).write_text(name)
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**document, "files": {**document["files"], **stale}}))
    capsys.readouterr()
    assert _export(kind, "-o", tmp_path) == 0
    told = capsys.readouterr().out
    assert "1 removed" in told
    assert "removed, because they are exported no more: gone\n" in told
    assert "kept, because they were edited: mine\n" in told
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("arguments", ALL, ids=" ".join)
def test_an_empty_folder_name_is_refused_and_nothing_is_written(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    with chdir(here):
        assert _export(arguments[0], *arguments[1:], "-o", "") == 2
    assert "an empty name is no folder" in capsys.readouterr().err
    assert not any(here.iterdir())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("arguments", [(), ("--swarm",), ("--scalable",)])
def test_the_token_is_made_by_one_line_that_is_the_same_wherever_it_stands(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed as it is told, in a folder with a space: whoever the containers run as may read it, nobody else gets there."""
    out = tmp_path / "my grid"
    assert _export("compose", "-o", out, *arguments) == 0
    (told,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next: ")]
    assert MAKE_TOKEN in told
    assert MAKE_TOKEN in (out / "README.md").read_text()
    subprocess.run(["sh", "-c", told.removeprefix("next: ")], check=True)
    token = out / "gridctl-token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o444
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert read_token({"GRIDCTL_TOKEN_FILE": str(token)}) is not None
    assert token.name in (out / ".gitignore").read_text().split()
    assert _export("compose", "-o", out, *arguments) == 0
    assert "next: " not in capsys.readouterr().out


@pytest.mark.parametrize("page", ["compose.md", "cluster.md"])
def test_the_pages_make_the_token_by_that_line(page: str) -> None:
    assert MAKE_TOKEN in (Path(__file__).parents[2] / "docs" / page).read_text()
