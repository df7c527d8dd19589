"""Which processes a user's patterns mean; must not know what is done with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from config.errors import Invalid

#: How many known names an error spells out.
_NAMED = 10


def matches(pattern: str, name: str) -> bool:
    """Whether the glob `pattern` (`*`, `?`, `[…]`, case counts) means `name`."""
    return fnmatchcase(name, pattern)


def select(patterns: Sequence[str], names: Iterable[str], kind: str = "process") -> list[str]:
    """Those of `names`, in their order and each once, that any of `patterns` means; no pattern means none.

    Invalid when a pattern means nothing: it names all such patterns, the nearest names and the known ones.
    """
    known = list(dict.fromkeys(names))
    if unknown := [pattern for pattern in patterns if not any(matches(pattern, name) for name in known)]:
        raise _unknown(unknown, known, kind)
    return [name for name in known if any(matches(pattern, name) for pattern in patterns)]


def _unknown(patterns: Sequence[str], known: Sequence[str], kind: str) -> Invalid:
    import difflib  # noqa: PLC0415 - for a name that there is not

    nearest = [match for pattern in patterns for match in difflib.get_close_matches(pattern, known, n=1)]
    guess = f"did you mean {', '.join(dict.fromkeys(nearest))}? " if nearest else ""
    message = f"no {kind} {' and no '.join(map(repr, patterns))}"
    return Invalid(message, f"{guess}known: {known_names(known)}")


def known_names(names: Sequence[str]) -> str:
    """The names in one line, the middle of a long list left out."""
    if not names:
        return "none"
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMED - 1])}, … {names[-1]} ({len(names)} in all)"
