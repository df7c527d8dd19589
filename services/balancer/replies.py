"""A balancer's answers on their way out: over HTTP, in an array, on a stream. Must not know how they came about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import web

from config.problems import CONTENT_TYPE, Problem, whole_seconds
from monitoring.metrics import REFUSED
from services.balancer import refusals
from services.balancer.forwarding import Answer, Passed
from services.problem import json_response, problem_response, to_json
from services.stream.member import Member

#: What an answer counts as by its status; any other status is `failed`.
_OUTCOMES = {202: "accepted", 409: "conflict", 422: "invalid"}

#: Another balancer counts these.
_ELSEWHERE = frozenset({refusals.NOT_OWNER, refusals.MOVED})


def named(answer: Answer, request_id: str) -> Answer:
    """`answer` with the `request_id` where it refuses; that of a 202 says it anyway."""
    if isinstance(answer, Problem):
        return answer.about(request_id)
    if isinstance(answer, Passed) and answer.status >= 400:
        return replace(answer, body={**answer.body, "request_id": request_id})
    return answer


def response(answer: Answer, status: int) -> web.Response:
    """`answer` over HTTP; what is no problem has `status`."""
    if isinstance(answer, Problem):
        return problem_response(answer)
    if isinstance(answer, Passed):
        return _passed(answer)
    return json_response(answer, status)


def _passed(answer: Passed) -> web.Response:
    if answer.status < 400:
        return json_response(answer.body, answer.status)
    headers = {"Retry-After": wait} if (wait := _wait(answer)) else {}
    return web.Response(status=answer.status, body=to_json(answer.body), content_type=CONTENT_TYPE, headers=headers)


def _wait(answer: Passed) -> str:
    wait_s = answer.body.get("retry_after_s")
    return str(whole_seconds(wait_s)) if isinstance(wait_s, int | float) and answer.status >= 400 else ""


def outcome(answer: Answer) -> str:
    """What `balancer_requests_total{outcome}` and /health count `answer` as."""
    if isinstance(answer, Passed):
        return "forwarded"
    if not isinstance(answer, Problem):
        return "queued" if answer["response"]["status"] == "queued" else "accepted"
    if answer.reason in _ELSEWHERE:
        return "forwarded"
    return "refused" if answer.reason in REFUSED else _OUTCOMES.get(answer.status, "failed")


def element(answer: Answer) -> dict[str, Any]:
    """`answer` in an array."""
    if isinstance(answer, Problem):
        return {"status_code": answer.status, **answer.body()}
    if isinstance(answer, Passed):
        return {"status_code": answer.status, **answer.body}
    return {"status_code": 202, **answer}


def tell(member: Member, answer: Answer) -> None:
    """`answer` on a stream."""
    if isinstance(answer, Problem):
        member.refuse(answer)
    elif isinstance(answer, Passed):
        member.answer(answer.status, to_json(answer.body), _wait(answer))
    else:
        member.answer(202, to_json(answer))
