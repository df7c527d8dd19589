"""Each kind of fault: its line, its key, what was found and what is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import Fault
from config.faults import MAX_SHOWN, shown
from config.policies import SHIPPED
from tests.config.faults import only_fault

TOP = (
    "a mapping with the keys name, time_scale, durability, request_service, balancer, defaults, monitoring, substations"
)
TOP_KEYS = "name, time_scale, durability, request_service, balancer, defaults, monitoring, substations"
SUBSTATIONS = "a list of at most 10000 substations, or a whole number from 0 to 10000"
QUOTES = 'quotes where a text is meant: "{}"; where a switch is, true or false'
PLAIN = 'a plain number such as {}; or, where a text is meant, quotes: "{}"'
PORT = "a whole number from 1 to 65535"
COUNT = "a whole number from 1 to 1,000,000,000"
NAME = "a name: 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot"

#: text, line, key, found, allowed
FAULTS = [
    ("balancer:\n  port: 70000", 2, "balancer.port", "70000", PORT),
    ("balancer: {port: 0}", 1, "balancer.port", "0", PORT),
    ("balancer: {port: -1}", 1, "balancer.port", "-1", PORT),
    ("balancer: {port: 80.0}", 1, "balancer.port", "80.0", PORT),
    ("balancer: {port: true}", 1, "balancer.port", "true", PORT),
    ("balancer: {port: [1]}", 1, "balancer.port", "a list of 1", PORT),
    ("balancer: {port: {a: 1}}", 1, "balancer.port", "a mapping", PORT),
    (
        'balancer: {port: "8080"}',
        1,
        "balancer.port",
        "the text '8080'",
        PORT + "; YAML takes this for text, so write 8080 without quotes",
    ),
    ("\n\ntime_scale: 0", 3, "time_scale", "0", "a number from 0.001 to 100,000"),
    ("time_scale: .nan", 1, "time_scale", "not a number (.nan)", "a number from 0.001 to 100,000"),
    ("time_scale: .inf", 1, "time_scale", "infinity (.inf)", "a number from 0.001 to 100,000"),
    ("time_scale: -.INF", 1, "time_scale", "-infinity (.inf)", "a number from 0.001 to 100,000"),
    ("time_scale: 1.0e+999", 1, "time_scale", "infinity (.inf)", "a number from 0.001 to 100,000"),
    ("time_scale: fast", 1, "time_scale", "the text 'fast'", "a number from 0.001 to 100,000"),
    ("time_scale:", 1, "time_scale", "nothing", "a number from 0.001 to 100,000"),
    (
        "time_scale: 1e3",
        1,
        "time_scale",
        "the text '1e3'",
        "a number from 0.001 to 100,000; YAML takes this for text, so write 1000 without quotes",
    ),
    ("balancer: {poll_interval_s: 0}", 1, "balancer.poll_interval_s", "0", "a number from 0.01 to 3600"),
    (
        "request_service: {request_timeout_s: 1.0e+9}",
        1,
        "request_service.request_timeout_s",
        "1000000000.0",
        "a number from 0.01 to 3600",
    ),
    ("defaults: {max_sessions: 0}", 1, "defaults.max_sessions", "0", COUNT),
    ("defaults: {max_sessions: 10000000000}", 1, "defaults.max_sessions", "10000000000", COUNT),
    ("defaults: {power_kw: -7.4}", 1, "defaults.power_kw", "-7.4", "a number from 0.001 to 1,000,000"),
    ("defaults: {capacity_kw: 0}", 1, "defaults.capacity_kw", "0", "a number from 0.001 to 1,000,000"),
    ("defaults: {session_s: 0}", 1, "defaults.session_s", "0", "a number from 0.001 to 1,000,000,000"),
    ("balancer:\n  policy: best", 2, "balancer.policy", "the text 'best'", f"one of {', '.join(SHIPPED)}"),
    (
        "balancer: 5",
        1,
        "balancer",
        "5",
        "a mapping with the keys port, policy, poll_interval_s, replicas, admission, queue_limit, max_wait_s",
    ),
    ("name: a b", 1, "name", "the text 'a b'", NAME),
    ("name: .a", 1, "name", "the text '.a'", NAME),
    ("name: 12", 1, "name", "12", NAME + '; in quotes where a text is meant: "12"'),
    (f"name: {'x' * 100}", 1, "name", f"the text '{'x' * 60}…'", NAME),
    (
        "substations:",
        1,
        "substations",
        "nothing",
        SUBSTATIONS,
    ),
    (
        "substations: 10001",
        1,
        "substations",
        "10001",
        SUBSTATIONS,
    ),
    ("substations:\n  - max_sessions: 3", 2, "substations[0].name", "nothing", NAME + " (needed)"),
    (
        "substations:\n  - north",
        2,
        "substations[0]",
        "the text 'north'",
        "a mapping with the keys name, port, max_sessions, capacity_kw, session_s, power_kw, url, load_metric",
    ),
    (
        "substations:\n  - name: e\n    url: ftp://h:80",
        3,
        "substations[0].url",
        "the text 'ftp://h:80'",
        "http://HOST:PORT or https://HOST:PORT, with a path after it or not",
    ),
    (
        "substations: [{name: e, url: 'http://h:80', load_metric: 1a}]",
        1,
        "substations[0].load_metric",
        "the text '1a'",
        "the name of a Prometheus metric: A-Z a-z 0-9 _ :, not starting with a digit",
    ),
    # unknown keys
    (
        "balancer:\n  polcy: random",
        2,
        "balancer.polcy",
        "an unknown key",
        "`policy` is the nearest; all are: port, policy, poll_interval_s, replicas, admission, queue_limit, max_wait_s",
    ),
    (
        "time-scale: 1",
        1,
        "time-scale",
        "an unknown key",
        "`time_scale` is the nearest; all are: " + TOP_KEYS,
    ),
    (
        "poll_interval_s: 1",
        1,
        "poll_interval_s",
        "an unknown key",
        TOP_KEYS + "; `poll_interval_s` belongs in `balancer`",
    ),
    ("1: 2", 1, "1", "an unknown key", TOP_KEYS),
    # what YAML 1.1 makes of words
    (
        "name: no",
        1,
        "name",
        "no, which YAML reads as false",
        QUOTES.format("no"),
    ),
    (
        "name: Yes",
        1,
        "name",
        "Yes, which YAML reads as true",
        QUOTES.format("Yes"),
    ),
    (
        "name: on",
        1,
        "name",
        "on, which YAML reads as true",
        QUOTES.format("on"),
    ),
    (
        "balancer: {port: 08081}",
        1,
        "balancer.port",
        "the text '08081'",
        PORT + "; YAML takes this for text, so write 8081 without quotes",
    ),
    (
        "balancer: {port: 010}",
        1,
        "balancer.port",
        "010, which YAML reads as 8",
        PLAIN.format("8", "010"),
    ),
    (
        "defaults: {session_s: 10:30}",
        1,
        "defaults.session_s",
        "10:30, which YAML reads as 630",
        PLAIN.format("630", "10:30"),
    ),
    (
        "defaults: {session_s: 10:30.5}",
        1,
        "defaults.session_s",
        "10:30.5, which YAML reads as 630.5",
        PLAIN.format("630.5", "10:30.5"),
    ),
    (
        "defaults: {max_sessions: 0x10}",
        1,
        "defaults.max_sessions",
        "0x10, which YAML reads as 16",
        PLAIN.format("16", "0x10"),
    ),
    (
        "defaults: {max_sessions: 1_000}",
        1,
        "defaults.max_sessions",
        "1_000, which YAML reads as 1000",
        PLAIN.format("1000", "1_000"),
    ),
    ("name: !city x", 1, "name", "the tag !city", "plain values without a tag"),
    ("name: !!binary eA==", 1, "name", "the tag !!binary", "plain values without a tag"),
    ("substations: !!set {a}", 1, "substations", "the tag !!set", "plain values without a tag"),
    ("time_scale: !!float x", 1, "time_scale", "'x', which is no number", "a number such as 10 or 7.4"),
    ("time_scale: " + "9" * 5000, 1, "time_scale", "a number of 5000 characters", "at most 40 characters"),
    # the graph
    (
        "balancer:\n  port: 1\n  port: 2",
        3,
        "balancer.port",
        "`port` a second time, the first is on line 2",
        "each key once",
    ),
    ("{? [a] : b}", 1, "(top)", "a key that is a list or a mapping", "a word as the key"),
    ("<<: 3", 1, "<<", "no mapping to merge", "an alias of a mapping, or a list of such: `<<: *name`"),
    # the top
    (
        "- a",
        1,
        "(top)",
        "a list of 1",
        TOP,
    ),
    (
        "\n3",
        2,
        "(top)",
        "3",
        TOP,
    ),
    ("!!str {a: b}", 1, "(top)", "the tag !!str", "plain values without a tag"),
    ("!!int x", 1, "(top)", "'x', which is no number", "a number such as 10 or 7.4"),
]


@pytest.mark.parametrize(("text", "line", "key", "found", "allowed"), FAULTS)
def test_each_fault(text: str, line: int, key: str, found: str, allowed: str) -> None:
    assert only_fault(text) == Fault("grid.yaml", line, key, found, allowed)


@given(st.text() | st.lists(st.none()) | st.integers() | st.floats() | st.none() | st.booleans())
def test_what_is_shown_is_one_short_line(value: object) -> None:
    text = shown(value)
    assert text
    assert "\n" not in text
    assert isinstance(value, int) or len(text) <= 10 * MAX_SHOWN
