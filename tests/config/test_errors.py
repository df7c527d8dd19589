"""The tree of expected errors: codes, and what each carries."""

import pytest

from config.errors import Fault, GridError, InUse, Invalid, NotReady, NotRunning


@pytest.mark.parametrize(("kind", "code"), [(GridError, 1), (Invalid, 2), (NotRunning, 3), (NotReady, 4), (InUse, 5)])
def test_exit_codes(kind: type[GridError], code: int) -> None:
    error = kind("found x", "do y")
    assert (error.exit_code, error.message, error.hint, str(error)) == (code, "found x", "do y", "found x")
    assert isinstance(error, GridError)


def test_a_fault_is_one_line() -> None:
    fault = Fault("grid.yaml", 3, "balancer.port", "0", "a whole number")
    assert str(fault) == "grid.yaml:3: balancer.port: found 0; allowed: a whole number"
    assert str(Fault("--policy", 0, "balancer.policy", "x", "y")) == "--policy: balancer.policy: found x; allowed: y"


def test_invalid_carries_its_faults() -> None:
    fault = Fault("f", 1, "k", "x", "y")
    assert Invalid("m", faults=[fault]).faults == (fault,)
    assert Invalid("m").faults == ()
