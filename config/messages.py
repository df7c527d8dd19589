"""The wire messages and how bytes become them; must not know HTTP or what a request is answered.

Numbers are strict: no strings, no booleans, nothing that is not finite.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, from_json

from config.names import NAME_PATTERN, NAME_RULE
from config.problems import FieldFault, Problem, bad_fields, not_json, too_large

#: At most this many requests in one array.
MAX_BATCH = 1_000
#: At most this many bytes of body.
MAX_BODY_BYTES = 1024**2
#: The statuses that a balancer answers with; any other says that one failed.
BALANCER_STATUSES = frozenset({200, 202, 404, 409, 422, 503, 504})

_FOUND_LIMIT = 80
_MOST_FAULTS = 20

RequestId = Annotated[str, Field(pattern=NAME_PATTERN, description=f"names the request: {NAME_RULE}")]
#: Power is held as whole watts, so a request draws at least one; at most 1 GW.
PowerKw = Annotated[float, Field(ge=0.001, le=1e6, allow_inf_nan=False)]
EnergyKwh = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
#: Grid seconds; at most about 31 years.
GridSeconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class ChargeRequest(BaseModel):
    """An EV that asks to charge, at `power_kw`, until the earliest of its energy, its duration and its departure.

    Durations are grid seconds. The same `request_id` again gives the same answer, never a second session.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    ev_id: Annotated[str, Field(min_length=1, max_length=128)]
    request_id: RequestId | None = None
    power_kw: PowerKw | None = None
    energy_kwh: EnergyKwh | None = None
    duration_s: GridSeconds | None = None
    departure_in_s: GridSeconds | None = None


class SubstationCharge(ChargeRequest):
    """What a substation takes: a charge request, and the `attempt` by which a balancer sends it (1 is the first)."""

    attempt: Annotated[int, Field(ge=1, le=10**9)] = 1


Message = TypeVar("Message", bound=ChargeRequest)


@dataclass(frozen=True, slots=True)
class Batch(Generic[Message]):
    """What a body held: one message or, where `is_array`, a list of them; a bad element is its Problem (422)."""

    items: tuple[Message | Problem, ...]
    is_array: bool


def read_batch(body: bytes, model: type[Message]) -> Batch[Message] | Problem:
    """The messages in `body`; a Problem where there is no JSON (400), or an array is too long (413)."""
    if not body.strip():
        return not_json("a JSON object (or an array of them) was expected, the body is empty")
    if body.lstrip()[:1] == b"[":
        return _read_array(body, model)
    item = read_message(body, model)
    if isinstance(item, Problem) and item.status == 400:
        return item
    return Batch((item,), is_array=False)


def read_message(body: bytes, model: type[Message]) -> Message | Problem:
    """The one message that `body` must be; a Problem where it is none (400, 422)."""
    try:  # as `model_validate_json`, of whose time two thirds go into passing its options on
        message: Message = model.__pydantic_validator__.validate_json(body)
    except ValidationError as invalid:
        return _problem(invalid, model)
    return message


def _read_array(body: bytes, model: type[Message]) -> Batch[Message] | Problem:
    try:
        elements = from_json(body)
    except ValueError as error:
        return not_json(f"the body is not JSON: {error}")
    if len(elements) > MAX_BATCH:
        return too_large(f"at most {MAX_BATCH} requests in one array, found {len(elements)}")
    return Batch(tuple(_check(element, model) for element in elements), is_array=True)


def _check(element: Any, model: type[Message]) -> Message | Problem:
    try:
        return model.model_validate(element)
    except ValidationError as invalid:
        return _problem(invalid, model)


def _problem(invalid: ValidationError, model: type[BaseModel]) -> Problem:
    details = invalid.errors(include_url=False, include_context=True)
    if details[0]["type"] == "json_invalid":
        return not_json(f"the body is not JSON: {details[0]['ctx']['error']}")
    return bad_fields(tuple(_fault(detail, model) for detail in details[:_MOST_FAULTS]))


def _fault(detail: ErrorDetails, model: type[BaseModel]) -> FieldFault:
    field = _shortened(".".join(str(part) for part in detail["loc"]))
    if detail["type"] == "missing":
        return FieldFault(field, "is required")
    if detail["type"] == "extra_forbidden":
        return FieldFault(field, _unknown(field, model), _found(detail["input"]))
    if not field:
        return FieldFault("", "a JSON object was expected", _found(detail["input"]))
    if detail["type"] == "string_pattern_mismatch":
        return FieldFault(field, f"must be {NAME_RULE}", _found(detail["input"]))
    return FieldFault(field, detail["msg"], _found(detail["input"]))


def _unknown(field: str, model: type[BaseModel]) -> str:
    near = difflib.get_close_matches(field, model.model_fields, n=1)
    return f"is not a known field{f'; did you mean {near[0]}?' if near else ''}"


def _found(value: Any) -> str:
    return _shortened(json.dumps(value, default=repr))


def _shortened(text: str) -> str:
    return text if len(text) <= _FOUND_LIMIT else f"{text[: _FOUND_LIMIT - 1]}…"
