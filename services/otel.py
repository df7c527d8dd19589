"""Records spans and sends them by OTLP over HTTP, for whoever installed the extra `otel`. Must not know any service.

A thread of the SDK sends them in batches. It begins in the service's own process, after the fork: the zygote has none.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace import Tracer as SdkTracer

from services.tracing import METHOD, ROUTE, Parent, Span

#: A stop waits so long (wall seconds) for the last spans to be taken; an endpoint that is dead costs no more.
LAST_S = 0.8


class RecordedSpan(Span):
    """A span of the SDK; ids and the decision to sample are the SDK's."""

    __slots__ = ("_kind", "_sdk", "_tracer")

    def __init__(self, tracer: SdkTracer, sdk: SdkSpan, kind: SpanKind, state: str) -> None:
        context = sdk.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self._span_id = f"{context.span_id:016x}"
        self.sampled = context.trace_flags.sampled
        self.state = state
        self._tracer, self._sdk, self._kind = tracer, sdk, kind

    def child(self, name: str, attributes: Mapping[str, str]) -> Span:
        """See `services.tracing.Span`."""
        context = set_span_in_context(self._sdk)
        sdk = self._tracer.start_span(name, context, SpanKind.CLIENT, dict(attributes))
        return RecordedSpan(self._tracer, sdk, SpanKind.CLIENT, self.state)

    def end(self, status: int | None) -> None:
        """See `services.tracing.Span`; an error by the conventions for HTTP: 5xx of a server, 4xx too for its client."""
        if status is not None:
            self._sdk.set_attribute("http.response.status_code", status)
        if status is None or status >= (500 if self._kind is SpanKind.SERVER else 400):
            self._sdk.set_status(Status(StatusCode.ERROR, "" if status else "no answer"))
        self._sdk.end()


class RecordingTracer:
    """Begins spans that are sent. `processor` takes them as they end; None: to the endpoint that the environment names."""

    def __init__(self, name: str, role: str, version: str, processor: SpanProcessor | None = None) -> None:
        about = {"service.instance.id": name, "service.version": version}
        named = OTELResourceDetector().detect().attributes  # OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
        resource = Resource.create(about if "service.name" in named else {**about, "service.name": role})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("gridctl", version)

    def begin(self, method: str, route: str, parent: Parent | None) -> Span:
        """See `services.tracing.Tracer`."""
        context = set_span_in_context(INVALID_SPAN if parent is None else _remote(parent))
        about = {METHOD: method, ROUTE: route}
        sdk = self._tracer.start_span(f"{method} {route}".rstrip(), context, SpanKind.SERVER, about)
        return RecordedSpan(self._tracer, sdk, SpanKind.SERVER, parent.state if parent else "")

    def close(self) -> None:
        """Sends what is left, within `LAST_S`."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(LAST_S)


def _remote(parent: Parent) -> NonRecordingSpan:
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([parent.state]) if parent.state else None
    return NonRecordingSpan(SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), True, flags, state))
