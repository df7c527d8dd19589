"""Spans at a receiver of OTLP: of a cluster's processes, forked from the zygote, and of one that `gridctl serve` runs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.conftest import Cluster
from tests.e2e.served import JSON, served, until
from tests.strangers import Stranger, answering

pytestmark = pytest.mark.e2e

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, CLIENT = 2, 3
#: The endpoint is dead, and a stop may cost so much more (wall seconds), on a busy machine.
STOP_S = 1.0
BUSY_S = 5.0


@dataclass(frozen=True)
class Span:
    """One, as it arrived."""

    service: str
    process: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]
    state: str


class Receiver:
    """What came to `POST /v1/traces` at `port`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.port = 0

    @property
    def environment(self) -> dict[str, str]:
        """What sends spans here, soon after they end."""
        url = f"http://127.0.0.1:{self.port}"
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keeps the spans of one batch."""
        for several in request.resource_spans:
            about = {each.key: each.value.string_value for each in several.resource.attributes}
            for scope in several.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Span(
                            about["service.name"],
                            about["service.instance.id"],
                            span.name,
                            span.kind,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            {each.key: each.value.string_value for each in span.attributes},
                            span.trace_state,
                        )
                    )

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace."""
        return [span for span in list(self.spans) if span.trace_id == trace_id]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Collector(Stranger):
        def post(self, body: bytes) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            found.take(ExportTraceServiceRequest.FromString(body))
            self.answer()

    with answering(Collector) as found.port:
        yield found


def _line(spans: list[Span]) -> list[tuple[str, int, str]]:
    """One trace from its first span to its last, each the only child of the one before."""
    children = defaultdict(list)
    for span in spans:
        children[span.parent_id].append(span)
    ids = {span.span_id for span in spans}
    (at,) = (span for span in spans if span.parent_id not in ids)
    line = [at]
    while children[at.span_id]:
        (at,) = children[at.span_id]
        line.append(at)
    assert len(line) == len(spans)
    return [(span.service, span.kind, span.name) for span in line]


def _is_whole(spans: list[Span]) -> bool:
    """Whether all between who asked and a substation has arrived."""
    ids = {span.span_id for span in spans}
    first = [span.parent_id for span in spans if span.parent_id not in ids]
    return first == [SPAN] and any(span.service == "substation" for span in spans)


THREE = [
    ("charge-request", SERVER, "POST /charge"),
    ("charge-request", CLIENT, "POST /route"),
    ("balancer", SERVER, "POST /route"),
    ("balancer", CLIENT, "POST /charge"),
    ("substation", SERVER, "POST /charge"),
]


def test_one_charge_request_is_one_trace_of_three_services(cluster: Cluster, receiver: Receiver) -> None:
    grid = cluster(2, env=receiver.environment)
    status, answer = grid.charge("EV1", request_id="r1")
    assert status == 202
    until(lambda: len(receiver.spans) >= len(THREE))
    (trace_id,) = {span.trace_id for span in receiver.spans}
    spans = receiver.trace(trace_id)
    assert _line(spans) == THREE
    assert {span.process for span in spans} == {"charge-request", "balancer", answer["routed_to"]}
    attempt = next(span for span in spans if span.service == "balancer" and span.kind == CLIENT)
    assert (attempt.attributes["grid.substation"], attempt.attributes["grid.request_id"]) == (answer["routed_to"], "r1")
    # what others began goes on, and is left alone where they do not record
    headers = {**JSON, "tracestate": "a=1"}
    for flags, expected in (("00", 0), ("01", len(THREE))):
        parent = {"traceparent": f"00-{TRACE}-{SPAN}-{flags}"}
        curl = ["curl", "-s", f"{grid.url}/charge", "-d", json.dumps({"ev_id": f"EV{flags}"})]
        curl += [part for name, value in {**headers, **parent}.items() for part in ("-H", f"{name}: {value}")]
        assert "charging started" in subprocess.run(curl, capture_output=True, text=True, check=True, timeout=30).stdout
        until(lambda expected=expected: len(receiver.trace(TRACE)) >= expected)
    found = receiver.trace(TRACE)
    assert _line(found) == THREE
    assert next(span for span in found if span.parent_id == SPAN).service == "charge-request"
    assert {span.state for span in found} == {"a=1"}
    # a crash takes its thread along; who comes back has one again
    grid.run("kill", "balancer")
    grid.wait_until(lambda grid: grid.charge("EV9", request_id="r9")[0] == 202)
    until(lambda: any(span.attributes.get("grid.request_id") == "r9" for span in receiver.spans))


