"""`gridctl loadtest`: reads the flags, runs the scenario, prints the result. Must not know HTTP."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config.access import read_token
from config.errors import Fault, GridError, Invalid, NotReady
from gridctl.commands.options import file_option, json_option, name_option
from gridctl.control import control_of
from gridctl.loadtest import scenario, thresholds
from gridctl.loadtest.profiles import PROFILES
from gridctl.loadtest.scenario import Flags, Plan
from gridctl.loadtest.thresholds import Condition

if TYPE_CHECKING:
    from gridctl.audit import Verdict
    from gridctl.loadtest.arrivals import Order
    from gridctl.loadtest.client import Outcome
    from gridctl.loadtest.progress import Progress
    from gridctl.loadtest.result import Result
    from gridctl.loadtest.run import Sending
    from gridctl.loadtest.setup import Setup
    from gridctl.loadtest.target import Target
    from gridctl.state import ClusterPaths

INTERRUPTED = 130
TIMEOUT_S = 12.0
MOST_WORKERS = 64


@click.command("loadtest")
@click.option("--rate", metavar="RATE", help="EVs a second: 0.5, 30/m, 1800/h.  [default: 0.5]")
@click.option("--duration", metavar="TIME", help="How long EVs arrive: 30s, 5m, 1h30m.  [default: 5m]")
@click.option("--stages", metavar="STAGES", help="Rates over time: 0.5:60s,2:5m,0.5..3:10m (the last one a ramp).")
@click.option(
    "--arrivals",
    type=click.Choice(["uniform", "poisson"]),
    default="uniform",
    show_default=True,
    help="Evenly spaced, or independent of each other.",
)
@click.option("--burst", type=int, metavar="N", help="N EVs at once; with --rate, --stages … in addition.")
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    help="A real day's hours, energies and connected times; --rate is the mean over the day.",
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Recorded sessions: session_id,site,arrival,departure,energy_kwh,max_power_kw.",
)
@click.option(
    "--speed",
    type=float,
    metavar="K",
    help="Trace seconds per wall second of --replay.  [default: the cluster's time_scale]",
)
@click.option("--from", "start", metavar="TIME", help="Play what arrives from HH:MM or an ISO moment on.")
@click.option("--until", "end", metavar="TIME", help="… and before this one.")
@click.option("--fold-days", is_flag=True, help="Lay all days of --replay over each other.")
@click.option("--wall", is_flag=True, help="Rates and times are wall time, not the grid's.")
@click.option("--seed", type=int, metavar="N", help="The same seed gives the same arrivals.  [default: random]")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long a client waits for its answer, in wall time.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=1,
    show_default=True,
    metavar="N",
    help="Send from so many processes, each its share: where one cannot keep up (the summary says so).",
)
@click.option("--target", "url", metavar="URL", help="Load this server (POST /charge) in place of a cluster.")
@click.option("--time-scale", type=float, metavar="S", help="Grid seconds per wall second of --target.  [default: 1]")
@click.option(
    "--fail-if",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="Exit 4 when it holds: 'overloads > 0', 'p99_ms > 50'. Repeatable.",
)
@click.option(
    "--audit", is_flag=True, help="Audit the cluster at the end, with what these EVs were told; exit 4 if it fails."
)
@click.option("-v", "--verbose", is_flag=True, help="Print a line a request.")
@name_option
@file_option
@json_option
def command(**options: Any) -> int:
    """Send EVs to the grid and measure how well they are placed.

    EVs arrive when the scenario says, whether earlier ones were answered or not; latency counts from that moment.
    Rates and times are grid time: a cluster with time_scale 10 plays the same scenario ten times as fast.
    A --target is brought the token in GRIDCTL_TOKEN, or in the file that GRIDCTL_TOKEN_FILE names.
    """
    return _loadtest(options)


def _loadtest(options: dict[str, Any]) -> int:
    from gridctl.loadtest.setup import Setup  # noqa: PLC0415 - not for --help, nor to refuse a flag
    from gridctl.loadtest.summary import lines  # noqa: PLC0415

    plan, conditions = _read(options)
    token = read_token(os.environ) if options["url"] is not None else None  # a cluster here has none
    target, again = _target(options)
    _check_names(conditions, target)
    seed = options["seed"] if options["seed"] is not None else random.SystemRandom().randrange(1_000_000)
    planned = plan.scenario(target.time_scale, seed)
    result = _run(Setup(planned, target, seed, options["timeout"], again, token), options)
    if options["audit"] and target.paths is not None:
        result = replace(result, audit=_audit(result, target.paths))
    if options["as_json"]:
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        click.echo("\n".join(lines(result)))
    return _verdict(result, conditions)


def _read(options: dict[str, Any]) -> tuple[Plan, list[Condition]]:
    """The scenario and the conditions; Invalid with the faults of both."""
    faults: list[Fault] = []
    conditions = []
    for text in options["conditions"]:
        try:
            conditions.append(thresholds.read(text))
        except ValueError as error:
            faults.append(Fault("--fail-if", 0, "fail-if", repr(text), str(error)))
    if options["time_scale"] is not None and (options["url"] is None or not 0 < options["time_scale"] < float("inf")):
        allowed = "a number above 0, with --target: a cluster has its own"
        faults.append(Fault("--time-scale", 0, "time-scale", str(options["time_scale"]), allowed))
    if options["audit"] and options["url"] is not None:
        faults.append(Fault("--audit", 0, "audit", "given with --target", "only with a cluster: it has the records"))
    if options["url"] is not None and not _is_address(options["url"]):
        faults.append(Fault("--target", 0, "target", repr(options["url"]), "a URL such as http://127.0.0.1:8080"))
    try:
        plan = scenario.read(_flags(options))
    except Invalid as invalid:
        raise Invalid(invalid.message, invalid.hint, [*invalid.faults, *faults]) from invalid
    if faults:
        raise Invalid("these flags cannot be used", "see `gridctl loadtest --help`", faults)
    return plan, conditions


def _is_address(url: str) -> bool:
    """Whether a client can be told to go there."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - only for --target

    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        return parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except ValueError:  # a port or a name that cannot be
        return False


