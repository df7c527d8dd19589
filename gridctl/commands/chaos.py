"""`gridctl chaos`: break a running grid on purpose, under load, and say what that cost. Must not know how it is done."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config.errors import Fault, Invalid, NotReady
from gridctl.commands.options import file_option, json_option, name_option

if TYPE_CHECKING:
    from gridctl.chaos.census import Census
    from gridctl.chaos.result import Result
    from gridctl.chaos.storm import Storm
    from gridctl.chaos.timeline import Step, Target

DURATION = "60s"
EVERY = "2s"
RATE = "50"
#: After the last step of a storm whose end nobody says, its effects are watched for so long (wall seconds).
AFTERMATH_S = 5.0
INTERRUPTED = 130


@click.command(short_help="Break the grid on purpose, under load, and say what it cost.")
@click.argument("storm", required=False, metavar="[STORM]", type=click.Path(path_type=Path))
@click.option(
    "--duration", metavar="TIME", help="How long: 30s, 5m.  [default: 60s; with STORM: until 5s after its end]"
)
@click.option("--every", metavar="TIME", help="A fault each so often.  [default: 2s]")
@click.option("--kinds", metavar="KIND,…", help="Only these: kill, pause, slow, delay, drop, duplicate, restart.")
@click.option("--targets", metavar="NAME,…", help="Only these; patterns, supervisor and zygote too.  [default: all]")
@click.option("--rate", metavar="RATE", help="Requests a second, in wall time; 0: no load.  [default: 50]")
@click.option("--seed", type=int, metavar="N", help="The same seed does the same.  [default: random]")
@click.option("--dry-run", is_flag=True, help="Print what would be done; do nothing.")
@click.option("--example", is_flag=True, help="Print a storm to start from.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of storms, for editors.")
@name_option
@file_option
@json_option
def command(**options: Any) -> int:
    """Break the grid on purpose, under load, and say what it cost.

    Kills, freezes, slows and restarts processes at random, the supervisor too, and makes replies late, lost or double; or
    follows the timeline in the file STORM. All times are wall time. It touches the processes of this cluster only, and
    however it ends, it resumes all that it froze. At the end `gridctl audit` is asked: exit 4 when a promise was broken.
    """
    from gridctl.chaos.storm import EXAMPLE  # noqa: PLC0415 - only what a verb needs is imported
    from gridctl.chaos.storm import schema as storm_schema  # noqa: PLC0415

    if options["example"] or options["schema"]:
        click.echo(EXAMPLE.rstrip() if options["example"] else json.dumps(storm_schema(), indent=2))
        return 0
    return _chaos(options)


def _chaos(options: dict[str, Any]) -> int:
    from gridctl.chaos.storm import load  # noqa: PLC0415

    wish = _Wish(options)
    storm = None if options["storm"] is None else load(options["storm"])
    wish.check()
    census = _census(options)
    seed = options["seed"] if options["seed"] is not None else random.SystemRandom().randrange(1_000_000)
    duration_s = wish.duration_s(storm)
    steps = _steps(wish, storm, census.targets(), seed, duration_s)
    if options["dry_run"]:
        return _show_plan(steps, seed, options["as_json"])
    result = _run(census, steps, seed, wish.rate, duration_s)
    _show(result, options["as_json"])
    if result.interrupted:
        return INTERRUPTED
    if not result.ok:
        raise NotReady(*_complaint(result))
    return 0


class _Wish:
    """The flags as values; `check` raises Invalid with the fault of each that is wrong."""

    def __init__(self, options: dict[str, Any]) -> None:
        from gridctl.chaos.timeline import KINDS  # noqa: PLC0415
        from gridctl.loadtest.quantities import DURATION_RULE, RATE_RULE, duration_s, rate_per_s  # noqa: PLC0415

        self._faults: list[Fault] = []
        self._given_s = self._value(options, "duration", None, duration_s, DURATION_RULE)
        self.every_s = self._value(options, "every", EVERY, duration_s, DURATION_RULE)
        self.rate = self._value(options, "rate", RATE, rate_per_s, f"{RATE_RULE}; 0 for no load", least=0.0)
        self.kinds = _words(options["kinds"]) or list(KINDS)
        self.patterns = _words(options["targets"])
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            self._fault("kinds", ", ".join(unknown), ", ".join(KINDS))
        for flag in ("every", "kinds", "targets"):
            if options["storm"] is not None and options[flag] is not None:
                self._fault(flag, "given with a storm", "only without one: the file says what happens")

    def _value(
        self,
        options: dict[str, Any],
        flag: str,
        default: str | None,
        read: Callable[[str], float],
        rule: str,
        least: float = 0.001,
    ) -> float:
        text = options[flag] if options[flag] is not None else default
        if text is None:
            return math.nan
        try:
            value = read(text)
        except ValueError:
            value = math.nan
        if not value >= least:
            self._fault(flag, repr(text), rule)
        return value

    def _fault(self, flag: str, found: str, allowed: str) -> None:
        self._faults.append(Fault(f"--{flag}", 0, flag, found, allowed))

    def check(self) -> None:
        if self._faults:
            raise Invalid("these flags cannot be used", "see `gridctl chaos --help`", self._faults)

    def duration_s(self, storm: Storm | None) -> float:
        from gridctl.loadtest.quantities import duration_s  # noqa: PLC0415

        if not math.isnan(self._given_s):
            return self._given_s
        return duration_s(DURATION) if storm is None else storm.ends_s + AFTERMATH_S


def _words(text: str | None) -> list[str]:
    return [word for word in (part.strip() for part in (text or "").split(",")) if word]


def _census(options: dict[str, Any]) -> Census:
    from gridctl.chaos.census import Census  # noqa: PLC0415
    from gridctl.clusters import resolve  # noqa: PLC0415
    from gridctl.control import control_at  # noqa: PLC0415

    paths = resolve(options["name"], options["file"])
    census = Census(control_at(paths), paths)
    census.look()
    return census


def _steps(
    wish: _Wish, storm: Storm | None, targets: Sequence[Target], seed: int, duration_s: float
) -> tuple[Step, ...]:
    from gridctl.chaos.timeline import timeline  # noqa: PLC0415
    from gridctl.selection import select  # noqa: PLC0415

    if storm is not None:
        return tuple(step for step in storm.resolved(targets) if step.at_s < duration_s)
    chosen = set(select(wish.patterns or ["*"], [target.name for target in targets]))
    meant = [target for target in targets if target.name in chosen]
    steps = timeline(seed, wish.kinds, meant, duration_s, wish.every_s)
    if not steps and duration_s > wish.every_s:
        raise Invalid(
            f"{', '.join(wish.kinds)} cannot happen to {', '.join(sorted(chosen))}",
            "the supervisor and the zygote can be killed, paused and slowed only",
        )
    return steps


def _show_plan(steps: Sequence[Step], seed: int, as_json: bool) -> int:
    from gridctl.chaos.result import plan_rows, step_json  # noqa: PLC0415
    from gridctl.console import Column, print_table  # noqa: PLC0415

    if as_json:
        click.echo(json.dumps({"seed": seed, "steps": [step_json(step) for step in steps]}, indent=2))
        return 0
    print_table((Column("AT", "right"), Column("FAULT")), plan_rows(steps), sys.stdout)
    click.echo(f"seed {seed}: {len(steps)} faults; nothing was done")
    return 0


def _run(census: Census, steps: Sequence[Step], seed: int, rate: float, duration_s: float) -> Result:
    import asyncio  # noqa: PLC0415

    from gridctl.chaos.progress import Progress  # noqa: PLC0415
    from gridctl.chaos.run import Setup, run  # noqa: PLC0415

    progress = Progress(sys.stderr, duration_s)
    name = census.paths.name
    progress.say(f"{name}: {len(steps)} faults in {duration_s:g} s, {rate:g} requests a second, seed {seed}")
    return asyncio.run(run(Setup(steps, seed, rate, duration_s), census, progress))


def _show(result: Result, as_json: bool) -> None:
    from gridctl.chaos.result import COLUMNS  # noqa: PLC0415
    from gridctl.console import print_table  # noqa: PLC0415

    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
        return
    print_table(COLUMNS, result.rows(), sys.stdout)
    click.echo("\n".join(result.summary()))


def _complaint(result: Result) -> tuple[str, str]:
    if result.unwell:
        return f"not well again: {', '.join(result.unwell)}", "see: gridctl ps, gridctl logs"
    return f"the audit failed; the same again: --seed {result.seed}", "see: gridctl audit, gridctl logs"
