"""Shares of a run add up to the run: the same orders, and the same figures."""

from __future__ import annotations

from itertools import chain
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gridctl.loadtest.arrivals import Identity, Order, Share
from gridctl.loadtest.asked import Asked
from gridctl.loadtest.client import Outcome
from gridctl.loadtest.scenario import Flags, read
from gridctl.loadtest.sending import Account, Effort
from gridctl.loadtest.tally import Latencies, Tally

FLAGS = st.builds(
    Flags,
    rate=st.floats(0.1, 20).map(repr),
    duration=st.just("5s"),
    arrivals=st.sampled_from(["uniform", "poisson"]),
    burst=st.none() | st.integers(1, 20),
    profile=st.sampled_from([None, "public"]),
)
COUNTS = st.integers(1, 7)


@given(FLAGS, st.integers(0, 999), COUNTS)
def test_the_shares_of_a_run_are_its_orders_each_exactly_once(flags: Flags, seed: int, count: int) -> None:
    scenario = read(flags).scenario(1.0, seed)

    def orders(share: Share) -> list[Order]:
        return list(Identity("t", 1000).orders(scenario.arrivals(), Random(seed), share))

    shares = [orders(Share(number, count)) for number in range(count)]
    together = sorted(chain.from_iterable(shares), key=lambda order: int(order.request_id.rpartition("-")[2]))
    assert together == orders(Share(0, 1))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    for own in shares:
        assert own == sorted(own, key=lambda order: order.at_s)


OUTCOMES = st.one_of(
    st.sampled_from("abc").map(lambda name: Outcome("accepted", substation=name, status=202)),
    st.sampled_from(["grid-full", "draining"]).map(lambda why: Outcome("refused", why, status=503)),
    st.just(Outcome("failed", "connection refused")),
    st.just(Outcome("failed", "no answer within 1 s", timed_out=True)),
)
EVENTS = st.lists(st.tuples(COUNTS, OUTCOMES, st.floats(0, 100), st.floats(0, 0.1)), max_size=40)


def note(account: Account, number: int, outcome: Outcome, latency_s: float, delay_s: float) -> None:
    account.tally.note_sent(delay_s)
    account.tally.note(outcome, latency_s)
    account.asked.append(Asked(f"r{number}", outcome.kind, float(number)))
    account.slowest.note(Order(0.0, f"r{number}", {}), latency_s)


@given(EVENTS)
def test_what_workers_tell_adds_up_to_what_one_would_have_counted(
    events: list[tuple[int, Outcome, float, float]],
) -> None:
    one, shares, together = Account(), [Account() for _ in range(7)], Account()
    for number, (worker, outcome, latency_s, delay_s) in enumerate(events):
        for account in (one, shares[worker - 1]):
            note(account, number, outcome, latency_s, delay_s)
    for share in shares:
        share.efforts.append(Effort(0.1, 0.1, 1.0))
        together.merge(share)
    assert figures(together.tally) == figures(one.tally)
    assert sorted(together.asked) == sorted(one.asked)
    waits = [[each["latency_ms"] for each in account.slowest.to_json()] for account in (together, one)]
    assert waits[0] == waits[1]
    assert len(together.efforts) == 7


@given(EVENTS)
def test_a_tally_that_is_taken_in_parts_loses_nothing(events: list[tuple[int, Outcome, float, float]]) -> None:
    one, taken, together = Account(), Account(), Tally()
    for number, (worker, outcome, latency_s, delay_s) in enumerate(events):
        for account in (one, taken):
            note(account, number, outcome, latency_s, delay_s)
        if worker == 1:
            together.merge(taken.tally.take())
    together.merge(taken.tally.take())
    assert figures(together) == figures(one.tally)
    assert figures(taken.tally) == figures(Tally())


def figures(tally: Tally) -> list[object]:
    counts = [tally.sent, tally.accepted, tally.refused, tally.failed, tally.late, tally.finished]
    named = [dict(tally.per_substation), dict(tally.refused_reasons), dict(tally.failures)]
    return [*counts, *named, *_percentiles(tally.latencies), *_percentiles(tally.delays)]


def _percentiles(latencies: Latencies) -> list[float | None]:
    return [latencies.max_ms, *(latencies.percentile_ms(percent) for percent in (1, 50, 90, 99, 99.9))]
