"""Where the command begins: Ctrl-C that comes while it still imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

_INTERRUPTED_AT = """
import sys
module = sys.argv.pop(1)
class Interrupt:
    def find_spec(self, name, *_):
        if name == module:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from gridctl.entry import main
main()
"""


@pytest.mark.parametrize("module", ["gridctl.unborn", "gridctl.cli", "click"])
def test_ctrl_c_before_the_command_runs_is_no_traceback(environment: Mapping[str, str], module: str) -> None:
    command = [sys.executable, "-P", "-c", _INTERRUPTED_AT, module, "up"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
