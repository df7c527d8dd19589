"""Where substations come from: the launcher's file, and lists that people type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from config.errors import Invalid
from services.balancer.targets import Target, from_file, from_list


def written(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def group(address: str, **labels: str) -> dict[str, Any]:
    return {"targets": [address], "labels": {"job": "substation", "cluster": "grid", **labels}}


def test_a_file_holds_own_and_external_substations(tmp_path: Path) -> None:
    path = written(
        tmp_path / "targets.json",
        [
            group("127.0.0.1:9001", substation_id="substation1"),
            group("127.0.0.1:9002", substation_id="substation2", draining="true", max_sessions="4", capacity_kw="29.6"),
            group(
                "127.0.0.1:7601",
                substation_id="other",
                external="true",
                url="http://127.0.0.1:7601/api/",
                load_metric="current_load",
                __metrics_path__="/api/metrics",
            ),
            {"targets": ["127.0.0.1:8081"], "labels": {"job": "balancer"}},
        ],
    )
    own, draining, other = from_file(path)
    assert own == Target("substation1", "http://127.0.0.1:9001")
    assert own.metrics_url == "http://127.0.0.1:9001/metrics"
    assert (draining.draining, draining.max_sessions, draining.capacity_w) == (True, 4, 29_600)
    assert (other.url, other.external, other.load_metric) == ("http://127.0.0.1:7601/api", True, "current_load")
    assert other.metrics_url == "http://127.0.0.1:7601/api/metrics"


@pytest.mark.parametrize("document", [3, [3], [{"targets": []}], [group("x:1")], [group("x:99999", substation_id="a")]])
def test_a_file_that_is_not_file_sd_is_an_error(tmp_path: Path, document: Any) -> None:
    path = written(tmp_path / "targets.json", document)
    with pytest.raises(ValueError, match=r"\S"):
        from_file(path)


def test_a_half_written_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    path.write_text("[{")
    with pytest.raises(ValueError, match="Expecting"):
        from_file(path)


def test_a_list_names_what_it_does_not_name() -> None:
    assert from_list(
        ["127.0.0.1:9001", "b=127.0.0.1:9002", "c=http://127.0.0.1:7601/x#load", "https://h:1/y?z=1#g"][:3]
    ) == (
        Target("substation1", "http://127.0.0.1:9001"),
        Target("b", "http://127.0.0.1:9002"),
        Target("c", "http://127.0.0.1:7601/x", external=True, load_metric="load"),
    )


def test_a_list_gives_all_its_faults() -> None:
    with pytest.raises(Invalid) as caught:
        from_list(["", "a b=h:1", "ftp://h:1", "h:99999", "ok=h:1", "h:1?x=2"])
    assert [fault.key for fault in caught.value.faults] == ["[0]", "[1]", "[2]", "[3]", "[5]"]
