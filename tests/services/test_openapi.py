"""The OpenAPI document against the running service: schemathesis looks for where they differ."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from config.settings import ChargeRequestSettings
from services.charge_request.service import ChargeRequestService
from services.clock import SystemClock
from services.openapi import PROBLEMS, document
from tests.services.grid import a_grid

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("openapi_hooks.py")
SCHEMATHESIS = ("-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", "--continue-on-failure")
#: What was cancelled is still told of: nothing is gone by DELETE.
CHECKS = ("--checks", "all", "--exclude-checks", "use_after_free")
HOW = (*CHECKS, "--max-examples", "60", "--seed", "7", "--no-color")


async def test_the_service_does_what_it_says(tmp_path: Path, unmeasured: dict[str, str]) -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=10**6, time_scale=10_000)
        await grid.balancer("substation1", time_scale=10_000)
        settings = ChargeRequestSettings(balancers=(grid.urls["balancer"],))
        url = await grid.serve(ChargeRequestService(settings, SystemClock()))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *SCHEMATHESIS,
            *HOW,
            f"{url}/openapi.json",
            cwd=tmp_path,
            env={**unmeasured, "SCHEMATHESIS_HOOKS": str(HOOKS)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), 100)
        assert process.returncode == 0, said.decode()
        assert "6 selected / 6 total" in said.decode(), "all but its own document"


def test_the_document_is_sound() -> None:
    described = document()
    for part in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(part)
    follow = "/requests/{request_id}"
    assert set(described["paths"]) == {"/charge", "/request-charge", follow, "/health", "/metrics", "/openapi.json"}
    for path in ("/charge", "/request-charge"):
        answers = described["paths"][path]["post"]["responses"]
        assert set(answers) == {"200", "202", *(str(status) for status in PROBLEMS)}


def test_every_field_of_a_request_is_described() -> None:
    fields = document()["components"]["schemas"]["ChargeRequest"]
    assert set(fields["properties"]) == {
        "ev_id",
        "request_id",
        "power_kw",
        "energy_kwh",
        "duration_s",
        "departure_in_s",
    }
    assert fields["required"] == ["ev_id"]
    assert fields["additionalProperties"] is False
