"""HAProxy and nginx in front of given substations: their settings and their processes. Must not know what is measured.

Both run as this user, on loopback, with files in a folder that is given, as many threads as cores (their own default) and
connections to the substations that stay open.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path

HAPROXY = """\
global
    maxconn 8192
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    option http-keep-alive
    http-reuse always
frontend ev
    bind 127.0.0.1:{port}
    default_backend substations
backend substations
    balance leastconn
{servers}
"""

NGINX = """\
user {user};
worker_processes auto;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream substations {{
        least_conn;
{servers}
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://substations;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""


def haproxy_settings(port: int, substations: Sequence[str]) -> str:
    """HAProxy's configuration: leastconn over `substations` (host:port), connections reused wherever possible."""
    servers = "\n".join(f"    server s{number} {address}" for number, address in enumerate(substations, 1))
    return HAPROXY.format(port=port, servers=servers)


def nginx_settings(port: int, substations: Sequence[str], folder: Path, user: str) -> str:
    """nginx's configuration: least_conn over `substations` (host:port), connections kept."""
    servers = "\n".join(f"        server {address};" for address in substations)
    return NGINX.format(port=port, servers=servers, folder=folder, user=user)


def haproxy_command(folder: Path, port: int, substations: Sequence[str]) -> list[str]:
    """Writes the configuration into `folder`; returns how to start HAProxy in the foreground."""
    settings = folder / "haproxy.cfg"
    settings.write_text(haproxy_settings(port, substations))
    return ["haproxy", "-db", "-q", "-f", str(settings)]


def nginx_command(folder: Path, port: int, substations: Sequence[str]) -> list[str]:
    """Writes the configuration into `folder`; returns how to start nginx in the foreground."""
    settings = folder / "nginx.conf"
    settings.write_text(nginx_settings(port, substations, folder, getpass.getuser()))
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(settings), "-g", "daemon off;"]
