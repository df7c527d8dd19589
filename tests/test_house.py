"""The house's own rules, where no linter has them: sizes, honest tests, one version, no path of anybody's machine."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gridctl import __version__

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("gridctl", "services", "monitoring", "config")
FILE_LINES = 300
FUNCTION_LINES = 40
#: A sleep in a test must say on its line why there is no condition to wait for: `# sleep: reason`.
SLEEP_REASON = re.compile(r"# sleep: \w+")
#: A test asserts, or expects an error, or calls something that does and is named so. A property test may also show that
#: nothing at all is raised.
CHECKS = re.compile(r"^_?(assert|check|expect|raises|warns|fail|validate|call_and_validate|match|verify)")
#: Where people keep their files; written so that this line does not match itself.
MACHINE_PATH = re.compile("|".join(f"/{folder}/" for folder in ("work", "root", "home/[a-z]+", "Users/[A-Za-z]+")))
TEXT = {".py", ".md", ".cfg", ".toml", ".yaml", ".yml", ".svg", ".json", ".csv", ""}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def calls(node: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call below `node`, with the dotted name of what is called."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call):
            yield ast.unparse(inner.func), inner


def at(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def own_lines(node: Function) -> int:
    """The length of a function without its decorators and its docstring: prose is free."""
    documented = ast.get_docstring(node) is not None
    first = node.body[0]
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def test_files_are_short() -> None:
    long = {
        at(path, 1): count for path in sources(*FLOORS) if (count := len(path.read_text().splitlines())) > FILE_LINES
    }
    assert not long, f"files have at most {FILE_LINES} lines: {long}"


def compiled() -> list[Path]:
    """The files that setup.cfg has mypyc compile. What of Python it makes something else of, the next tests forbid there."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    names = config["compiled"]["modules"].split()
    assert len(names) > 40, "what a request passes through"
    return [ROOT / (name.replace(".", "/") + ".py") for name in names]


def test_no_compiled_coroutine_awaits_while_an_exception_is_handled() -> None:
    """What mypyc makes of that loses the exception, or meets another task's (mypyc#1114)."""
    wrong = [at(path, line) for path in compiled() for line in _awaits(path)]
    assert not wrong, (
        f"no await in a `finally`, an `except`, an `async with` or `async for` of what is compiled: {wrong}"
    )


def _awaits(path: Path) -> Iterator[int]:
    """The lines of `path` on which something is awaited while an exception may be handled."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.AsyncWith | ast.AsyncFor):
            yield node.lineno
        elif isinstance(node, ast.Try):
            handling = [*node.finalbody, *(each for handler in node.handlers for each in handler.body)]
            yield from (found.lineno for each in handling for found in ast.walk(each) if isinstance(found, ast.Await))


def test_no_compiled_finally_reads_what_its_try_sets() -> None:
    """It is compiled for the type that this has where all went well: where not, a TypeError takes the exception's place."""
    wrong = [at(path, line) for path in compiled() for line in _reads_what_was_set(path)]
    assert not wrong, f"instead: `except BaseException: …; raise`, and the same again after it: {wrong}"


def _reads_what_was_set(path: Path) -> Iterator[int]:
    """The lines on which a `finally` that only its own `try` leads to reads a name that this sets."""
    for function in functions(path):
        anything = {
            ast.unparse(node.target)
            for node in ast.walk(function)
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "Any"
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Try) and not node.handlers and not isinstance(node.body[-1], ast.Return):
                names = {name for each in node.body for name, _ in _places(each, ast.Store)} - anything
                yield from (line for each in node.finalbody for name, line in _places(each, ast.Load) if name in names)


def _places(node: ast.AST, how: type[ast.expr_context]) -> Iterator[tuple[str, int]]:
    """Each variable and attribute that is read or set below `node`, with its line."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name | ast.Attribute) and isinstance(inner.ctx, how):
            yield ast.unparse(inner), inner.lineno


def test_no_compiled_function_asks_for_an_attribute_that_it_set_to_none() -> None:
    """mypy takes it for None still, whatever was called meanwhile and set it; what is compiled insists on that."""
    wrong = [at(path, line) for path in compiled() for line in _reads_what_was_none(path)]
    assert not wrong, f"let a method of its own set it to None: {wrong}"


def _reads_what_was_none(path: Path) -> Iterator[int]:
    """The lines on which a function reads an attribute that a line above sets to None."""
    for function in functions(path):
        none = {
            ast.unparse(target): node.lineno
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is None
            for target in node.targets
            if isinstance(target, ast.Attribute)
        }
        yield from (line for name, line in _places(function, ast.Load) if line > none.get(name, line))


def test_what_is_compiled_is_extended_by_what_is_compiled_only() -> None:
    """An object of another class cannot even be made; tests that do it nevertheless are marked `interpreted`."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in compiled()}
    wrong = [
        at(path, node.lineno)
        for path in set(sources(*FLOORS, "benchmarks")) - set(compiled())
        for node in _heirs(ast.parse(path.read_text()), names)
    ]
    assert not wrong, f"to be compiled too, or to be written without that base: {wrong}"


