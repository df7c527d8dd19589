"""`gridctl top --once`, `--json` and `--svg`, in process and in a pipe."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gridctl.cli import run
from gridctl.top.document import document
from tests.gridctl.top.screen import Run
from tests.gridctl.top.snapshots import lively
from tests.gridctl.top.supervisor import supervisor

SUBSTATION_KEYS = ["name", "state", "sessions", "max_sessions", "load_kw", "capacity_kw", "load_pct"]
GRID_KEYS = [
    "load_pct",
    "health",
    "sessions",
    "max_sessions",
    "load_kw",
    "capacity_kw",
    "requests_per_s",
    "rejected_total",
    "failed_total",
    "uptime_s",
]


@pytest.fixture
def hundred(environment: dict[str, str]) -> Iterator[Callable[[], None]]:
    with supervisor(Path(environment["GRIDCTL_STATE_DIR"]), lambda: lively(100)) as end:
        yield end


@pytest.mark.usefixtures("hundred")
@pytest.mark.parametrize("flags", [["--once"], []])
def test_into_a_pipe_goes_one_plain_frame_with_everyone(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top", "--name", "grid", *flags]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert sum(line.startswith("substation") and "READY" in line for line in out.splitlines()) == 100
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.usefixtures("hundred")
def test_once_as_json_has_exactly_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top", "--name", "grid", "--once", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["grid", "substations"]
    assert list(printed["grid"]) == GRID_KEYS
    assert [list(entry) for entry in printed["substations"]] == [SUBSTATION_KEYS] * 100
    assert printed["grid"]["uptime_s"] == 192


def test_a_document_of_nothing_has_all_keys() -> None:
    assert document({}) == {"grid": dict.fromkeys(GRID_KEYS), "substations": []}
    assert document({"grid": None, "cluster": None, "substations": [{}]})["substations"] == [
        dict.fromkeys(SUBSTATION_KEYS)
    ]


def test_json_alone_is_a_stream_until_the_cluster_ends(hundred: Callable[[], None]) -> None:
    arguments = [sys.executable, "-m", "gridctl", "top", "--name", "grid", "--json", "--interval", "0.1"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        documents = [json.loads(process.stdout.readline()) for _ in range(3)]
        hundred()
        for line in process.stdout:
            documents.append(json.loads(line))
    assert process.returncode == 0
    assert all(len(entry["substations"]) == 100 for entry in documents)


@pytest.mark.usefixtures("hundred")
def test_a_picture_refers_to_nothing_elsewhere(tmp_path: Path) -> None:
    target = tmp_path / "top.svg"
    assert run(["top", "--name", "grid", "--once", "--svg", str(target)]) == 0
    text = target.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    words = "".join(root.itertext()).replace("\xa0", " ")
    assert "substation100" in words
    assert "gridctl top" in words
    assert "@font-face" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.usefixtures("hundred")
def test_a_picture_that_cannot_be_written_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top", "--name", "grid", "--once", "--svg", str(tmp_path / "no" / "top.svg")]) == 1
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [["--svg", "x.svg"], ["--once", "--json", "--svg", "x.svg"], ["--interval", "0"], ["--interval", "soon"]]
)
def test_flags_that_do_not_go_together_are_usage_errors(flags: list[str]) -> None:
    assert run(["top", *flags]) == 2


@pytest.mark.usefixtures("environment")
def test_without_a_cluster_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top", "--name", "nowhere", "--once"]) == 3
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.usefixtures("hundred")
def test_once_on_a_terminal_has_colours_and_its_width(environment: dict[str, str]) -> None:
    with Run(["-m", "gridctl", "top", "--name", "grid", "--once"], size=(60, 24)) as shown:
        assert shown.ends() == 0
        rows = [line for line in shown.screen.below.splitlines() if line.startswith("substation")]
        assert len(rows) == 101
        assert max(map(len, shown.screen.below.splitlines())) <= 60
    with Run(["-m", "gridctl", "top", "--name", "grid"], env={**environment, "NO_COLOR": "1"}) as plain:
        assert plain.ends() == 0
        assert not plain.screen.alternate
        assert "\x1b" not in plain.screen.below


@pytest.mark.usefixtures("hundred")
def test_once_into_a_pipe_imports_neither_rich_nor_what_servers_need() -> None:
    code = (
        "import sys; from gridctl.cli import run; run(['top', '--name', 'grid', '--once']);"
        "print(sorted({'rich', 'aiohttp', 'pydantic'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
