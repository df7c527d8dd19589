"""`--fail-if` expressions such as `overloads > 0` or `blocked_share > 1.1*erlang_b`; must not know how figures are made.

A condition is SUM COMPARISON SUM; a sum is made of numbers, keys of the result, + - * / and parentheses.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

EXAMPLE = "a condition such as 'overloads > 0', 'p99_ms > 50' or 'per_substation.substation1.share > 0.4'"

LONGEST = 200

#: What a condition may name beside `per_substation.<name>.accepted|share` and percentiles `p50_ms` … `p99.9_ms`.
PLACEMENT_KEYS = (
    "overloads",
    "peak_load_pct",
    "erlang_b",
    "avoidable_rejections",
    "excess",
    "spread",
    "spread_jsq",
    "blocked_pooled",
    "attempts_per_request",
)
KEYS = ("sent", "accepted", "refused", "failed", "queued", "blocked_share", *PLACEMENT_KEYS)
#: Of the load tester itself; `limited_by_tester` is 0 or 1.
KEYS_OF_TESTER = ("limited_by_tester", "late_share", "tester_cpu_share", "tester_cpu_us", "waited_for_connection")
KEYS_OF_TIME = ("max_ms", "late_ms", "latency_ms.p50", "latency_ms.p90", "latency_ms.p99", "latency_ms.max")

PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)_ms")
SUBSTATION = re.compile(r"per_substation\.([A-Za-z0-9_-][A-Za-z0-9._-]{0,63})\.(accepted|share)")

_TOKEN = re.compile(
    rf"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)(?![\w.])"
    rf"|(?P<key>{SUBSTATION.pattern}(?![\w.-])|{PERCENTILE.pattern}(?![\w.])|[A-Za-z_][\w.]*)"
    r"|(?P<sign>>=|<=|==|!=|[-+*/()<>]))"
)

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}

_SIGNS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}

Values = Callable[[str], float | None]


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it stands."""

    value: float

    def of(self, values: Values) -> float | None:  # noqa: ARG002 - every part of a sum is asked alike
        """The number."""
        return self.value


@dataclass(frozen=True, slots=True)
class Key:
    """A figure of the result, by name."""

    name: str

    def of(self, values: Values) -> float | None:
        """The figure; None where it could not be measured."""
        return values(self.name)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two parts and the sign between them."""

    sign: str
    left: Part
    right: Part

    def of(self, values: Values) -> float | None:
        """The result; None where a part is unknown, or divided by 0."""
        left, right = self.left.of(values), self.right.of(values)
        if left is None or right is None or (self.sign == "/" and right == 0):
            return None
        return _SIGNS[self.sign](left, right)


Part = Number | Key | Arithmetic


@dataclass(frozen=True, slots=True)
class Condition:
    """`text`, read."""

    text: str
    left: Part
    comparison: str
    right: Part

    def names(self) -> frozenset[str]:
        """Every figure that it names."""
        return frozenset(_keys(self.left)) | frozenset(_keys(self.right))

    def verdict(self, values: Values) -> str | None:
        """Why the run fails by this condition, or None. A figure that could not be measured fails it, too."""
        left, right = self.left.of(values), self.right.of(values)
        if left is None or right is None:
            unknown = sorted(key for key in self.names() if values(key) is None) or ["a division by 0"]
            return f"{self.text}: cannot be checked, unknown: {', '.join(unknown)}"
        if not _COMPARISONS[self.comparison](left, right):
            return None
        against = "" if isinstance(self.right, Number) else f" {self.comparison} {right:.6g}"
        return f"{self.text}: {left:.6g}{against}"


def _keys(part: Part) -> Iterator[str]:
    if isinstance(part, Key):
        yield part.name
    elif isinstance(part, Arithmetic):
        yield from _keys(part.left)
        yield from _keys(part.right)


def is_known(key: str) -> bool:
    """Whether a result can have a figure of this name."""
    return key in (*KEYS, *KEYS_OF_TESTER, *KEYS_OF_TIME) or bool(
        PERCENTILE.fullmatch(key) or SUBSTATION.fullmatch(key)
    )


def read(text: str) -> Condition:
    """The condition in `text`; ValueError that says what is wrong with it."""
    if len(text) > LONGEST:
        raise ValueError(f"at most {LONGEST} characters; {EXAMPLE}")
    parser = _Parser(text)
    left = parser.sum()
    comparison = parser.take()
    if comparison not in _COMPARISONS:
        raise ValueError(f"one of {' '.join(_COMPARISONS)} between two sides; {EXAMPLE}")
    condition = Condition(text.strip(), left, comparison, parser.sum())
    if parser.take():
        raise ValueError(f"a single comparison; {EXAMPLE}")
    unknown = sorted(key for key in condition.names() if not is_known(key))
    if unknown:
        known = ", ".join((*KEYS, "p50_ms … p99_ms", "max_ms", "per_substation.<name>.share", *KEYS_OF_TESTER))
        raise ValueError(f"known keys, not {', '.join(unknown)}: {known}")
    return condition


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))

    def _next(self) -> tuple[str, str]:
        return self._tokens[0] if self._tokens else ("", "")

    def take(self) -> str:
        return self._tokens.pop(0)[1] if self._tokens else ""

    def sum(self) -> Part:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Part:
        return self._chain(("*", "/"), self._atom)

    def _chain(self, signs: tuple[str, str], part: Callable[[], Part]) -> Part:
        left = part()
        while self._next()[1] in signs:
            sign = self.take()
            left = Arithmetic(sign, left, part())
        return left

    def _atom(self) -> Part:
        kind, _ = self._next()
        text = self.take()
        if kind == "number":
            return Number(float(text))
        if kind == "key":
            return Key(text)
        if text == "-":
            return Arithmetic("-", Number(0.0), self._atom())
        if text == "(":
            inner = self.sum()
            if self.take() == ")":
                return inner
            raise ValueError(f"a closing parenthesis; {EXAMPLE}")
        raise ValueError(EXAMPLE)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise ValueError(f"{EXAMPLE}; {text[at:].strip()!r} cannot be read")
        kind = next(name for name in ("number", "key", "sign") if match[name] is not None)
        yield kind, match[kind]
        at = match.end()


def failed(conditions: Iterable[Condition], values: Values) -> list[str]:
    """The verdict of every condition that holds (or cannot be checked); `values` gives a figure by its key."""
    return [verdict for condition in conditions if (verdict := condition.verdict(values))]
