"""What no OpenAPI schema can say, for schemathesis: it loads this file by SCHEMATHESIS_HOOKS."""

from __future__ import annotations

from typing import Any

import schemathesis

KEY = "Idempotency-Key"


@schemathesis.hook
def before_call(_: Any, case: Any, __: Any) -> None:
    """Takes an `Idempotency-Key` that does not go with the body away, where cases are not filtered (chains of calls)."""
    if not _agrees(case):
        del case.headers[KEY]


@schemathesis.hook
def filter_case(_: Any, case: Any) -> bool:
    """Leaves out cases whose `Idempotency-Key` does not go with the body; test_service.py has them."""
    return _agrees(case)


def _agrees(case: Any) -> bool:
    key = (case.headers or {}).get(KEY)
    if key is None:
        return True
    return isinstance(case.body, dict) and case.body.get("request_id") in (None, key)
