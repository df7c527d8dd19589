"""The three sorts of end: expected, a bug, Ctrl-C; and the quiet one."""

from __future__ import annotations

import io
from pathlib import Path

import click
import pytest

from config.errors import Fault, GridError, InUse, Invalid, NotReady, NotRunning
from gridctl.failures import report_failure
from tests.gridctl.terminal import terminal


def told(failure: BaseException, root: Path) -> tuple[int, str]:
    out = io.StringIO()
    code = report_failure(failure, ["ps"], out, {"GRIDCTL_STATE_DIR": str(root)})
    return code, out.getvalue()


@pytest.mark.parametrize(
    ("failure", "code"),
    [(GridError("m"), 1), (Invalid("m"), 2), (NotRunning("m"), 3), (NotReady("m"), 4), (InUse("m"), 5)],
)
def test_expected_ends_have_their_codes(failure: GridError, code: int, tmp_path: Path) -> None:
    assert told(failure, tmp_path) == (code, "error: m\n")


def test_the_hint_follows(tmp_path: Path) -> None:
    assert told(NotRunning("no cluster", "start one"), tmp_path) == (3, "error: no cluster\nhint: start one\n")


def test_every_fault_has_its_line(tmp_path: Path) -> None:
    faults = [Fault("grid.yaml", 3, "balancer.port", "'x'", "1…65535"), Fault("grid.yaml", 0, "nme", "nme", "name")]
    code, text = told(Invalid("2 faults in grid.yaml", faults=faults), tmp_path)
    assert code == 2
    assert text.splitlines() == ["error: 2 faults in grid.yaml", f"  {faults[0]}", f"  {faults[1]}"]
    assert told(Invalid(str(faults[0]), faults=faults[:1]), tmp_path)[1] == f"error: {faults[0]}\n"


def test_usage_errors_point_to_the_help(tmp_path: Path) -> None:
    ctx = click.Context(click.Command("ps"), info_name="gridctl ps")
    assert told(click.UsageError("No such option.", ctx), tmp_path) == (
        2,
        "error: No such option.\nhint: gridctl ps --help\n",
    )
    assert told(click.UsageError("Bad."), tmp_path)[1].endswith("hint: gridctl --help\n")
    assert told(click.ClickException("cannot open"), tmp_path) == (1, "error: cannot open\n")


def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    assert told(KeyboardInterrupt(), tmp_path) == (130, "")
    assert told(click.Abort(), tmp_path) == (130, "")


def test_a_question_that_nobody_answers_is_an_error(tmp_path: Path) -> None:
    abort = click.Abort()
    abort.__context__ = EOFError()
    code, text = told(abort, tmp_path)
    assert code == 1
    assert "without an answer" in text


def test_a_bug_is_one_line_that_names_the_file_with_the_traceback(tmp_path: Path) -> None:
    try:
        raise ValueError("what\nis this")
    except ValueError as bug:
        code, text = told(bug, tmp_path / "new" / "state")
    (report,) = (tmp_path / "new" / "state").iterdir()
    assert code == 1
    assert text == f"error: gridctl failed unexpectedly (ValueError: what); the details are in {report}\n"
    written = report.read_text()
    assert "Traceback" in written
    assert "arguments: ['ps']" in written
    assert report.stat().st_mode & 0o777 == 0o600


def test_a_bug_report_falls_back_to_the_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    _, text = told(ValueError("x"), tmp_path / "file")
    report = Path(text.split()[-1])
    assert report.name.startswith("bug-")
    assert tmp_path not in report.parents
    report.unlink()


def test_an_exit_keeps_its_code(tmp_path: Path) -> None:
    assert [told(SystemExit(code), tmp_path)[0] for code in (7, None, "message")] == [7, 0, 1]


def test_colour_on_a_terminal_only(tmp_path: Path) -> None:
    with terminal(80) as screen:
        report_failure(GridError("m", "h"), [], screen.stream, {})
        assert screen.shown() == "\x1b[31;1merror:\x1b[0m m\n\x1b[36mhint:\x1b[0m h\n"
        report_failure(GridError("m", "h"), [], screen.stream, {"NO_COLOR": "1"})
        assert screen.shown() == "error: m\nhint: h\n"
        report_failure(KeyboardInterrupt(), [], screen.stream, {})
        assert screen.shown() == "\n"