def _flags(options: dict[str, Any]) -> Flags:
    return Flags(**{field: options[field] for field in Flags.__dataclass_fields__})


def _target(options: dict[str, Any]) -> tuple[Target, Callable[[], Target]]:
    """What is loaded, and how to ask what it is later."""
    from gridctl.loadtest.target import from_snapshot, from_url  # noqa: PLC0415

    if options["url"] is not None:
        server = from_url(options["url"], options["time_scale"] or 1.0)
        return server, lambda: server
    control = control_of(options["name"], options["file"])
    return from_snapshot(control.snapshot()), lambda: from_snapshot(control.snapshot())


def _check_names(conditions: list[Condition], target: Target) -> None:
    """Invalid where a condition names a substation that is not there, or what --target cannot measure."""
    faults = []
    for condition in conditions:
        for key in sorted(condition.names()):
            match = thresholds.SUBSTATION.fullmatch(key)
            if match and target.names and match[1] not in target.names:
                faults.append(Fault("--fail-if", 0, key, condition.text, ", ".join(target.names)))
            elif key in thresholds.PLACEMENT_KEYS and not target.substations:
                allowed = "without records of substations (--target) only counts, shares and latencies"
                faults.append(Fault("--fail-if", 0, key, condition.text, allowed))
    if faults:
        raise Invalid("these conditions cannot be checked", "see `gridctl loadtest --help`", faults)


def _run(setup: Setup, options: dict[str, Any]) -> Result:
    from gridctl.loadtest.progress import Silent, progress  # noqa: PLC0415
    from gridctl.loadtest.sending import Sender  # noqa: PLC0415

    planned = setup.scenario
    # a line a request is progress enough
    shown = Silent(sys.stderr) if options["verbose"] else progress(sys.stderr, planned.expected, planned.duration_s)
    report = _reporter(options["as_json"]) if options["verbose"] else _nothing
    if options["workers"] == 1:
        return _sent(setup, shown, lambda: Sender(setup, report))

    from gridctl.loadtest.crew import Crew  # noqa: PLC0415 - multiprocessing

    with Crew(setup, options["workers"], report, shown.say) as crew:
        return _sent(setup, shown, lambda: crew)


def _sent(setup: Setup, shown: Progress, sending: Callable[[], Sending]) -> Result:
    import uvloop  # noqa: PLC0415

    from gridctl.loadtest.run import run  # noqa: PLC0415

    return uvloop.run(run(setup, shown, sending))


def _audit(result: Result, paths: ClusterPaths) -> Verdict:
    """The audit's verdict, with what the clients of this run were told."""
    from gridctl import audit  # noqa: PLC0415 - SQLite and journals: only with --audit

    answered = [
        audit.Answered(asked.request_id, asked.answered_s, asked.substation)
        for asked in result.asked
        if asked.kind == "accepted"
    ]
    return audit.run(paths, answered)


def _nothing(_order: Order, _outcome: Outcome, _latency_s: float) -> None: ...


def _reporter(as_json: bool) -> Callable[[Order, Outcome, float], None]:
    """Prints `[SENT] {'ev_id': 'EV9768'} -> 202: {…} in 3.1 ms, trace 4bf9…`; on stderr if stdout has the document."""

    def report(order: Order, outcome: Outcome, latency_s: float) -> None:
        said = outcome.reason if outcome.status is None else f"{outcome.status}: {outcome.answer}"
        found = f"in {1000 * latency_s:.1f} ms, trace {order.trace_id}"
        click.echo(f"[SENT] {dict(order.body)} -> {said} {found}", err=as_json)

    return report


def _verdict(result: Result, conditions: list[Condition]) -> int:
    if result.interrupted:
        return INTERRUPTED
    if failed := thresholds.failed(conditions, result.value):
        raise NotReady("\n".join(f"threshold failed: {verdict}" for verdict in failed))
    if result.audit is not None:
        result.audit.check()
    if result.tally.sent and result.tally.failed == result.tally.sent:
        reason, _ = result.tally.failures.most_common(1)[0]
        raise GridError(
            f"every one of {result.tally.sent} requests failed, mostly: {reason}", "see gridctl ps, gridctl logs"
        )
    return 0
