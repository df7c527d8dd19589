"""What the tests of faults share: the faults of a text as plain tuples."""

from collections.abc import Callable

import pytest

from config.errors import Fault, Invalid
from config.loading import parse_topology


def faults_of(call: Callable[[], object]) -> tuple[Fault, ...]:
    """The faults of the `Invalid` that `call` raises."""
    with pytest.raises(Invalid) as caught:
        call()
    assert caught.value.exit_code == 2
    assert caught.value.faults
    return caught.value.faults


def invalid_of(call: Callable[[], object]) -> Invalid | None:
    """The `Invalid` that `call` raises, None when it raises nothing."""
    try:
        call()
    except Invalid as invalid:
        return invalid
    return None


def lines_and_keys(text: str) -> list[tuple[int, str]]:
    """Line and key of each fault in the topology `text`."""
    return [(fault.line, fault.key) for fault in faults_of(lambda: parse_topology(text, "grid.yaml"))]


def only_fault(text: str) -> Fault:
    """The one fault in the topology `text`."""
    (fault,) = faults_of(lambda: parse_topology(text, "grid.yaml"))
    return fault
