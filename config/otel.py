"""Whether spans are wanted, by OpenTelemetry's own variables, and whether they can be had. Imports nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from config.errors import Invalid

#: Where spans go: either of them switches them on.
ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether `environ` names an endpoint for spans, and does not switch them off elsewhere."""
    off = (
        environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    )
    return not off and any(environ.get(name, "").strip() for name in ENDPOINT_VARIABLES)


def demand(environ: Mapping[str, str]) -> None:
    """Invalid where spans are wanted and cannot be sent: the extra is not installed, or another protocol is asked for."""
    if not is_wanted(environ):
        return
    where = next(name for name in ENDPOINT_VARIABLES if environ.get(name, "").strip())
    if not all(_is_installed(module) for module in _NEEDED):
        hint = f"install gridctl with it (pipx install '.[otel]' in a checkout), or unset {where}"
        raise Invalid(f"{where} is set, but what sends spans is not installed: the extra otel", hint)
    for name in _PROTOCOL_VARIABLES:
        if environ.get(name, "").strip() not in ("", _PROTOCOL):
            raise Invalid(f"{name}: found {environ[name]!r}; allowed: {_PROTOCOL}", f"unset {name}")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
