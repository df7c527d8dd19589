"""The folder from which the images are built, by any engine and with nothing else at hand. Knows no topology."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from gridctl import __version__
from gridctl.export.containers import DATA_FOLDER
from gridctl.export.folder import File
from gridctl.export.pins import pins
from gridctl.export.wheel import wheel
from gridctl.serve.settings import PORTS

#: The base of the images; any Python from 3.11 on that pip and Debian's `ldd` come along with.
PYTHON_IMAGE = "python:3.11-slim-bookworm"
#: Who the services are inside: nobody on the machine outside.
USER = 10001
#: Every image is of one of these roles.
ROLES = (CHARGE_REQUEST, BALANCER, SUBSTATION)
_SCRIPTS = ("minimal_root.py", "probe.py")

_DOCKERFILE = """\
# Written by gridctl. One target a service; needs no BuildKit.
ARG PYTHON_IMAGE={python_image}

FROM ${{PYTHON_IMAGE}} AS build
WORKDIR /build
RUN python3 -m venv --without-pip /opt/gridctl && mkdir data
COPY requirements.txt ./
RUN pip --python /opt/gridctl/bin/python3 install --disable-pip-version-check --no-cache-dir --no-compile \\
      --only-binary :all: --require-hashes -r requirements.txt
# gridctl itself is the wheel here: an index is never asked for that name
COPY {wheel} {scripts} ./
RUN pip --python /opt/gridctl/bin/python3 install --disable-pip-version-check --no-cache-dir --no-compile \\
      --no-deps --no-index ./{wheel} \\
 && cp probe.py /opt/gridctl/ \\
 && python3 minimal_root.py /opt/gridctl /minimal

# Python, gridctl and the libraries that both need: no shell, no package manager, no pip
FROM scratch AS service
COPY --from=build /minimal /
COPY --from=build --chown={user}:{user} /build/data {data}
ENV PATH=/opt/gridctl/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \\
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt HOST=0.0.0.0
LABEL org.opencontainers.image.title="gridctl" org.opencontainers.image.version="{version}" \\
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR {data}
USER {user}:{user}
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 \\
  CMD ["/opt/gridctl/bin/python3", "-IS", "/opt/gridctl/probe.py"]
"""

_TARGET = """
FROM service AS {role}
ENV PORT={port}
EXPOSE {port}
ENTRYPOINT ["/opt/gridctl/bin/gridctl"]
CMD ["serve", "{role}"]
"""


@dataclass(frozen=True, slots=True)
class Context:
    """`files` of the folder, and `tag`: the version and a digest of all of them, so that other files are other images."""

    files: tuple[File, ...]
    tag: str

    def image(self, role: str) -> str:
        """The image's name: `gridctl-substation:0.1.0-0123456789ab`."""
        return f"gridctl-{role}:{self.tag}"


def context() -> Context:
    """What the running gridctl's images are built from. GridError where it cannot be packed."""
    name, packed = wheel()
    listed: list[File] = [("Dockerfile", dockerfile(name)), (name, packed), ("requirements.txt", pins()), *_scripts()]
    listed.sort(key=_path)
    digest = hashlib.sha256()
    for path, content in listed:
        data = content if isinstance(content, bytes) else content.encode()
        digest.update(f"{path}\0{len(data)}\0".encode())
        digest.update(data)
    return Context(tuple(listed), f"{__version__}-{digest.hexdigest()[:12]}")


def _path(file: File) -> str:
    return file[0]


def dockerfile(wheel_name: str) -> str:
    """The Dockerfile, with a target for each role."""
    head = _DOCKERFILE.format(
        python_image=PYTHON_IMAGE,
        wheel=wheel_name,
        scripts=" ".join(_SCRIPTS),
        user=USER,
        data=DATA_FOLDER,
        version=__version__,
    )
    return head + "".join(_TARGET.format(role=role, port=PORTS[role]) for role in ROLES)


def _scripts() -> list[File]:
    return [(name, files("gridctl.export.image").joinpath(name).read_text(encoding="utf-8")) for name in _SCRIPTS]