def _heirs(tree: ast.AST, modules: set[str]) -> Iterator[ast.ClassDef]:
    """The classes in `tree` that extend one which was imported from one of `modules`."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module in modules]
    names = {each.asname or each.name for node in imports for each in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and {ast.unparse(base).partition("[")[0] for base in node.bases} & names:
            yield node


def test_functions_are_short() -> None:
    long = [
        at(path, node.lineno)
        for path in sources(*FLOORS)
        for node in functions(path)
        if own_lines(node) > FUNCTION_LINES
    ]
    assert not long, f"functions have at most {FUNCTION_LINES} lines: {long}"


def test_no_test_sleeps_instead_of_waiting() -> None:
    found = []
    for path in sources("tests"):
        lines = path.read_text().splitlines()
        tree = ast.parse("\n".join(lines))
        polling = {call for loop in ast.walk(tree) if _asks(loop) for _, call in calls(loop)}
        for name, call in calls(tree):
            sleeps = name in {"time.sleep", "asyncio.sleep", "sleep"} and not _yields_only(call)
            if sleeps and call not in polling and not SLEEP_REASON.search(lines[call.lineno - 1]):
                found.append(at(path, call.lineno))
    assert not found, f"wait for the condition, or say why not (`# sleep: reason`): {found}"


def _asks(node: ast.AST) -> bool:
    """Whether it is a loop that goes on until a condition holds."""
    return isinstance(node, ast.While) and not isinstance(node.test, ast.Constant)


def _yields_only(call: ast.Call) -> bool:
    return [ast.unparse(argument) for argument in call.args] == ["0"]


def test_no_mocks_and_no_patching() -> None:
    forbidden = re.compile(r"unittest.mock|import_module\(.mock|monkeypatch\.(setattr|setitem)|\bmocker\b")
    found = [
        at(path, number)
        for path in sources("tests")
        if path.name != Path(__file__).name
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if forbidden.search(line)
    ]
    assert not found, f"pass a fake in instead: {found}"


def test_every_test_checks_something() -> None:
    silent = []
    for path in sources("tests"):
        inside = list(functions(path))
        asserting = {node.name for node in inside if _asserts(node)}
        tests = [node for node in inside if node.name.startswith("test_") and path.name.startswith("test_")]
        silent += [at(path, node.lineno) for node in tests if not _checks(node, asserting)]
    assert not silent, f"these tests assert nothing: {silent}"


def _asserts(node: Function) -> bool:
    return any(isinstance(inner, ast.Assert) for inner in ast.walk(node))


def _checks(node: Function, asserting: set[str]) -> bool:
    """Whether it asserts, itself or by a function of its file."""
    if any(ast.unparse(decorator).startswith("given(") for decorator in node.decorator_list):
        return True
    names = {name.split(".")[-1] for name, _ in calls(node)}
    return _asserts(node) or bool(names & asserting) or any(CHECKS.match(name) for name in names)


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in sources("tests")}
    bare = [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()]
    assert not bare, f"without __init__.py they would hide the packages they are named after: {bare}"


def test_every_folder_of_sources_is_a_package() -> None:
    folders = {path.parent for path in sources(*FLOORS)}
    bare = [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()]
    assert not bare, f"without __init__.py an ordinary installation leaves them out: {bare}"


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    folders = [*FLOORS, "tests", "docs", "benchmarks", ".ci"]
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXT]
    found = [
        at(path, number)
        for path in files
        if path.suffix in TEXT and not path.name.startswith(".coverage")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert not found, f"paths of one machine: {found}"


def test_there_is_one_version() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == __version__
    assert (
        f"[{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
        or "[Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
    )


def test_nothing_we_write_installs_from_a_package_index() -> None:
    """The name `gridctl` there is not ours."""
    command = re.compile(r"(pip|pipx|uv tool) install (-\S+ )*['\"]?gridctl")
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *sources(*FLOORS)]
    assert not [at(path, 1) for path in texts if command.search(path.read_text())]


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/design.md"])
def test_the_house_is_complete(name: str) -> None:
    assert (ROOT / name).read_text().strip()
