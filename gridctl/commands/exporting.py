"""What all exports have in common: their options, `--check`, and telling what was done. Must not know what is rendered."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gridctl.commands.options import Command, declaration_options, file_option, name_option

if TYPE_CHECKING:
    from gridctl.export.folder import File, Outcome


class Folder(click.Path):
    """The path of a folder; an empty one is a variable that is not set, and not the current folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; a usage error where nothing is named."""
        if not os.fspath(value):
            self.fail("an empty name is no folder; a variable that is not set? The folder here is `.`", param, ctx)
        return super().convert(value, param, ctx)


def output_option(**more: Any) -> Callable[[Command], Command]:
    """`-o DIR`: `output: Path`."""
    return click.option("-o", "--output", type=Folder(), metavar="DIR", **more)


def export_options(*own: Callable[[Command], Command], **output: Any) -> Callable[[Command], Command]:
    """What every export takes, with its `own` options among them: where to (see `output_option`), what, and how."""
    options: tuple[Callable[[Command], Command], ...]
    options = (output_option(**output), file_option, declaration_options, *own, writing_options, name_option)

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def writing_options(command: Command) -> Command:
    """`--force` and `--check`: `force: bool`, `check: bool`."""
    for option in (
        click.option("--check", is_flag=True, help="Write nothing; exit 4 unless the files there are current."),
        click.option(
            "--force",
            is_flag=True,
            help="Overwrite files that no export wrote, or that were edited since; remove those of another kind of export.",
        ),
    ):
        command = option(command)
    return command


def finish(
    kind: str, output: Path, files: Sequence[File], *, force: bool, check: bool, first: str | None = None
) -> int:
    """Write `files`, or compare them (`check`), and say what came of it; the exit code.

    `kind` is the export as it is typed, which the folder remembers. `first` is what to type before README.md is read.
    """
    from gridctl.export.folder import require_current, write  # noqa: PLC0415 - only when needed

    if check:
        require_current(output, files, kind=kind)
        click.echo(f"{output} is current")
        return 0
    tell(output, write(output, files, kind=kind, force=force), first)
    return 0


def tell(output: Path, outcome: Outcome, first: str | None = None) -> None:
    """What was written, what was removed and what was left alone, and what comes next."""
    from gridctl.export.folder import listing  # noqa: PLC0415

    done = {"written": outcome.written, "unchanged": outcome.unchanged, "removed": outcome.removed}
    click.echo(f"{output}: {', '.join(f'{len(paths)} {word}' for word, paths in done.items() if paths)}")
    if outcome.removed:
        click.echo(f"removed, because they are exported no more: {listing(outcome.removed)}")
    if outcome.kept:
        click.echo(f"kept, because they were edited: {listing(outcome.kept)}")
    if first is not None:
        click.echo(f"next: {first}")
    click.echo(f"{output / 'README.md'} says how to go on")
