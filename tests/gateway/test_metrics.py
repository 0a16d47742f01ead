"""The door's /metrics: the supervisor's part and the gateway's own, whatever becomes of the supervisor."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from tests.gateway.stage import Stage
from tests.metrics.stage import samples, value
from tritonfleet.gateway import fleet_metrics
from tritonfleet.gateway.fleet_metrics import FleetMetrics
from tritonfleet.gateway.metrics import TABLE, Metrics

PROMPT = {"model": "llama2", "prompt": "hello", "max_tokens": 2}
OWN = "# TYPE own gauge\nown 1\n"
THEIRS = '# TYPE tritonfleet_triton_up gauge\ntritonfleet_triton_up{fleet="demo"} 1\n'


async def supervisor(path: Path, *, hangs: bool = False, status: int = 200) -> web.AppRunner:
    """Serve the supervisor's part on a control socket."""

    async def metrics(_: web.Request) -> web.Response:
        if hangs:
            await asyncio.Event().wait()
        return web.Response(text=THEIRS, status=status)

    app = web.Application()
    app.router.add_get("/v1/metrics", metrics)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    return runner


async def test_both_parts_are_on_the_page(tmp_path: Path) -> None:
    runner = await supervisor(tmp_path / "control.sock")
    assert await FleetMetrics(str(tmp_path / "control.sock"), "demo", lambda: OWN).text() == OWN + THEIRS
    await runner.cleanup()


async def test_without_the_supervisor_the_gateways_part_stands_and_says_so(tmp_path: Path) -> None:
    text = await FleetMetrics(str(tmp_path / "nobody.sock"), "demo", lambda: OWN).text()
    assert value(text, "own") == 1
    assert value(text, "tritonfleet_scrape_part_up", fleet="demo", part="supervisor") == 0


async def test_a_hung_supervisor_does_not_hold_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = await supervisor(tmp_path / "control.sock", hangs=True)
    monkeypatch.setattr(fleet_metrics, "SUPERVISOR_SECONDS", 0.05)
    text = await FleetMetrics(str(tmp_path / "control.sock"), "demo", lambda: OWN).text()
    await runner.cleanup()
    assert value(text, "tritonfleet_scrape_part_up", part="supervisor") == 0


def test_models_have_the_pool_that_the_routes_name_last() -> None:
    """A name that is no model's, such as a misspelt one, is in none."""
    metrics = Metrics("demo")
    for pool in ("old", "new"):
        metrics.know_pools({"llama2": pool})
        for model in ("llama2", "lama2"):
            metrics.count("requests", model, "/v1/completions", "200", "engine")
        text = metrics.exposition(None)
        found = {
            labels["model"]: labels.get("pool") for _, labels, _ in samples(text, "tritonfleet_gateway_requests_total")
        }
        assert found == {"llama2": pool, "lama2": None}


async def test_the_door_counts_what_it_serves(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    async with stage.gateway(fleet="demo"):
        assert (await stage.post(PROMPT))[0] == 200
        async with stage.session.get("/metrics") as answer:
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            text = await answer.text()
    assert value(text, "tritonfleet_gateway_requests_total", fleet="demo", model="llama2", status="200") == 1


def test_a_known_model_begins_at_zero() -> None:
    metrics = Metrics("demo")
    metrics.expect("llama2")
    text = metrics.exposition(None)
    for metric in TABLE.values():
        found = [number for name in metric.series for _, _, number in samples(text, name)]
        if metric.labels == ("fleet", "model", "pool"):
            assert found
            assert set(found) == {0}
        else:
            assert not found


def test_labels_are_the_tables() -> None:
    metrics = Metrics("demo")
    metrics.know_pools({"x": "gpus"})
    for name, metric in TABLE.items():
        values = ["x" for label in metric.labels if label not in ("fleet", "pool")]
        match metric.kind:
            case "counter":
                metrics.count(name, *values)
            case "gauge":
                metrics.set(name, 1, *values)
            case "histogram":
                metrics.observe(name, 1, *values)
    text = metrics.exposition(None)
    for metric in TABLE.values():
        for series in metric.series:
            for _, labels, _ in samples(text, series):
                assert labels.keys() - {"le"} == set(metric.labels)
