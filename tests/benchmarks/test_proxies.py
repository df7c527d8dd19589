"""The proxies that gridctl is compared with are set up well: kept connections, each substation, loopback."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.proxies import haproxy_settings, nginx_settings

SUBSTATIONS = ["127.0.0.1:9001", "127.0.0.1:9002"]


def test_haproxy_reuses_connections_to_every_substation() -> None:
    text = haproxy_settings(8000, SUBSTATIONS)
    assert all(f" {address}\n" in text for address in SUBSTATIONS)
    assert "balance leastconn" in text
    assert "http-reuse always" in text
    assert "bind 127.0.0.1:8000" in text


def test_nginx_reuses_connections_to_every_substation(tmp_path: Path) -> None:
    text = nginx_settings(8000, SUBSTATIONS, tmp_path, "somebody")
    assert all(f"server {address};" in text for address in SUBSTATIONS)
    assert "least_conn;" in text
    assert 'proxy_set_header Connection "";' in text
    assert "keepalive 512;" in text
    assert "listen 127.0.0.1:8000;" in text
