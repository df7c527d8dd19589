"""Storm files: what they mean, every fault of a bad one in one go, and a schema that says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import Invalid
from gridctl.chaos import storm
from gridctl.chaos.timeline import KINDS, Step, Target

TARGETS = [
    Target("charge-request", "charge-request"),
    Target("balancer", "balancer"),
    Target("substation1", "substation"),
    Target("substation2", "substation"),
    Target("substation3", "substation"),
    Target("zygote", "zygote"),
    Target("supervisor", "supervisor"),
]


def faults(text: str) -> list[tuple[int, str]]:
    with pytest.raises(Invalid) as refused:
        storm.parse(text, "storm.yaml")
    assert refused.value.exit_code == 2
    return [(fault.line, fault.key) for fault in refused.value.faults]


def test_a_file_is_read_with_times_as_numbers_and_words() -> None:
    read = storm.parse("- {at: 5s, do: kill, target: substation2}\n- {at: 1.5, do: pause, target: a, for: 1m}\n", "x")
    assert read.steps == (Step(5.0, "kill", "substation2"), Step(1.5, "pause", "a", 60.0))
    assert read.ends_s == 61.5


def test_a_step_has_defaults() -> None:
    [drop, delay] = storm.parse("- {at: 1, do: drop, target: a}\n- {at: 1, do: delay, target: a}\n", "x").steps
    assert drop == Step(1.0, "drop", "a", 3.0, pct=10.0)
    assert delay == Step(1.0, "delay", "a", 3.0, by_s=1.0)


def test_the_example_is_a_storm_and_can_happen_to_the_built_in_grid() -> None:
    steps = storm.parse(storm.EXAMPLE, "example").resolved(TARGETS)
    assert {step.kind for step in steps} == set(KINDS)
    jsonschema.validate(yaml.safe_load(storm.EXAMPLE), storm.schema())


def test_patterns_mean_all_that_they_match_in_the_order_of_time() -> None:
    text = "- {at: 9, do: restart, target: balancer}\n- {at: 2, do: kill, target: 'substation[12]'}\n"
    steps = storm.parse(text, "x").resolved(TARGETS)
    assert [(step.at_s, step.target) for step in steps] == [(2, "substation1"), (2, "substation2"), (9, "balancer")]
    [*dropped] = storm.parse("- {at: 1, do: drop, target: '*'}", "x").resolved(TARGETS)
    assert {step.target for step in dropped} == {target.name for target in TARGETS if target.is_service}


def test_a_target_that_is_not_there_is_a_fault_with_its_line() -> None:
    text = "- at: 1\n  do: kill\n  target: nobody\n- {at: 2, do: drop, target: supervisor}\n"
    with pytest.raises(Invalid) as refused:
        storm.parse(text, "storm.yaml").resolved(TARGETS)
    assert [(fault.line, fault.key) for fault in refused.value.faults] == [(3, "[0].target"), (4, "[1].target")]
    assert "substation1" in refused.value.faults[0].allowed


def test_all_faults_are_found_in_file_order() -> None:
    text = """\
- {at: soon, do: explode, taget: balancer}
- 7
- {at: 1, do: kill, target: balancer, for: 3s}
- {at: -1, do: drop, target: balancer, pct: 101}
- {at: 1, do: delay, target: balancer, by: 2h}
- {at: 1, do: drop, target: balancer, by: 1s}
- {at: 1, do: pause, target: balancer, pct: 5}
- {at: 1, do: pause, target: 5}
- {at: 1, do: pause, target: a, target: b}
"""
    assert faults(text) == [
        (1, "[0].target"),
        (1, "[0].at"),
        (1, "[0].do"),
        (1, "[0].taget"),
        (2, "[1]"),
        (3, "[2].for"),
        (4, "[3].at"),
        (4, "[3].pct"),
        (5, "[4].by"),
        (6, "[5].by"),
        (7, "[6].pct"),
        (8, "[7].target"),
        (9, "[8].target"),
    ]


@pytest.mark.parametrize("text", ["", "{}", "at: 1", "[]", "kill", "- !x {}", "- {at: 1, do: kill, target: no}"])
def test_what_is_no_list_of_steps_is_refused(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize("content", [b"- {at: 5s", b"\xff\xfe", b"- a\n\t- b", b"--- []\n--- []\n", b"\x00"])
def test_a_file_that_is_no_yaml_is_refused_as_a_storm(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "storm.yaml"
    file.write_bytes(content)
    for path in (file, tmp_path, tmp_path / "missing.yaml"):
        with pytest.raises(Invalid) as refused:
            storm.load(path)
        said = " ".join([refused.value.message, refused.value.hint, *map(str, refused.value.faults)])
        assert "topology" not in said
        assert "storm" in said


TIME = st.one_of(st.integers(-2, 50), st.floats(0, 50), st.sampled_from(["5s", "1m", "x", "", "-1s", None, True]))
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "at": TIME,
        "do": st.sampled_from([*KINDS, "explode", 1]),
        "target": st.sampled_from(["balancer", "substation*", "", 3]),
        "for": TIME,
        "by": TIME,
        "pct": st.one_of(st.integers(-5, 105), st.just("2")),
        "who": st.just("x"),
    },
)


@settings(deadline=None)
@given(st.one_of(st.lists(ENTRY, max_size=4), ENTRY, st.lists(st.integers(), max_size=2)))
def test_schema_and_reader_agree(value: Any) -> None:
    text = json.dumps(value)  # JSON is YAML
    try:
        storm.parse(text, "x")
        reads = True
    except Invalid:
        reads = False
    assert jsonschema.Draft202012Validator(storm.schema()).is_valid(value) is reads
