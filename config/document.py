"""A YAML file as a graph of nodes that know their lines; must not know what a topology is.

Every way in which a file cannot be read ends here in one `Invalid` with one `Fault`. PyYAML is imported only when a
file is read: verbs that find no file do not pay for it.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.errors import Fault, Invalid

if TYPE_CHECKING:
    from yaml import MarkedYAMLError, Node

#: Ten thousand substations, each with every key, take about 2 MB.
MAX_BYTES = 4 * 1024 * 1024
#: A topology is three deep. PyYAML recurses, so a file must not choose the depth.
MAX_DEPTH = 20

#: What YAML 1.1 (§5.1) does not allow in a file at all. To compile what it does allow takes ten times as long.
_NOT_YAML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")

#: What a file must be; who reads another kind of file puts its own words in place of these.
RULE = "a topology in YAML; `gridctl topology init` writes one to start from"


def read_text(path: Path) -> str:
    """The text of the regular file `path`; Invalid where it is missing, unreadable, too large or not UTF-8."""
    where = str(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
            raise broken(where, 0, "(file)", kind, "a regular file, for it is read again whenever it changed")
        if status.st_size > MAX_BYTES:
            raise broken(where, 0, "(file)", f"{status.st_size} bytes", f"at most {MAX_BYTES} bytes")
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise broken(where, 0, "(file)", reason.lower(), f"a file that can be read, {RULE}") from error
    except ValueError as error:  # a NUL character in the path
        raise broken(repr(where), 0, "(file)", str(error), "the path of a file") from error
    return _decoded(content, where)


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x}, which is not UTF-8"
        raise broken(where, line, "(file)", found, "text in UTF-8; save the file again in that encoding") from error


def compose(text: str, where: str) -> Node | None:
    """The root node of the one YAML document in `text`, None when it holds nothing; Invalid (with the line) otherwise.

    Aliases are nodes that occur twice: whoever walks the graph must bound the walk.
    """
    import yaml  # noqa: PLC0415

    if control := _NOT_YAML.search(text):
        line = text.count("\n", 0, control.start()) + 1
        found = f"the character U+{ord(control[0]):04X}"
        raise broken(where, line, "(yaml)", found, "printable characters, spaces and line ends")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_depth(yaml.parse(text, loader), where)
        node: Node | None = yaml.compose(text, loader)
    except yaml.MarkedYAMLError as error:
        raise _marked(error, text, where) from error
    return node


def _check_depth(events: Any, where: str) -> None:
    import yaml  # noqa: PLC0415

    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            found = f"more than {MAX_DEPTH} levels of nesting"
            raise broken(where, event.start_mark.line + 1, "(yaml)", found, f"at most {MAX_DEPTH} levels")


def _marked(error: MarkedYAMLError, text: str, where: str) -> Invalid:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 0
    lines = text.splitlines()
    here = lines[line - 1] if 0 < line <= len(lines) else ""
    if "\t" in here[: len(here) - len(here.lstrip())] or "'\\t'" in (error.problem or ""):
        return broken(where, line, "(yaml)", "a tab where the line is indented", "spaces, two for each level")
    if "single document" in (error.context or ""):
        return broken(where, line, "(yaml)", "a second document after `---`", "one document in a file")
    problem = " ".join(part for part in (error.context, error.problem) if part)
    if error.context_mark is not None and error.context_mark.line + 1 != line:
        problem += f"; it began on line {error.context_mark.line + 1}"
    return broken(where, line, "(yaml)", f"broken YAML ({problem})", RULE)


def broken(where: str, line: int, key: str, found: str, allowed: str) -> Invalid:
    """The error for a file of which nothing else can be said."""
    fault = Fault(where, line, key, found, allowed)
    return Invalid(f"{where} cannot be read as a topology", "Nothing was changed.", (fault,))
