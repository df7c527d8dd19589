"""What an export writes, and above all what it does not overwrite and does not remove."""

from __future__ import annotations

import functools
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import GridError, NotReady
from gridctl.export import folder as exporting
from gridctl.export.folder import MANIFEST, Difference, differences

write = functools.partial(exporting.write, kind="a")
require_current = functools.partial(exporting.require_current, kind="a")
FILES = (("compose.yaml", "a: 1\n"), ("prometheus/rules/load.yml", b"b\n"), (".env", ""))


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_first_export_writes_all_and_a_second_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    first = write(folder, FILES)
    assert first.written == (".env", "compose.yaml", "prometheus/rules/load.yml")
    assert _contents(folder) == {"compose.yaml": b"a: 1\n", "prometheus/rules/load.yml": b"b\n", ".env": b""}
    manifest = (folder / MANIFEST).read_bytes()
    second = write(folder, reversed(FILES))
    assert (second.written, second.unchanged) == ((), first.written)
    assert (folder / MANIFEST).read_bytes() == manifest


def test_all_may_read_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write(tmp_path / "out", FILES)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out/prometheus/rules/load.yml").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "out/prometheus/rules").stat().st_mode) == 0o755


def test_changed_files_of_ours_are_replaced_and_dropped_ones_removed_with_their_folder(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    outcome = write(tmp_path, [("compose.yaml", "a: 2\n"), (".env", "")])
    assert (outcome.written, outcome.unchanged) == (("compose.yaml",), (".env",))
    assert outcome.removed == ("prometheus/rules/load.yml",)
    assert not (tmp_path / "prometheus").exists()


def test_a_folder_that_holds_something_else_stays(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "prometheus/mine").write_text("mine")
    write(tmp_path, FILES[:1])
    assert _contents(tmp_path) == {"compose.yaml": b"a: 1\n", "prometheus/mine": b"mine"}


def test_every_foreign_and_every_edited_file_is_named_and_nothing_written(tmp_path: Path) -> None:
    write(tmp_path, FILES[1:])
    (tmp_path / ".env").write_text("edited")
    (tmp_path / "compose.yaml").write_text("foreign")
    before = _contents(tmp_path)
    with pytest.raises(GridError) as caught:
        write(tmp_path, [*FILES, ("new", "x")])
    assert ".env (edited since it was exported)" in caught.value.message
    assert "compose.yaml (not written by an export)" in caught.value.message
    assert "--force" in caught.value.hint
    assert _contents(tmp_path) == before
    write(tmp_path, FILES, force=True)
    assert _contents(tmp_path)["compose.yaml"] == b"a: 1\n"


def test_a_foreign_file_that_says_the_same_is_no_conflict(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("a: 1\n")
    assert "compose.yaml" in write(tmp_path, FILES).unchanged
    assert "compose.yaml" in write(tmp_path, []).removed


def test_an_edited_file_that_is_not_rendered_any_more_is_kept_even_with_force(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / ".env").write_text("edited")
    assert write(tmp_path, FILES[:2], force=True).kept == (".env",)
    assert (tmp_path / ".env").read_text() == "edited"
    assert write(tmp_path, FILES[:2]).kept == ()


def test_links_and_folders_are_never_written_through(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / "prometheus").symlink_to(elsewhere)
    (folder / ".env").mkdir()
    with pytest.raises(GridError) as caught:
        write(folder, FILES, force=True)
    assert "prometheus/rules/load.yml (below a link or a file)" in caught.value.message
    assert ".env (a folder is there)" in caught.value.message
    assert not list(elsewhere.iterdir())


def test_force_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "compose.yaml").symlink_to(tmp_path / "precious")
    with pytest.raises(GridError, match=r"compose\.yaml"):
        write(folder, FILES)
    write(folder, FILES, force=True)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (folder / "compose.yaml").is_symlink()


@pytest.mark.parametrize("path", ["", ".", "/etc/x", "../x", "a/../../x", "a//b", "./a", MANIFEST, "a\0b"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="below its folder"):
        write(tmp_path / "out", [(path, "")])
    assert not (tmp_path / "out").exists()


def test_a_path_rendered_twice_or_as_file_and_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        write(tmp_path, [("a", "1"), ("a", "2")])
    with pytest.raises(ValueError, match="folder"):
        write(tmp_path, [("a", "1"), ("a/b", "2")])


def test_a_manifest_that_names_files_elsewhere_removes_none(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write(folder, FILES)
    victim = tmp_path / "victim"
    victim.write_text("")
    document = json.loads((folder / MANIFEST).read_text())
    document["files"]["../victim"] = document["files"][".env"]
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(GridError, match="damaged"):
        write(folder, FILES)
    write(folder, FILES, force=True)
    assert victim.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', "\xff"])
def test_a_damaged_manifest_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(GridError, match="damaged"):
        write(tmp_path, FILES)
    assert write(tmp_path, FILES, force=True).written


def test_a_file_in_place_of_the_folder_is_an_expected_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(GridError, match="cannot be written"):
        write(tmp_path / "out", FILES)
    with pytest.raises(GridError, match="cannot be read"):
        differences(tmp_path / "out", FILES)


def test_what_is_not_current_is_named(tmp_path: Path) -> None:
    assert len(differences(tmp_path / "none", FILES)) == len(FILES)
    assert not (tmp_path / "none").exists()
    write(tmp_path, FILES)
    require_current(tmp_path, FILES)
    (tmp_path / "compose.yaml").write_text("edited")
    (tmp_path / ".env").unlink()
    found = differences(tmp_path, FILES[::2])
    assert found == (
        Difference(".env", "missing"),
        Difference("compose.yaml", "differs"),
        Difference("prometheus/rules/load.yml", "not rendered any more"),
    )
    with pytest.raises(NotReady, match=r"compose.yaml \(differs\)") as caught:
        require_current(tmp_path, FILES)
    assert caught.value.exit_code == 4


def test_an_export_that_was_cut_short_can_be_repeated_with_other_files(tmp_path: Path) -> None:
    """Some files are new already and the manifest says so: none of them counts as edited."""
    write(tmp_path, FILES)
    old = json.loads((tmp_path / MANIFEST).read_text())
    write(tmp_path, [("compose.yaml", "a: 2\n"), *FILES[1:]])
    new = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(old | {"unfinished": new["files"]}))
    assert write(tmp_path, [("compose.yaml", "a: 3\n"), *FILES[1:]]).written == ("compose.yaml",)
    assert "unfinished" not in json.loads((tmp_path / MANIFEST).read_text())


paths = st.sampled_from(["a", "b", "c/d", "c/e", "f/g/h"])
exports = st.dictionaries(paths, st.sampled_from(["", "1", "2"]))


@given(rounds=st.lists(exports, min_size=1, max_size=4))
def test_after_any_exports_the_folder_holds_the_last_one(
    rounds: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("out")
    for files in rounds:
        write(folder, files.items())
        assert {path: text.encode() for path, text in files.items()} == _contents(folder)
        assert differences(folder, files.items()) == ()


def test_a_folder_of_another_kind_of_export_is_refused_and_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    before = _contents(tmp_path)
    for files in ([("other.yaml", "o")], FILES):
        with pytest.raises(GridError, match="was written by `a`, and this is `b`") as caught:
            write(tmp_path, files, kind="b")
        assert "another folder" in caught.value.hint
        assert "--force" in caught.value.hint
        with pytest.raises(NotReady, match="was written by `a`, and this is `b`"):
            require_current(tmp_path, files, kind="b")
    assert _contents(tmp_path) == before
    outcome = write(tmp_path, [("other.yaml", "o")], kind="b", force=True)
    assert set(outcome.removed) == before.keys()
    require_current(tmp_path, [("other.yaml", "o")], kind="b")


def test_a_folder_that_does_not_say_who_wrote_it_is_another_kinds(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    manifest = tmp_path / MANIFEST
    document = json.loads(manifest.read_text())
    del document["export"]
    manifest.write_text(json.dumps(document))
    with pytest.raises(GridError, match="written by an earlier gridctl"):
        write(tmp_path, FILES)
