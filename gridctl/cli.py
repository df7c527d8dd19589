"""The `gridctl` command: finds the verb, runs it, and turns whatever went wrong into lines and an exit code.

Must not know what a verb does, and imports no command before it is called: `gridctl --help` reads the table below.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, shell_complete

from gridctl import __version__
from gridctl.failures import report_failure

if TYPE_CHECKING:
    from gridctl.unborn import Unborn

PROGRAM = "gridctl"
#: The variable by which a shell asks for completions; click's scripts name it.
COMPLETION_VARIABLE = "_GRIDCTL_COMPLETE"

#: verb → (module, one line of help), by section, in the order in which the help shows them.
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Grid": {
        "up": ("gridctl.commands.up", "Start the grid, or bring a running one to what its topology says."),
        "down": ("gridctl.commands.down", "Stop the grid."),
        "scale": ("gridctl.commands.scale", "Change how many substations there are: substations=N."),
        "plan": ("gridctl.commands.plan", "Show what `up` would change, and why."),
    },
    "Look": {
        "ls": ("gridctl.commands.ls", "List clusters."),
        "ps": ("gridctl.commands.ps", "List a cluster's processes."),
        "top": ("gridctl.commands.top", "Watch the grid live."),
        "logs": ("gridctl.commands.logs", "Show the logs of all processes in the order of time."),
        "policies": ("gridctl.commands.policies", "List the ways in which the balancer can choose a substation."),
        "explain": ("gridctl.commands.explain", "Say why a request went where it went."),
    },
    "Services": {
        "start": ("gridctl.commands.start", "Start stopped processes."),
        "stop": ("gridctl.commands.stop", "Stop processes; they stay down."),
        "restart": ("gridctl.commands.restart", "Stop and start processes, on request one after another."),
        "kill": ("gridctl.commands.kill", "Send processes a signal: a crash, from which they come back."),
        "pause": ("gridctl.commands.pause", "Freeze processes."),
        "unpause": ("gridctl.commands.unpause", "Let frozen processes go on."),
        "derate": ("gridctl.commands.derate", "Lower substations' limits while they run."),
        "serve": ("gridctl.commands.serve", "Run one service alone, in the foreground."),
    },
    "Load": {
        "loadtest": ("gridctl.commands.loadtest", "Send EVs and measure how well they are placed."),
        "audit": ("gridctl.commands.audit", "Prove that no promise was broken, or name who broke one."),
        "chaos": ("gridctl.commands.chaos", "Break the grid on purpose, under load, and say what it cost."),
    },
    "Files": {
        "topology": ("gridctl.commands.topology", "Write, check and show topology files."),
        "monitoring": ("gridctl.commands.monitoring", "Write what Prometheus, Alertmanager and Grafana need."),
        "compose": ("gridctl.commands.compose", "Write the cluster as files for Docker Compose."),
        "kubernetes": ("gridctl.commands.kubernetes", "Write the grid as Kubernetes objects."),
        "completion": ("gridctl.commands.completion", "Print the completion script of a shell."),
        "version": ("gridctl.commands.version", "Print the version."),
    },
}

#: verb → (module, one line of help).
VERBS = {verb: entry for verbs in SECTIONS.values() for verb, entry in verbs.items()}


class VerbGroup(click.Group):
    """A group that knows its verbs from `VERBS` and imports the module of the one that is called only."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        """Every verb, in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The verb's `command`, imported now; None when there is no such verb."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(VERBS[cmd_name][0]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{VERBS[cmd_name][0]}.command is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb and its arguments; UsageError that suggests the nearest verb when there is none of that name."""
        if args[0] in VERBS or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        import difflib  # noqa: PLC0415 - for a verb that there is not

        nearest = difflib.get_close_matches(args[0], VERBS, n=1)
        suggestion = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise click.UsageError(f"No such command {args[0]!r}.{suggestion}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """One block a section."""
        for section, verbs in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(verb, text) for verb, (_, text) in verbs.items()], col_max=12)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs that begin with `incomplete`, and the group's own options."""
        verbs = [CompletionItem(verb, help=text) for verb, (_, text) in VERBS.items() if verb.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=VerbGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="gridctl %(version)s")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Run a city's EV-charging grid on this machine: start it, watch it, load it, stop it."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(arguments: Sequence[str], unborn: Unborn | None = None) -> int:
    """Run `gridctl` with `arguments` and answer its exit code; whatever went wrong has been said on stderr.

    `unborn` may become a supervisor.
    """
    try:
        code = _invoke(arguments, unborn)
        sys.stdout.flush()
    except BaseException as failure:  # noqa: BLE001 - the one place where every end becomes an exit code
        return report_failure(failure, arguments)
    return code


def _invoke(arguments: Sequence[str], unborn: Unborn | None) -> int:
    """What `group.main` does, without its own ideas of Ctrl-C and closed pipes, which changed between versions."""
    if instruction := os.environ.get(COMPLETION_VARIABLE):
        return shell_complete(group, {}, PROGRAM, COMPLETION_VARIABLE, instruction)
    try:
        with group.make_context(PROGRAM, list(arguments), obj=unborn) as ctx:
            result = group.invoke(ctx)
    except click.exceptions.Exit as end:  # --help, --version
        return end.exit_code
    return result if isinstance(result, int) else 0
