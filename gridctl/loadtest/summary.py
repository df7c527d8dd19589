"""The result of a run for a reader; must not know how it was measured. Plain lines, cut to no width, without colours."""

from __future__ import annotations

from collections.abc import Iterator

from gridctl.audit.summary import lines as verdict_lines
from gridctl.loadtest.ideal import NO_RATE
from gridctl.loadtest.quantities import spoken
from gridctl.loadtest.result import Result

BAR_WIDTH = 24
#: So many substations get a line each; of more, the ones with the most and with the least.
LINES = 16

_EIGHTHS = " ▏▎▍▌▋▊▉"


def lines(result: Result) -> Iterator[str]:
    """The summary, a line at a time."""
    tally = result.tally
    early = ", interrupted" if result.interrupted else ""
    counts = f"{tally.accepted} accepted, {tally.refused} refused, {tally.failed} failed"
    yield f"{tally.sent} EVs in {spoken(result.duration_s)}{early}: {counts}"
    if result.queued:
        yield f"{result.queued} of the accepted had to wait in a queue first"
    yield from _substations(result)
    yield from _counted("refused", tally.refused_reasons)
    yield from _counted("failed", tally.failures)
    yield from _latencies(result)
    yield from _placement(result)
    yield from _warnings(result)
    if result.audit is not None:
        yield from ("", *verdict_lines(result.audit))
    yield f"seed        {result.seed}"


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """A bar of `width` columns of which `share` (0…1) is filled, to an eighth of a column."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[part] if part else "")).ljust(width)


def _substations(result: Result) -> Iterator[str]:
    rows = list(result.per_substation().items())
    if not rows:
        return
    by_count = sorted(rows, key=lambda row: -row[1]["accepted"])
    shown = rows if len(rows) <= LINES else [*by_count[: LINES // 2], *by_count[-LINES // 2 :]]
    wide = max(len(name) for name, _ in shown)
    largest = max(row["share"] for _, row in shown) or 1.0
    peaks = result.figures.peak_sessions if result.figures else {}
    yield ""
    for number, (name, row) in enumerate(shown):
        if number == LINES // 2 and len(rows) > LINES:
            yield f"  … {len(rows) - LINES} more"
        peak = f"  at most {peaks[name]} at once" if name in peaks else ""
        drawn = bar(row["share"] / largest)
        yield f"  {name:<{wide}}  {drawn} {int(row['accepted']):>6}  {100 * row['share']:5.1f} %{peak}"
    yield ""


def _counted(title: str, counts: dict[str, int]) -> Iterator[str]:
    for reason, count in sorted(counts.items(), key=lambda item: -item[1]):
        yield f"{title:<10}  {count} times: {reason}"


def _latencies(result: Result) -> Iterator[str]:
    latencies = result.tally.latencies
    if latencies.max_ms is None:
        yield "latency     nothing was answered"
        return
    values = [f"p{percent} {_ms(latencies.percentile_ms(percent))}" for percent in (50, 90, 99)]
    yield f"latency     {'   '.join(values)}   max {_ms(latencies.max_ms)}   (ms, from the intended time of sending)"


def _ms(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _placement(result: Result) -> Iterator[str]:
    figures, ideal = result.figures, result.ideal
    if figures is not None:
        yield f"load        peak {figures.peak_load_pct:.0f} %   overloads {figures.overloads}"
        if figures.excess:
            yield f"excess      {100 * figures.excess:.2f} % of the load was above a limit"
        spread = "unknown" if figures.spread is None else f"{figures.spread:.2f} sessions on average"
        best = "" if ideal.spread_jsq is None else f"   (perfect join-the-shortest-queue: {ideal.spread_jsq:.2f})"
        yield f"spread      {spread}{best}"
    if result.blocked_share is not None:
        yield f"blocked     {_percent(result.blocked_share)}{_best_blocked(result)}"
    if result.avoidable is not None and result.tally.refused:
        yield f"avoidable   {result.avoidable} refusals while one substation had room all the time"
    if result.attempts is not None:
        yield f"attempts    {result.attempts:.3f} substations asked a request"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _best_blocked(result: Result) -> str:
    ideal = result.ideal
    best = []
    if ideal.blocked_pooled is not None:
        best.append(f"one pool of all slots, same arrivals: {_percent(ideal.blocked_pooled)}")
    if ideal.erlang_b is not None:
        best.append(f"Erlang-B of one pool: {_percent(ideal.erlang_b)}")
    return f"   ({'; '.join(best)})" if best else ""


def _warnings(result: Result) -> Iterator[str]:
    tester = result.tester
    if tester.is_limit:
        own = f"its own delay: p99 {_ms(result.late_ms)} ms, longest {_ms(result.tally.delays.max_ms)} ms"
        said = "fell behind its own schedule" if tester.behind else "was the limit"
        yield f"warning     the load tester {said} ({tester.found}; {own}): the latencies are its own. {tester.advice}"
    if tester.waited:
        yield f"note        {tester.waited} requests waited until one of the load tester's connections was free"
    for name, why in sorted(result.missing.items()):
        yield f"warning     the figures of load are unknown without {name}: {why}"
    if result.figures is not None:
        yield from _unknown(result)
    if result.unmeasured:
        yield f"note        {', '.join(result.unmeasured)}: external, without records, so not in the figures of load"


def _unknown(result: Result) -> Iterator[str]:
    """Why there is no figure to compare with; that there is no nominal load needs no saying."""
    reasons: dict[str, list[str]] = {}
    for key, reason in result.to_json()["unknown"].items():
        if key != "erlang_b" or reason != NO_RATE:
            reasons.setdefault(reason, []).append(key)
    for reason, keys in reasons.items():
        yield f"note        {', '.join(keys)} unknown: {reason}"
