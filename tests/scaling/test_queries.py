"""The queries, evaluated by Prometheus itself: what they say while replicas serve, hang, come and go."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tritonfleet.metrics.table import SERIES
from tritonfleet.scaling.queries import ASKED_FOR, AVAILABLE, Place, in_flight, kv_cache

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is missing"),
]

PLACE = Place("shop", "chat", "pool1", "llm", "shop-pool1")
SHARED = Place("shop", "chat", "pool1", "llm", "shop-pool1", shared=True)
HERE = 'namespace="llm", fleet="shop"'
Series = dict[str, str]


def engine(pod: int, running: float, waiting: float, cache: float = 0.5, *, replica: int = 0, **other: str) -> Series:
    """Return one engine's series."""
    labels = {"namespace": "llm", "fleet": "shop", "pool": "pool1", "model": "chat", **other}
    labels |= {"pod": f"p{pod}", "instance": f"10.0.0.{pod}:9000", "replica": str(replica), "engine_index": "0"}
    text = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return {
        f"vllm:num_requests_running{{{text}}}": f"{running}x10",
        f"vllm:num_requests_waiting{{{text}}}": f"{waiting}x10",
        f"vllm:kv_cache_usage_perc{{{text}}}": f"{cache}x10",
    }


def deployment(asked_for: int, available: int, name: str = "shop-pool1") -> Series:
    """Return kube-state-metrics' series of the pool."""
    labels = f'{{namespace="llm", deployment="{name}", instance="ksm"}}'
    return {
        f"kube_deployment_spec_replicas{labels}": f"{asked_for}x10",
        f"kube_deployment_status_replicas_available{labels}": f"{available}x10",
    }


def available(values: str, name: str = "shop-pool1") -> Series:
    """Return the replicas that serve, minute by minute."""
    return {
        f'kube_deployment_status_replicas_available{{namespace="llm", deployment="{name}", instance="ksm"}}': values
    }


def gateway(pod: int, waiting: int, model: str = "chat") -> Series:
    """Return the requests that wait in a pod's gateway."""
    return {f'tritonfleet_gateway_requests_waiting{{{HERE}, pod="p{pod}", model="{model}"}}': f"{waiting}x10"}


def share(pod: int, awake: int, waiting: int) -> Series:
    """Return what a pod tells of a model that takes turns."""
    labels = f'{{{HERE}, pod="p{pod}", model="chat", group="g"}}'
    return {
        f"tritonfleet_share_resident{labels}": f"{awake}x10",
        f"tritonfleet_share_waiting{labels}": f"{waiting}x10",
    }


@dataclass(frozen=True)
class Case:
    """Series, and what the two queries say about them; None for no value."""

    what: str
    series: Series
    in_flight: float | None
    kv_cache: float | None
    place: Place = PLACE


BOTH = engine(1, 3, 1) | engine(2, 4, 2)
CASES = (
    Case("all replicas tell", BOTH | deployment(2, 2), 10, 1.0),
    Case("without kube-state-metrics", BOTH, 10, 1.0),
    Case("one of three hangs", BOTH | deployment(3, 3), 15, 1.5),
    Case("one of three has just come", BOTH | deployment(3, 3) | available("2x4 3x6"), 10, 1.0),
    Case("one of three still starts", BOTH | deployment(3, 2), 10, 1.0),
    Case("one goes and still works", BOTH | deployment(1, 1), 10, 1.0),
    Case("requests wait in a gateway", BOTH | deployment(2, 2) | gateway(1, 5) | gateway(2, 0), 15, 1.0),
    Case("requests of another model wait", BOTH | deployment(2, 2) | gateway(1, 5, "other"), 10, 1.0),
    Case("no replica tells", deployment(2, 2), None, None),
    Case("no replica is up", deployment(2, 0), None, None),
    Case("nothing is known", {}, None, None),
    Case("no replica is asked for", deployment(0, 0), 0, 0),
    Case("none is asked for, and a request waits in front", deployment(0, 0) | gateway(9, 1), 1, 0),
    Case("another pool is asked for", BOTH | deployment(9, 9, "shop-pool2"), 10, 1.0),
    Case("another namespace", BOTH | engine(3, 50, 50, namespace="other") | deployment(2, 2), 10, 1.0),
    Case("another fleet", BOTH | engine(3, 50, 50, fleet="other") | deployment(2, 2), 10, 1.0),
    Case("another model of the pool", BOTH | engine(3, 50, 50, model="other") | deployment(2, 2), 10, 1.0),
    Case(
        "two engines in a pod, one hangs",
        engine(1, 4, 2) | deployment(1, 1),
        12,
        1.0,
        Place("shop", "chat", "pool1", "llm", "shop-pool1", engines=2),
    ),
    Case("asleep everywhere", deployment(2, 2) | share(1, 0, 4) | share(2, 0, 3), 7, 0, SHARED),
    Case("awake in one of two", engine(1, 4, 2) | deployment(2, 2) | share(1, 1, 0) | share(2, 0, 3), 9, 0.5, SHARED),
    Case("awake and silent", deployment(2, 2) | share(1, 1, 0) | share(2, 0, 3), None, None, SHARED),
    Case("shared, and nothing is known", deployment(2, 2), None, None, SHARED),
    Case("shared, and none is asked for", deployment(0, 0) | gateway(9, 1), 1, 0, SHARED),
)


def test_prometheus_says_what_is_meant(tmp_path: Path) -> None:
    """Every case, in one run of promtool."""
    done = run(tmp_path, [to_test(case) for case in CASES])
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    """The run above can fail."""
    done = run(tmp_path, [to_test(Case("wrong", BOTH, 11, 1.0))])
    assert done.returncode != 0
    assert "wrong" in done.stdout + done.stderr


def test_a_series_that_ended_is_not_taken_for_the_present(tmp_path: Path) -> None:
    """After Prometheus' five minutes there is no value, not the last one."""
    ended = {name: value.replace("x10", "x2 _") for name, value in BOTH.items()}
    asked_for = {name: value.replace("x10", "x40") for name, value in deployment(2, 2).items()}
    done = run(tmp_path, [to_test(Case("ended", ended | asked_for, None, None), minutes=20)])
    assert done.returncode == 0, done.stdout + done.stderr


def to_test(case: Case, minutes: int = 5) -> dict[str, Any]:
    """Return the case as promtool reads it."""
    expected = ((in_flight(case.place), case.in_flight), (kv_cache(case.place), case.kv_cache))
    return {
        "name": case.what,
        "interval": "1m",
        "input_series": [{"series": name, "values": value.replace("x", "+0x")} for name, value in case.series.items()],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": f"{minutes}m",
                "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
            }
            for query, value in expected
        ],
    }


def run(folder: Path, tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Run ``promtool test rules`` on *tests*."""
    file = folder / "queries.yaml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": tests}))
    return subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False
    )


def test_every_metric_is_in_the_table() -> None:
    """What a query names is what the fleet's page has, but for kube-state-metrics' two."""
    place = Place("shop", "chat", "pool1", "llm", "shop-pool1", shared=True)
    names = set(re.findall(r"([a-z][a-z0-9_:]*)\{", in_flight(place) + kv_cache(place) + in_flight(PLACE)))
    assert names - SERIES.keys() == {AVAILABLE, ASKED_FOR}
