"""`gridctl completion`: the script that makes a shell complete verbs, options, clusters and processes."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script of a shell.

    \b
    bash:  gridctl completion bash > ~/.local/share/bash-completion/completions/gridctl
    zsh:   gridctl completion zsh > "${fpath[1]}/_gridctl"
    fish:  gridctl completion fish > ~/.config/fish/completions/gridctl.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this click completes no {shell}", ctx)
    root = ctx.find_root()
    program = root.info_name or ""
    click.echo(kind(root.command, {}, program, f"_{program.upper()}_COMPLETE").source())
    return 0
