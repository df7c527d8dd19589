"""Which names can only mean this machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.hosts import host_of, is_loopback, origin_host


@pytest.mark.parametrize(
    "header",
    [
        "localhost",
        "LocalHost:8080",
        "localhost.",
        "grid.localhost:1",
        "127.0.0.1",
        "127.0.0.1:9001",
        "127.9.8.7",
        "[::1]:8080",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost:",
    ],
)
def test_loopback(header: str) -> None:
    host = host_of(header)
    assert host is not None
    assert is_loopback(host)


@pytest.mark.parametrize(
    "header",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil-localhost",
        "0.0.0.0",
        "0",
        "127.1",
        "2130706433",
        "0x7f000001",
        "[::]",
        "[::2]",
        "[::ffff:10.0.0.1]",
        "10.0.0.1:80",
        "192.168.0.1",
        "xlocalhost",
        ".localhost.evil",
    ],
)
def test_others(header: str) -> None:
    host = host_of(header)
    assert host is None or not is_loopback(host)


@pytest.mark.parametrize(
    "header",
    [
        "",
        ":80",
        "localhost:80:80",
        "localhost:abc",
        "localhost, evil.example",
        "evil.example@localhost",
        "localhost/evil",
        "a b",
        "localhost\\@evil",
        "[::1",
        "::1",
        "[localhost]",
        "localhost#",
        "localhost%00",
        "x" * 254,
        "localhost:999999",
        "lo\u0441alhost",
    ],
)
def test_what_is_no_host(header: str) -> None:
    assert host_of(header) is None


@given(header=st.text() | st.from_regex(r"[\[\]A-Za-z0-9.:_-]{0,40}", fullmatch=True))
def test_any_text_is_judged(header: str) -> None:
    host = host_of(header)
    assert host is None or (host == host.lower() and ":" not in host.partition("::")[0].replace(":", "") and host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:3000", "localhost"),
        ("https://evil.example", "evil.example"),
        ("http://[::1]:3000", "::1"),
        ("null", None),
        ("", None),
        ("file://", None),
        ("http://[", None),
        ("localhost", None),
    ],
)
def test_origins(origin: str, host: str | None) -> None:
    assert origin_host(origin) == host