def test_a_balancer_that_passes_a_request_on_is_one_hop_more(cluster: Cluster, receiver: Receiver) -> None:
    grid = cluster(2, topology={"balancer": {"replicas": 2}}, env=receiver.environment)
    traces = [f"{number:032x}" for number in range(1, 9)]
    for trace_id in traces:
        curl = ["curl", "-s", f"{grid.url}/charge", "-H", f"traceparent: 00-{trace_id}-{SPAN}-01"]
        curl += ["-H", "Content-Type: application/json", "-d", json.dumps({"ev_id": f"EV{trace_id}"})]
        assert "charging started" in subprocess.run(curl, capture_output=True, text=True, check=True, timeout=30).stdout
    passed_on = [*THREE[:3], ("balancer", CLIENT, "POST /route"), ("balancer", SERVER, "POST /route"), *THREE[3:]]
    until(lambda: all(_is_whole(receiver.trace(each)) for each in traces))
    lines = [_line(receiver.trace(each)) for each in traces]
    assert all(line in (THREE, passed_on) for line in lines), lines
    assert passed_on in lines


class _Silent(Stranger):
    """An endpoint that takes what comes and says nothing."""

    def post(self, _body: bytes) -> None:
        threading.Event().wait(30)


@pytest.mark.parametrize("kind", ["refusing", "silent"])
def test_a_dead_endpoint_costs_no_request_and_delays_no_stop(environment: dict[str, str], kind: str) -> None:
    with answering(_Silent) as port:
        endpoint = f"http://127.0.0.1:{port if kind == 'silent' else 9}"
        with served({**environment, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}) as it:
            for number in range(9):
                assert it.charge(f"EV{number}")[0] == 202
            time.sleep(0.3)  # sleep: a batch shall be on its way when the stop comes
            it.charge("EV9")
            began_s = time.monotonic()
            code, log = it.end()
            took_s = time.monotonic() - began_s
    assert code == 0, log
    assert took_s < 0.5 + STOP_S + BUSY_S
    assert "Traceback" not in log


def test_what_was_done_last_is_sent_before_the_end(environment: dict[str, str], receiver: Receiver) -> None:
    with served({**environment, **receiver.environment, "OTEL_BSP_SCHEDULE_DELAY": "60000"}) as it:
        assert it.charge("EV1")[0] == 202
        assert it.ask("GET", "/health")[0] == 200
        assert receiver.spans == []
        assert it.end()[0] == 0
    assert [(span.name, span.service) for span in receiver.spans] == [("POST /charge", "substation")]


def test_a_wish_that_cannot_be_met_is_told_at_once(environment: dict[str, str]) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    without = "import sys; sys.modules['opentelemetry'] = None; from gridctl.entry import main; main()"
    for command in (["up", "-d"], ["serve", "substation", "--port", "0"]):
        done = subprocess.run(
            [sys.executable, "-P", "-c", without, *command],
            env={**environment, **endpoint},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "OTEL_EXPORTER_OTLP_ENDPOINT is set" in done.stderr
        assert "the extra otel" in done.stderr
    grpc = {**environment, **endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    command = [sys.executable, "-P", "-m", "gridctl", "serve", "substation", "--port", "0"]
    done = subprocess.run(command, env=grpc, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, "http/protobuf" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "bad",
    [
        {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
        {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1000000"},
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"},
    ],
)
def test_a_variable_that_no_tracer_can_be_made_with_is_a_mistake_of_usage(
    environment: dict[str, str], bad: dict[str, str]
) -> None:
    env = {**environment, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", **bad}
    for arguments in (["up", "-d"], ["serve", "substation", "--port", "0"]):
        command = [sys.executable, "-P", "-m", "gridctl", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, "OTEL_" in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr
