"""A user's shell in a folder of its own, for pages whose commands a test types as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code of that language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str, language: str = "bash") -> list[str]:
    """Every line of those blocks: each is a command."""
    return [line for block in blocks(text, language) for line in block.splitlines() if line.strip()]


class Shell:
    """A shell in `folder`, with `gridctl` on its PATH behind `programs`.

    `instead` is what to type in place of something in the page: where another process holds a port, `up` has chosen another
    one, and what it then says of an address in `instead` is typed from there on.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], instead: Mapping[str, str], programs: Path | None = None
    ) -> None:
        self.folder = folder
        before = [str(programs)] if programs else []
        path = os.pathsep.join([*before, str(Path(sys.executable).parent), environment["PATH"]])
        self.environment = {**environment, "PATH": path}
        self.instead = dict(instead)

    def type(self, command: str, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
        """What a command that is typed comes to; nothing is raised."""
        for written, typed in self.instead.items():
            command = command.replace(written, typed)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        for name, port in (("charge-request", 8080), ("prometheus", 9090)):
            if found := re.search(rf"{name}\S*\s+.*?(http://127\.0\.0\.1:\d+)", done.stdout):
                self.instead[f"http://127.0.0.1:{port}"] = found[1]
        return done

    def check(self, command: str, timeout_s: float = 100) -> str:
        """What it says on stdout; AssertionError, with all that was said, unless it ends well."""
        done = self.type(command, timeout_s)
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout
