"""The supervisor's part of the page: everything that answers in time is on it, nothing else is."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.metrics.stage import Stage, samples, value
from tritonfleet.metrics.gpu import GpuReader, GpuReading, NoGpus
from tritonfleet.metrics.table import ENGINE_LABELS, METRICS, TABLE

BRIDGE = (
    "# HELP nv_inference_count x\n# TYPE nv_inference_count counter\nnv_inference_count 1\n"
    "# TYPE vllm:prompt_tokens_total counter\n"
    'vllm:prompt_tokens_total{model="llama2",version="1"} 99\n'
    "# TYPE tritonfleet_bridge_requests_total counter\n"
    'tritonfleet_bridge_requests_total{model="llama2",outcome="success",version="1"} 3\n'
)
READING = GpuReading(0, "GPU-1", "NVIDIA H100 80GB HBM3", {"POWER_USAGE": 301.5, "FB_USED": 70000})


class Gpus(GpuReader):
    """Answers as a test says."""

    def __init__(self, answer: GpuReading | Exception, until: threading.Event | None = None) -> None:
        super().__init__()
        self._answer = answer
        self._until = until

    def read(self) -> tuple[GpuReading, ...]:
        if self._until is not None:
            self._until.wait(30)
        if isinstance(self._answer, Exception):
            raise self._answer
        return (self._answer,)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    await made.close()


async def test_engines_bridge_gpus_and_supervisor_are_on_one_page(stage: Stage) -> None:
    await stage.model("llama2", replicas=2, pool="gpu")
    await stage.triton(BRIDGE)
    async with stage.page(gpus=Gpus(READING), share_text=lambda pools: f"# shared in {pools['llama2']}\n") as page:
        text = await page.text()
    for replica in ("0", "1"):
        found = samples(text, "vllm:request_success_total")
        [sample] = [
            number
            for _, labels, number in found
            if labels["replica"] == replica and labels["finished_reason"] == "length"
        ]
        assert sample == 3
    _, labels, _ = samples(text, "vllm:num_requests_running")[0]
    assert labels == {
        **dict(zip(ENGINE_LABELS, ("demo", "llama2", "0", "gpu", "vllm"), strict=True)),
        "model_name": "llama2",
        "engine_index": "0",
    }
    assert value(text, "tritonfleet_bridge_requests_total", fleet="demo", pool="gpu", outcome="success") == 3
    assert not samples(text, "nv_inference_count"), "Triton's own stay at its own port"
    assert len(samples(text, "vllm:prompt_tokens_total")) == 2, "the bridge's copy would count twice"
    assert value(text, "tritonfleet_replica_restarts_total", replica="1") == 2
    assert value(text, "tritonfleet_replica_gpu", replica="1", gpu="1") == 1
    assert value(text, "tritonfleet_scrape_up", replica="1") == 1
    assert value(text, "DCGM_FI_DEV_POWER_USAGE", gpu="0", UUID="GPU-1", modelName="NVIDIA H100 80GB HBM3") == 301.5
    assert "# shared in gpu\n" in text


async def test_what_the_table_says_is_what_the_page_has(stage: Stage) -> None:
    """Kind and labels of every known family are the table's, and every part of it is there."""
    await stage.model("llama2")
    await stage.triton(BRIDGE)
    async with stage.page(gpus=Gpus(READING)) as page:
        text = await page.text()
    kinds = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    assert {name: kind for name, kind in kinds.items() if name in METRICS} == {
        name: METRICS[name].kind for name in kinds if name in METRICS
    }
    for name in kinds.keys() & METRICS.keys():
        metric = METRICS[name]
        for series in metric.series:
            for _, labels, _ in samples(text, series):
                assert labels.keys() - {"le"} == set(metric.labels), name
    engine = {metric.name for metric in TABLE if metric.source == "engine"}
    assert engine <= kinds.keys(), "vLLM has every one of them"


async def test_a_hung_engine_is_absent_and_never_blocks_the_page(stage: Stage) -> None:
    hung, _ = await stage.model("llama2", replicas=2)
    hung.hangs = True
    async with stage.page() as page, asyncio.timeout(3):
        text = await page.text()
    assert {labels["replica"] for _, labels, _ in samples(text, "vllm:num_requests_running")} == {"1"}
    assert value(text, "tritonfleet_scrape_up", replica="0") == 0
    assert value(text, "tritonfleet_scrape_up", replica="1") == 1


@pytest.mark.parametrize(("page", "status"), [("oops\n", 200), ("", 200), ("# TYPE x gauge\nx 1", 200), ("no", 500)])
async def test_an_engine_with_a_broken_page_is_absent(
    stage: Stage, page: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    [broken] = await stage.model("broken")
    await stage.model("well")
    broken.page, broken.status = page, status
    caplog.set_level(logging.INFO)
    async with stage.page() as made:
        for _ in range(3):
            text = await made.text()
        assert value(text, "tritonfleet_scrape_up", model="broken") == 0
        assert not [labels for _, labels, _ in samples(text, "x") if labels["model"] == "broken"]
        assert value(text, "vllm:num_requests_waiting", model="well") == 0
        broken.page, broken.status = "# TYPE x gauge\nx 1\n", 200
        assert value(await made.text(), "x", model="broken") == 1
    about = [record.message for record in caplog.records if "broken" in record.message]
    assert len(about) == 2, "said once when it began, and once when it was over"
    assert about[1].endswith("read again")


async def test_an_engine_that_does_not_run_is_not_asked(stage: Stage) -> None:
    starting, stopped, failed = await stage.model("llama2", replicas=3)
    starting.state, stopped.state, failed.state = "starting", "stopped", "failed"
    async with stage.page() as page:
        text = await page.text()
    assert starting.asked == stopped.asked == failed.asked == 0
    found = {labels["replica"]: up for _, labels, up in samples(text, "tritonfleet_scrape_up")}
    assert found == {"0": 0, "2": 0}, "one that is stopped on purpose is not missing"
    assert {labels["replica"]: up for _, labels, up in samples(text, "tritonfleet_replica_up")} == dict.fromkeys(
        "012", 0
    )
    assert value(text, "tritonfleet_replica_state", replica="2", state="failed") == 1
    assert value(text, "tritonfleet_replica_state", replica="2", state="ready") == 0


async def test_an_engine_that_sleeps_is_asked_and_not_missed(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    sleeping, ended = await stage.model("llama2", replicas=2)
    sleeping.state, ended.state = "asleep", "asleep"
    ended.status = 503
    async with stage.page() as page:
        text = await page.text()
    assert {labels["replica"] for _, labels, _ in samples(text, "vllm:num_requests_running")} == {"0"}
    assert {labels["replica"]: up for _, labels, up in samples(text, "tritonfleet_scrape_up")} == {"0": 1}
    assert value(text, "tritonfleet_replica_state", replica="1", state="asleep") == 1
    assert "llama2" not in caplog.text


async def test_scrapers_share_one_recent_page(stage: Stage) -> None:
    [engine] = await stage.model("llama2")
    now = 100.0
    async with stage.page(clock=lambda: now) as page:
        first, second = await asyncio.gather(page.text(), page.text())
        assert first == second == await page.text()
        assert engine.asked == 1
        now += 1.0
        await page.text()
        assert engine.asked == 2


async def test_one_scraper_that_leaves_does_not_spoil_the_page_of_another(stage: Stage) -> None:
    await stage.model("llama2")
    async with stage.page() as page:
        leaving, staying = asyncio.create_task(page.text()), asyncio.create_task(page.text())
        await asyncio.sleep(0)
        leaving.cancel()
        assert "vllm:num_requests_running" in await staying


async def test_a_missing_triton_and_a_driver_without_an_answer_are_told_of(stage: Stage) -> None:
    await stage.model("llama2")
    async with stage.page(gpus=Gpus(NoGpus("driver not loaded"))) as page:
        text = await page.text()
    assert value(text, "tritonfleet_scrape_part_up", part="triton") == 0
    assert value(text, "tritonfleet_scrape_part_up", part="gpu") == 0
    assert value(text, "vllm:num_requests_running") == 0


async def test_a_hung_driver_is_waited_for_once(stage: Stage) -> None:
    await stage.model("llama2")
    release = threading.Event()
    async with stage.page(gpus=Gpus(READING, until=release)) as page:
        assert not samples(await page.text(), "DCGM_FI_DEV_POWER_USAGE")
        release.set()
        async with asyncio.timeout(10):
            while not samples(await page.text(), "DCGM_FI_DEV_POWER_USAGE"):
                pass  # each look reads all engines


@pytest.mark.parametrize(
    ("engine", "page", "names"),
    [
        (
            "sglang",
            "# TYPE sglang:num_running_reqs gauge\n"
            'sglang:num_running_reqs{engine_type="unified",model_name="m",tp_rank="0"} 4.0\n'
            "# TYPE sglang:prompt_tokens_total counter\n"
            'sglang:prompt_tokens_total{model_name="m"} 5.0\n'
            "# TYPE sglang:gen_throughput gauge\n"
            'sglang:gen_throughput{model_name="m"} 6.0\n',
            {
                "vllm:num_requests_running": 4,
                "vllm:prompt_tokens_total": 5,
                "vllm:prefix_cache_queries_total": 5,
                "sglang:gen_throughput": 6,
            },
        ),
        (
            "llamacpp",
            "# HELP llamacpp:requests_deferred Number of requests deferred.\n"
            "# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_deferred 2\n",
            {"vllm:num_requests_waiting": 2},
        ),
        (
            "vllm",  # before 0.11
            '# TYPE vllm:gpu_cache_usage_perc gauge\nvllm:gpu_cache_usage_perc{model_name="m"} 0.5\n',
            {"vllm:kv_cache_usage_perc": 0.5},
        ),
    ],
)
async def test_other_engines_speak_vllms_names(stage: Stage, engine: str, page: str, names: dict[str, float]) -> None:
    [one] = await stage.model("m", engine=engine)
    one.page = page
    async with stage.page() as made:
        text = await made.text()
    assert {name: value(text, name, engine=engine, model="m", replica="0") for name in names} == names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Debian's prometheus")
async def test_prometheus_own_tool_accepts_the_page(stage: Stage) -> None:
    await stage.model("llama2", replicas=2)
    await stage.triton(BRIDGE)
    async with stage.page(gpus=Gpus(READING)) as page:
        text = await page.text()
    assert complaints(text) == []


def complaints(text: str) -> list[str]:
    """Return what `promtool check metrics` says, without its opinion of names that are other projects'."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if not line.startswith(("vllm:", "DCGM_"))]
