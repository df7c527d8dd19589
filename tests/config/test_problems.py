"""Problems as RFC 9457 has them."""

from __future__ import annotations

import pytest

from config.problems import FieldFault, Problem, bad_fields, title, whole_seconds


def test_a_problem_without_a_reason_is_about_blank() -> None:
    assert Problem(404, "nothing here").body() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "nothing here",
    }


def test_a_refusal_says_when_exactly_and_in_whole_seconds() -> None:
    problem = Problem(503, "full", "substation-full", retry_after_s=1.2, headers={"X": "y"})
    assert problem.all_headers() == {"Retry-After": "2", "X": "y"}
    assert problem.body()["retry_after_s"] == 1.2
    assert problem.body()["type"] == "urn:problem-type:gridctl:substation-full"


def test_a_problem_is_about_one_request_and_keeps_the_rest() -> None:
    problem = Problem(503, "full", "grid-full", retry_after_s=1.2, extra={"earliest_end_in_s": None})
    assert problem.about("r1").body() == {**problem.body(), "request_id": "r1"}
    assert problem.about("r1").all_headers() == problem.all_headers()


@pytest.mark.parametrize(("exact_s", "whole"), [(0.0, 1), (0.01, 1), (1.0, 1), (1.001, 2), (30.0, 30)])
def test_retry_after_is_never_too_early(exact_s: float, whole: int) -> None:
    assert whole_seconds(exact_s) == whole


def test_bad_fields_are_named_once_each() -> None:
    problem = bad_fields((FieldFault("a", "x", "1"), FieldFault("a", "y"), FieldFault("", "z")))
    assert problem.detail == "bad request: a, body"
    assert problem.body()["errors"][0] == {"field": "a", "message": "x", "found": "1"}


def test_a_status_that_http_does_not_know() -> None:
    assert title(499) == "Error"
