"""TLS to others: whom the system trusts is asked late, and asked all the same."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from services.certificates import Trusting, unread


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    command += f" -addext subjectAltName=DNS:localhost -out {cert} -keyout {key}"
    subprocess.run(command.split(), check=True, capture_output=True, timeout=60)
    return cert, key


@pytest.fixture
async def server(certificate: tuple[Path, Path]) -> AsyncIterator[str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    assert site._server is not None
    yield f"https://localhost:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def _ask(url: str) -> str:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=Trusting())) as client,
        client.get(url) as answer,
    ):
        return await answer.text()


@pytest.mark.needs("openssl")
async def test_whom_the_system_trusts_is_reached_and_nobody_else(
    server: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await asyncio.wait_for(_ask(server), 30)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert await asyncio.wait_for(_ask(server), 30) == "hello"


def test_places_that_were_set_or_not_are_so_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "mine.pem")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with unread():
        assert os.environ["SSL_CERT_FILE"] == os.environ["SSL_CERT_DIR"] == os.devnull
    assert os.environ["SSL_CERT_FILE"] == "mine.pem"
    assert "SSL_CERT_DIR" not in os.environ


def test_aiohttp_can_be_imported_without_them() -> None:
    code = "from services.certificates import unread\nwith unread():\n    import aiohttp\n"
    code += "from aiohttp.connector import _SSL_CONTEXT_VERIFIED as own\nprint(len(own.get_ca_certs()))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "0\n"
