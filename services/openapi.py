"""The OpenAPI document of the charge-request service, from the models that it checks with. Knows no HTTP server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config.messages import MAX_BATCH, ChargeRequest
from config.problems import CONTENT_TYPE
from services.whole import IDEMPOTENCY_KEY

#: The version of the interface, not of the program.
VERSION = "1.0"

_SCHEMAS = "#/components/schemas"
_ACCEPTED = [{"$ref": f"{_SCHEMAS}/Started"}, {"$ref": f"{_SCHEMAS}/Queued"}]

#: Who is not let in is told so whatever was asked.
REFUSALS = {
    401: "There is a token, and the request does not bring it.",
    403: "There is no token, and `Host` or `Origin` is neither loopback nor among the allowed names.",
}
#: Every problem that a charge request may meet, by status: what it means.
PROBLEMS = {
    **REFUSALS,
    400: "The body is missing, is not JSON, or broke off.",
    409: "This EV charges or waits already under another `request_id`, or the `request_id` is another EV's, or is over.",
    413: f"The body is larger than 1 MiB, or an array longer than {MAX_BATCH:,}.",
    415: "The `Content-Type` is not `application/json`.",
    422: "Fields are wrong, each is named; or no substation can ever deliver this power.",
    503: "Nothing was started: every substation is full (`grid-full`), or nobody can be reached. `Retry-After` says when.",
    504: "Nobody answered in time. The same `request_id` may be sent again: it never starts a second session.",
}


#: Every problem that following or cancelling one may meet.
FOLLOWING_PROBLEMS = {
    **REFUSALS,
    404: "No such request is known, or it was over long ago.",
    422: "This is no `request_id`.",
    503: "Nobody could be asked, or told. `Retry-After` says when to try again.",
    504: "Nobody answered in time.",
}
CANCELLING_PROBLEMS = {**FOLLOWING_PROBLEMS, 409: "It charges where nobody can be told to end it."}


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document, JSON-able."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gridctl charge-request service",
            "version": VERSION,
            "description": "Asks a grid to charge an EV. Charging times are grid seconds, waiting times wall seconds.",
        },
        "paths": {
            "/charge": {"post": _charge("charge")},
            "/request-charge": {"post": _charge("requestCharge")},
            "/requests/{request_id}": {
                "parameters": [_request_id()],
                "get": _follow("follow", "Where a request is.", FOLLOWING_PROBLEMS),
                "delete": _follow("cancel", "Ends a request, waiting or charging.", CANCELLING_PROBLEMS),
            },
            "/health": {"get": _health()},
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _describe()},
        },
        "components": {
            "schemas": _schemas(),
            "headers": {"RetryAfter": _retry_after(), "Challenge": _challenge()},
            "securitySchemes": {"token": _token()},
        },
        "security": [{"token": []}, {}],
    }


def _charge(operation: str) -> dict[str, Any]:
    answers = {str(status): _problem(status, text) for status, text in sorted(PROBLEMS.items())}
    return {
        "operationId": operation,
        "summary": "Asks to charge one EV, or each of an array of EVs.",
        "parameters": [_idempotency_key()],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _body()}}},
        "responses": {
            "200": _json(
                "The array's answers in order, each with its own `status_code`.", {"$ref": f"{_SCHEMAS}/Answers"}
            ),
            "202": _json("The EV charges, or waits for its place.", {"oneOf": _ACCEPTED}),
            **answers,
        },
    }


def _follow(operation: str, summary: str, problems: Mapping[int, str]) -> dict[str, Any]:
    answers = {str(status): _problem(status, text) for status, text in sorted(problems.items())}
    found = _json("What became of it.", {"$ref": f"{_SCHEMAS}/Request"})
    return {"operationId": operation, "summary": summary, "responses": {"200": found, **answers}}


def _request_id() -> dict[str, Any]:
    schema = _without_null(_request_schema()["properties"]["request_id"])
    return {"name": "request_id", "in": "path", "required": True, "schema": schema}


def _body() -> dict[str, Any]:
    several = {
        "type": "array",
        "maxItems": MAX_BATCH,
        "items": {"description": "A ChargeRequest; anything else is answered 422 in its place, the others go on."},
    }
    return {"oneOf": [{"$ref": f"{_SCHEMAS}/ChargeRequest"}, several]}


def _idempotency_key() -> dict[str, Any]:
    return {
        "name": IDEMPOTENCY_KEY,
        "in": "header",
        "required": False,
        "description": "Sets a single request's `request_id`. 422 with an array, or where the body names another.",
        "schema": _without_null(_request_schema()["properties"]["request_id"]),
    }


def _problem(status: int, text: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": text,
        "content": {CONTENT_TYPE: {"schema": {"$ref": f"{_SCHEMAS}/Problem"}}},
    }
    if status in {503, 504}:
        answer["headers"] = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"$ref": "#/components/headers/Challenge"}}
    return answer


def _refusals() -> dict[str, Any]:
    return {str(status): _problem(status, text) for status, text in REFUSALS.items()}


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _retry_after() -> dict[str, Any]:
    return {
        "description": "Whole wall seconds, rounded up; exact in the body's `retry_after_s`.",
        "schema": {"type": "integer", "minimum": 1},
    }


def _challenge() -> dict[str, Any]:
    return {"description": "What is missing (RFC 6750).", "schema": {"type": "string"}}


def _token() -> dict[str, Any]:
    text = "The grid's token; demanded where the service was given one, which it must be to listen beyond loopback."
    return {"type": "http", "scheme": "bearer", "description": text}


def _health() -> dict[str, Any]:
    schema = {"$ref": f"{_SCHEMAS}/Health"}
    responses = {"200": _json("It answers requests.", schema), "503": _json("It is stopping.", schema)}
    responses |= _refusals()
    text = "With it (`/health?live`) the answer is 200 as long as there is one, whatever the status in it."
    live = {"name": "live", "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
    return {"operationId": "health", "summary": "How the service is.", "parameters": [live], "responses": responses}


def _metrics() -> dict[str, Any]:
    page = {"description": "A Prometheus page.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    responses = {"200": page, **_refusals()}
    return {"operationId": "metrics", "summary": "Its metrics, for Prometheus.", "responses": responses}


def _describe() -> dict[str, Any]:
    responses = {"200": _json("This document.", {"type": "object"}), **_refusals()}
    return {"operationId": "describe", "summary": "This document.", "responses": responses}


def _request_schema() -> dict[str, Any]:
    return ChargeRequest.model_json_schema(ref_template=f"{_SCHEMAS}/{{model}}")


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """What `schema` (of an optional field) holds when it is there."""
    (held,) = [option for option in schema["anyOf"] if option.get("type") != "null"]
    return dict(held)


def _schemas() -> dict[str, Any]:
    return {
        "ChargeRequest": _request_schema(),
        "Started": _started(),
        "Queued": _queued(),
        "Request": _request(),
        "Answers": {"type": "array", "maxItems": MAX_BATCH, "items": {"$ref": f"{_SCHEMAS}/Answer"}},
        "Answer": {
            "description": "What a single request would be answered, with its `status_code`.",
            "type": "object",
            "properties": {"status_code": {"type": "integer"}},
            "required": ["status_code"],
            "anyOf": [*_ACCEPTED, {"$ref": f"{_SCHEMAS}/Problem"}],
        },
        "Problem": _problem_schema(),
        "Health": {
            "type": "object",
            "properties": {
                "status": {"enum": ["ok", "stopping"]},
                "name": {"type": "string"},
                "role": {"const": "charge-request"},
                "uptime_s": {"type": "number", "minimum": 0},
                "requests_total": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
                "workers": {"type": "object", "additionalProperties": {"enum": ["ok", "silent"]}},
            },
            "required": ["status", "name", "role", "uptime_s"],
        },
    }


def _started() -> dict[str, Any]:
    response = {
        "type": "object",
        "properties": {"status": {"const": "charging started"}, "vehicle_id": {"type": "string"}},
        "required": ["status", "vehicle_id"],
    }
    return {
        "type": "object",
        "properties": {
            "response": response,
            "routed_to": {"type": "string", "description": "The substation's name."},
            "request_id": {"type": "string"},
            "ends_in_s": {"type": "number", "minimum": 0, "description": "Grid seconds until its planned end."},
        },
        "required": ["response", "routed_to", "request_id"],
    }


_NAMED = "Of the charge request, given or made; missing where that was not read."

_PLACE = {
    "position": {"type": "integer", "minimum": 1, "description": "1 is served next."},
    "eta_s": {
        "type": ["number", "null"],
        "minimum": 0,
        "description": "Wall seconds until it charges, by planned ends; null where they do not tell.",
    },
}


def _queued() -> dict[str, Any]:
    response = {
        "type": "object",
        "properties": {"status": {"const": "queued"}, "vehicle_id": {"type": "string"}},
        "required": ["status", "vehicle_id"],
    }
    properties = {"response": response, "request_id": {"type": "string"}, **_PLACE}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _request() -> dict[str, Any]:
    properties = {
        "request_id": {"type": "string"},
        "ev_id": {"type": "string"},
        "state": {"enum": ["queued", "charging", "ended", "cancelled", "dropped", "revoked"]},
        "reason": {"type": ["string", "null"], "description": "Why it was dropped: `departed`, `max-wait`, …"},
        "routed_to": {"type": "string", "description": "The substation where it charges, or did."},
        "attempt": {"type": "integer", "minimum": 1},
        "ends_in_s": {"type": "number", "minimum": 0, "description": "Grid seconds until its planned end."},
        **_PLACE,
    }
    return {"type": "object", "properties": properties, "required": ["request_id", "ev_id", "state"]}


def _problem_schema() -> dict[str, Any]:
    fault = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("field", "message", "found")},
        "required": ["field", "message"],
    }
    return {
        "type": "object",
        "description": "RFC 9457, with a `reason` for programs.",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "reason": {"type": "string"},
            "request_id": {"type": "string", "description": _NAMED},
            "errors": {"type": "array", "items": fault},
            "retry_after_s": {"type": "number", "minimum": 0},
            "earliest_end_in_s": {"type": ["number", "null"]},
            "arrived_s": {"type": "number", "description": "When it reached the balancer, Unix time; in a 503."},
            "refused_s": {"type": "number", "description": "When it was refused there, Unix time; in a 503."},
        },
        "required": ["type", "title", "status", "detail"],
    }
