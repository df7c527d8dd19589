"""The engine and the images, brought up once for a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridctl.export.image.context import ROLES, context
from tests.e2e.containers.engine import bring_up, one_at_a_time, run


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker Engine with the base images."""
    bring_up()


@pytest.fixture(scope="session")
def images(engine: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """role → the image that every export of this gridctl names, built as the export would build it."""
    made = context()
    folder: Path = tmp_path_factory.mktemp("image")
    for path, content in made.files:
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    with one_at_a_time():
        for role in ROLES:
            if not run("docker", "images", "-q", made.image(role)):
                run("docker", "build", "-q", "--target", role, "-t", made.image(role), folder)
    return {role: made.image(role) for role in ROLES}
