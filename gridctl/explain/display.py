"""The story of a request as lines for a reader. Must not know where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from gridctl.console import Cell, Column, plain_table
from gridctl.explain.story import Doubt, Revocation, Stay, Story, Wait

_COLUMNS = (
    Column(""),
    Column("SUBSTATION"),
    Column("SESSIONS", "right"),
    Column("KW", "right"),
    Column("LOAD", "right"),
    Column("RANK"),
    Column("REPORT AGE", "right"),
)

#: What a try's result means, by the words of `balancer_attempts_total`.
_RESULTS = {
    "accepted": "it took the session",
    "full": "it had no room",
    "closed": "it took nothing just then",
    "never": "it could never take this",
    "taken": "the id belongs to another EV there",
    "revoked": "this attempt had been revoked there",
    "unreachable": "it could not be connected to: nothing was sent",
    "unknown": "no answer: nobody knew whether it had begun",
}


def lines(story: Story) -> Iterator[str]:
    """All that is known, in the order in which it happened."""
    yield f"request {story.request_id}"
    policies = {ring.balancer: ring.policy for ring in story.rings}
    for decision in story.decisions:
        yield ""
        yield from _decision(decision, policies.get(decision["balancer"]))
    if story.forgotten:
        yield from _forgotten(story)
    yield from _part("Queue", [_wait(wait) for wait in story.waits])
    yield from _part("Sessions", [_stay(stay) for stay in story.stays])
    yield from _part("Revocations", [_revocation(each) for each in story.revocations])
    yield from _part("Unknown to this day", [_doubt(each) for each in story.doubts])
    yield from _part("Log", [_record(record) for record in story.log])
    yield from _part("Could not be asked", [f"{ring.balancer} {ring.silent}" for ring in story.rings if ring.silent])
    yield from _part("Could not be read", story.notes)


def _part(heading: str, rows: Sequence[str]) -> Iterator[str]:
    if rows:
        yield ""
        yield f"{heading}:"
        yield from (f"  {row}" for row in rows)


def _decision(decision: Mapping[str, Any], policy: str | None) -> Iterator[str]:
    took = "" if decision["took_s"] is None else f", in {1000 * decision['took_s']:.1f} ms"
    by = f" by {policy}" if policy else ""
    yield (
        f"{moment(decision['began_s'])}  {decision['balancer']} placed {decision['ev_id']}"
        f" ({decision['power_kw']:g} kW){by}{took}"
    )
    if decision["rounds_left_out"]:
        yield f"  … {decision['rounds_left_out']} earlier rounds are not remembered"
    for number, made in enumerate(decision["rounds"], decision["rounds_left_out"] + 1):
        yield from (f"  {line}" for line in _round(made, number))
    yield f"  → {_outcome(decision['outcome'])}"


def _round(made: Mapping[str, Any], number: int) -> Iterator[str]:
    chosen = made["chosen"]
    if chosen is None:
        yield f"{number}. nobody was left to be asked; the balancer believed:"
    else:
        yield f"{number}. {chosen} of {made['count']}: {why(made)}"
    rows = [_candidate(each, each["substation"] == chosen) for each in made["candidates"]]
    yield from (f"   {line}" for line in (plain_table(_COLUMNS, rows) if rows else []))
    hidden = made["count"] - len(made["candidates"])
    if hidden > 0:
        yield f"   … and {hidden} more"
    for tried in made["tries"]:
        meaning = _RESULTS.get(tried["result"], tried["result"])
        detail = f" ({tried['detail']})" if tried["detail"] else ""
        yield f"   attempt {tried['attempt']}: {tried['result']} after {1000 * tried['took_s']:.1f} ms, {meaning}{detail}"


def why(made: Mapping[str, Any]) -> str:
    """What set the chosen substation apart from the others that were shown."""
    chosen, *others = made["candidates"]
    if made["count"] == 1:
        return "the only one that could be asked"
    if not others:
        return "the policy's choice"
    if all(other["rank"] != "fresh" for other in others) and chosen["rank"] == "fresh":
        return "the only one with a fresh report"
    peers = [other for other in others if other["rank"] == chosen["rank"]]
    least = min((load_pct(other) for other in peers), default=0.0)
    if load_pct(chosen) < least:
        return "the least load"
    if load_pct(chosen) == least:
        return "the least load, shared with others, so by chance"
    return "the policy's choice, though others had less load"


def load_pct(candidate: Mapping[str, Any]) -> float:
    """The larger of both load ratios, in percent."""
    by_sessions = candidate["sessions"] / (candidate["max_sessions"] or 1)
    by_kw = candidate["load_kw"] / candidate["capacity_kw"] if candidate["capacity_kw"] else 0.0
    return float(round(100 * max(by_sessions, by_kw), 3))


def _candidate(seen: Mapping[str, Any], chosen: bool) -> list[Cell]:
    capacity = "" if seen["capacity_kw"] is None else f"/{seen['capacity_kw']:g}"
    age = "never heard" if seen["report_age_s"] is None else f"{seen['report_age_s']:.3f} s"
    texts = (
        "→" if chosen else "",
        seen["substation"],
        f"{seen['sessions']}/{seen['max_sessions']}",
        f"{seen['load_kw']:g}{capacity}",
        f"{load_pct(seen):.1f}%",
        seen["rank"],
        age,
    )
    return [Cell(text) for text in texts]


def _outcome(outcome: Mapping[str, Any] | None) -> str:
    if outcome is None:
        return "not decided yet"
    if outcome["substation"] is not None:
        return f"{outcome['status']}: it went to {outcome['substation']}"
    return f"{outcome['status']} {outcome['reason']}: {outcome['detail']}"


def _forgotten(story: Story) -> Iterator[str]:
    """Why no decision is shown, though the request is known."""
    yield ""
    rest = "This is what journals and logs know."
    if not story.rings:
        yield f"No balancer runs that could remember how it was placed. {rest}"
    for ring in story.rings:
        if ring.since_s is None:
            continue
        if story.first_s is not None and story.first_s >= ring.since_s:
            yield f"{ring.balancer} chose no substation for it. {rest}"
        else:
            yield f"It is older than the memory of {ring.balancer}: its last {ring.kept:,} decisions at most,"
            yield f"from {moment(ring.since_s)} on. {rest}"


def _wait(wait: Wait) -> str:
    left = "" if wait.left_s is None else f" at {moment(wait.left_s)}"
    why_ = f" ({wait.reason})" if wait.reason else ""
    where = f" to {wait.substation}" if wait.substation else ""
    place = f"queued by {wait.balancer} until {moment(wait.until_s)}"
    return f"{moment(wait.queued_s)}  {place}: {wait.state}{where}{left}{why_}"


def _stay(stay: Stay) -> str:
    planned = "" if stay.ends_s is None else f", planned until {moment(stay.ends_s)}"
    ended = "" if stay.ended_s is None else f", over at {moment(stay.ended_s)}"
    why_ = f" ({stay.reason})" if stay.reason else ""
    who = f"{stay.substation}, attempt {stay.attempt}, {stay.power_kw:g} kW"
    return f"{moment(stay.started_s)}  {who}{planned}{ended}: {stay.state}{why_}"


def _revocation(revoked: Revocation) -> str:
    heard = "" if revoked.acknowledged_s is None else f"; heard there at {moment(revoked.acknowledged_s)}"
    up_to = f"attempts up to {revoked.attempt} at {revoked.substation}"
    if revoked.by == revoked.substation:
        return f"{moment(revoked.at_s)}  {up_to}, as {revoked.substation} noted"
    return f"{moment(revoked.at_s)}  {up_to}, by {revoked.by}{heard or '; not heard there yet'}"


def _doubt(doubt: Doubt) -> str:
    return f"{moment(doubt.sent_s)}  attempt {doubt.attempt} sent to {doubt.substation} by {doubt.balancer}"


#: What every record of a log has, and what this request's records have in common.
_USUAL = frozenset({"ts", "level", "name", "role", "message", "request_id"})


def _record(record: Mapping[str, Any]) -> str:
    more = " ".join(f"{key}={value}" for key, value in record.items() if key not in _USUAL and value not in (None, ""))
    return f"{record['ts']}  {record.get('name', '')}: {record.get('message', '')}  {more}".rstrip()


def moment(unix_s: float) -> str:
    """A Unix time as a local one, to the millisecond."""
    return datetime.fromtimestamp(unix_s).astimezone().isoformat(sep=" ", timespec="milliseconds")
