"""What every service's HTTP side shares: reading bodies, errors as problem+json, /health and /metrics.

Must not know what any service does with a request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from config.access import LOCAL, Access
from config.messages import MAX_BODY_BYTES, Batch, ChargeRequest, read_batch
from config.names import NAME_RULE, is_name
from config.problems import FieldFault, Problem, bad_fields
from services.gate import Gate
from services.problem import ProblemError, from_http_error, json_response, problem_response
from services.service import Asked, Crew, Listener, Service
from services.stream import websocket
from services.stream.answering import Fates, Streams
from services.stream.streaming import Streaming
from services.stream.wire import PATH
from services.tracing import CURRENT, REQUEST_ID, PassingTracer, Span, Tracer, parent_of
from services.traffic import Traffic
from services.whole import IDEMPOTENCY_KEY, Whole

Message = TypeVar("Message", bound=ChargeRequest)
Handler = Callable[[Any], Awaitable[web.StreamResponse]]

#: `/health?live` asks whether anybody answers at all; only that is a reason to kill a service.
LIVE = "live"

#: What looks at a service, or is said between services all the time: no work for anybody's request.
_LOOKS = frozenset(
    {
        "/health",
        "/metrics",
        "/status",
        "/targets",
        "/decisions",
        "/openapi.json",
        "/reports",
        "/peers",
        "/fences",
        "/report",
        PATH,
    }
)
#: How requests are answered that the gate refuses; no service answers so itself.
REFUSED = frozenset({401, 403})

_log = logging.getLogger(__name__)


async def read_messages(request: Asked, model: type[Message]) -> Batch[Message]:
    """The messages in the body of `request`; ProblemError where there are none (400, 413, 415, 422).

    A single bad message is in the batch as its Problem, like the bad elements of an array. The header
    `Idempotency-Key` sets a single message's `request_id`.
    """
    body = await read_body(request)
    batch = read_batch(body, model)
    if isinstance(batch, Problem):
        raise ProblemError(batch)
    key = request.headers.get(IDEMPOTENCY_KEY)
    return batch if key is None else _keyed(batch, key)


async def read_body(request: Asked) -> bytes:
    """The bytes of a JSON body, at most 1 MiB; ProblemError (413, 415, 400 where the client broke off)."""
    if isinstance(request, Whole):
        return request.body
    if request.body_exists and not _is_json(request.content_type, request.headers.get("Content-Type")):
        found = request.headers.get("Content-Type", "none")
        detail = f"Content-Type must be application/json, found {found[:80]}"
        raise ProblemError(Problem(415, detail, "content-type", headers={"Accept-Post": "application/json"}))
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, request.content_length or 0)
    try:
        return await request.read()
    except (web.RequestPayloadError, ConnectionError) as error:
        raise ProblemError(Problem(400, f"the body could not be read: {error}", "unreadable-body")) from error


def _is_json(content_type: str, header: str | None) -> bool:
    return header is not None and (content_type == "application/json" or content_type.endswith("+json"))


def _keyed(batch: Batch[Message], key: str) -> Batch[Message]:
    if batch.is_array:
        raise _bad_key("names one request, it cannot be sent with an array", key)
    if not is_name(key):
        raise _bad_key(f"must be {NAME_RULE}", key)
    message = batch.items[0]
    if isinstance(message, Problem):
        return batch
    if message.request_id not in (None, key):
        raise _bad_key(f"differs from the body's request_id {message.request_id}", key)
    return Batch((message.model_copy(update={"request_id": key}),), is_array=False)


def _bad_key(rule: str, key: str) -> ProblemError:
    return ProblemError(bad_fields((FieldFault(IDEMPOTENCY_KEY, rule, key[:80]),)))


def application(
    service: Service,
    traffic: Traffic,
    access: Access = LOCAL,
    tracer: Tracer | None = None,
    crew: Crew | None = None,
    fates: Fates = lambda: None,
) -> web.Application:
    """The web application of `service`: its routes, /health, /metrics, errors as problem+json, its headers.

    Where it is one of a `crew`, it tells of all of them.

    Who may not ask, by `access`, learns nothing of the service: neither its paths nor its headers. `tracer` begins a span
    for each request that does some work; None: they are passed on and not recorded. `fates` befall the answers in streams,
    where the service takes any.
    """
    tracer = tracer or PassingTracer()
    app = _application(service, service.routes(), traffic, access, tracer, crew)
    if isinstance(service, Streaming):
        streams = Streams(service, traffic, tracer, fates)
        app.router.add_get(PATH, partial(websocket.serve, streams), allow_head=False)
        app.on_shutdown.append(streams.close)
    return app


def about(service: Service, traffic: Traffic, access: Access = LOCAL) -> web.Application:
    """The web application that only tells of `service`: /health and /metrics."""
    return _application(service, (), traffic, access, PassingTracer(), None)


def _application(
    service: Service,
    routes: Sequence[web.RouteDef],
    traffic: Traffic,
    access: Access,
    tracer: Tracer,
    crew: Crew | None,
) -> web.Application:
    admitted = _admitted(service, traffic, Gate(access), tracer)
    app = web.Application(middlewares=[_problems, admitted], client_max_size=MAX_BODY_BYTES)
    app.add_routes(routes)
    app.router.add_get("/health", Wellbeing(service, crew, traffic).answer)
    app.router.add_get("/metrics", _metrics(service, crew))

    async def complete(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.pop("Server", None)  # versions are nobody's business
        if response.status not in REFUSED:
            response.headers.update(service.headers())
        if traffic.stopping:
            response.force_close()
            response.headers["Connection"] = "close"  # aiohttp has set this header, if at all, before this hook

    app.on_response_prepare.append(complete)
    return app


def _admitted(service: Service, traffic: Traffic, gate: Gate, tracer: Tracer) -> Any:
    heard = service.heard if isinstance(service, Listener) else None

    @web.middleware
    async def admitted(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = gate.refusal(request)
        if refusal is None:
            if heard is not None:
                heard(request)
            CURRENT.set(_span(request, tracer))
            if request.path == PATH:  # it lasts; what it carries counts
                return await handler(request)
            with traffic.request():
                return await handler(request)
        if gate.is_open(request):
            with traffic.request():
                response = await handler(request)
        else:
            gate.log(request, refusal)
            response = problem_response(refusal)
        response.force_close()  # a stranger keeps no connection
        return response

    return admitted


def _span(request: web.Request, tracer: Tracer) -> Span | None:
    """The span of `request`; None for looks at a service, unless who asks is in a trace."""
    parent = parent_of(request.headers)
    resource = request.match_info.route.resource
    route = "" if resource is None else resource.canonical
    if parent is None and (route in _LOOKS or (request.method == "GET" and route == "/sessions")):
        return None
    return tracer.begin(request.method, route, parent)


async def answered(request: Asked, handler: Handler) -> web.StreamResponse:
    """What `handler` answers to `request`, errors as problem+json; ends the span of the work."""
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
    except ProblemError as raised:
        response = problem_response(raised.problem)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = problem_response(from_http_error(error))
    except Exception:  # noqa: BLE001  the last line: whatever it was, it is logged and answered
        _log.exception("failed to answer", extra={"method": request.method, "path": request.path[:200]})
        response = problem_response(internal_error())
    finally:
        if (span := CURRENT.get()) is not None:
            span.end(None if response is None else response.status)
    return response


_problems = web.middleware(answered)


def internal_error() -> Problem:
    """500: a bug of ours; names the request that is being worked on, where there is one."""
    problem = Problem(500, "this service failed to answer; its log says why", "internal-error")
    return problem.about(request_id) if (request_id := REQUEST_ID.get()) else problem


class Wellbeing:
    """What is answered to `GET /health` of `service`, or of its whole `crew`."""

    def __init__(self, service: Service, crew: Crew | None, traffic: Traffic) -> None:
        self._service = service
        self._asked = service if crew is None else crew
        self._traffic = traffic
        self._began_s = time.monotonic()

    def now(self) -> tuple[int, Mapping[str, Any]]:
        """The status, 200 or 503, and what is said with it."""
        found = self._asked.health()
        status = "stopping" if self._traffic.stopping else found.status
        answer = {"status": status, "name": self._service.name, "role": self._service.role}
        uptime = {"uptime_s": round(time.monotonic() - self._began_s, 3)}
        well = status not in ("starting", "stopping", "degraded")
        return 200 if well else 503, {**answer, **uptime, **found.fields}

    async def answer(self, request: Asked) -> web.Response:
        """The same as an answer; 200 in any case where it is only asked whether anybody answers."""
        code, said = self.now()
        live = not isinstance(request, Whole) and LIVE in request.query
        return json_response(said, 200 if live else code)


def _metrics(service: Service, crew: Crew | None) -> Handler:
    async def metrics(request: web.Request) -> web.Response:
        if (found := service.health()).blank:
            detail = found.fields.get("detail", "it does not know its own figures yet")
            raise ProblemError(Problem(503, str(detail), found.fields.get("reason", "starting")))
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        figures = service.registry if crew is None else await crew.figures()
        return web.Response(body=encode(figures), headers={"Content-Type": content_type})

    return metrics
