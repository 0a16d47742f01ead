"""The table is sound, and everything that has metrics takes their names from it."""

from __future__ import annotations

import re

import pytest

from tritonfleet.bridge import metrics as bridge
from tritonfleet.engines import adapter
from tritonfleet.engines.vllm_metrics import MEANINGS
from tritonfleet.gateway.metrics import TABLE as GATEWAY
from tritonfleet.metrics.gpu import GpuReading, gpu_text
from tritonfleet.metrics.names import OLDER, renamed
from tritonfleet.metrics.table import METRICS, SERIES, SOURCES, TABLE


def test_names_are_unique_and_well_formed() -> None:
    assert len(METRICS) == len(TABLE)
    assert len(SERIES) == sum(len(metric.series) for metric in TABLE)
    for metric in TABLE:
        assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", metric.name)
        assert len(set(metric.labels)) == len(metric.labels)
        assert metric.labels[0] == "fleet"
        assert metric.source in SOURCES


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_each_says_in_one_sentence_what_it_is(metric: object) -> None:
    text = getattr(metric, "help")  # noqa: B009 - the parameter's type is not told to pytest
    assert text.endswith(".")
    assert "\n" not in text


def test_counters_of_ours_end_in_total() -> None:
    for metric in TABLE:
        if metric.source != "gpu":
            assert (metric.kind == "counter") == metric.name.endswith(
                "_total"
            ) or metric.name == "vllm:iteration_tokens_total"


def test_the_bridge_and_the_table_agree() -> None:
    ours = (bridge.REQUESTS, bridge.RESPONSES, bridge.TOKENS, bridge.IN_FLIGHT)
    told = {definition.name: definition.kind for definition in ours}
    assert told == {metric.name: metric.kind for metric in TABLE if metric.source == "bridge"}


def test_the_gateway_has_all_of_its_part() -> None:
    assert {metric.name for metric in GATEWAY.values()} == {
        metric.name for metric in TABLE if metric.source == "gateway"
    }


def test_every_meaning_of_an_engine_is_in_the_table() -> None:
    assert set(MEANINGS.values()) | set(OLDER.values()) <= METRICS.keys()


@pytest.mark.parametrize("engine", ["vllm", "tensorrt-llm", "sglang", "llamacpp", "fake"])
def test_an_engines_metric_has_the_kind_that_vllms_has(engine: str) -> None:
    for own, targets in renamed(adapter(engine)).items():
        for target in targets:
            assert own.endswith("_total") == (METRICS[target].kind == "counter"), own


def test_vllm_keeps_its_names() -> None:
    assert all(targets == (own,) for own, targets in renamed(adapter("vllm")).items())


def test_gpus_are_told_of_under_dcgms_names() -> None:
    names = {metric.name.removeprefix("DCGM_FI_DEV_") for metric in TABLE if metric.source == "gpu"}
    text = gpu_text([GpuReading(0, "GPU-1", "H100", dict.fromkeys(names, 1.0))], "demo", "host")
    assert text.count("# TYPE") == len(names)
    labels = 'fleet="demo",gpu="0",UUID="GPU-1",device="nvidia0",modelName="H100",Hostname="host"'
    assert f"DCGM_FI_DEV_GPU_UTIL{{{labels}}} 1\n" in text
