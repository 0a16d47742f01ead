"""Situations and the alerts that fire in them, for `promtool test rules`. Times are in minutes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from tritonfleet.wire import ModelState

ENGINE = {
    "fleet": "f",
    "model": "m",
    "replica": "0",
    "pool": "m",
    "engine": "vllm",
    "instance": "a:9000",
    "job": "tritonfleet",
}
VLLM = {**ENGINE, "model_name": "m", "engine_index": "0"}
PAGE = {"fleet": "f", "instance": "a:9000", "job": "tritonfleet"}
STATES = get_args(ModelState)
TTFT = "vllm:time_to_first_token_seconds"

#: As long as the case lasts.
ALWAYS = "x..."

Series = Mapping[str, str]


def series(name: str, labels: Mapping[str, str], **more: str) -> str:
    """Return a series as promtool writes it."""
    inside = ",".join(f'{key}="{value}"' for key, value in {**labels, **more}.items())
    return f"{name}{{{inside}}}"


@dataclass(frozen=True)
class Case:
    """What Prometheus has seen, and which alerts fire then: these and no others."""

    name: str
    series: Series
    """Series to values in promtool's notation, one a minute."""
    at: int
    firing: Iterable[tuple[str, str]] = ()
    """Alert, and the value of the label that tells which one (model/replica, group, pool or part)."""
    step: int = 1
    """Minutes between two values and two evaluations."""
    page: str = f"1{ALWAYS}"
    """`tritonfleet_fleet_info` and all that an untroubled page tells."""

    def to_dict(self) -> dict[str, Any]:
        """Return promtool's form."""
        told = {series("tritonfleet_fleet_info", PAGE, version="1"): self.page, **self.series}
        end = f"x{self.at // self.step + 1}"
        return {
            "name": self.name,
            "interval": f"{self.step}m",
            "input_series": [{"series": name, "values": values.replace(ALWAYS, end)} for name, values in told.items()],
            "promql_expr_test": [
                {
                    "expr": f'group by (alertname, {", ".join(WHICH)}) (ALERTS{{alertstate="firing"}})',
                    "eval_time": f"{self.at}m",
                    "exp_samples": [
                        {"labels": f'{{alertname="{alert}",{labels}}}', "value": 1} for alert, labels in self.firing
                    ],
                }
            ],
        }


WHICH = ("model", "replica", "group", "pool", "part")
MODEL = 'model="m"'
REPLICA = 'model="m",pool="m",replica="0"'
SECOND = 'model="m",pool="m",replica="1"'


def engine(
    state: str = "ready", restarts: str = f"0{ALWAYS}", replica: str = "0", lasts: str = ALWAYS
) -> dict[str, str]:
    """Return what the supervisor tells of an engine that stays in one state as long as it *lasts*."""
    mine = {**ENGINE, "replica": replica}
    up = f"{int(state == 'ready')}{lasts}"
    told = {
        series("tritonfleet_replica_up", mine): up,
        series("tritonfleet_replica_restarts_total", mine): restarts,
    }
    return told | {
        series("tritonfleet_replica_state", mine, state=known): f"{int(known == state)}{lasts}" for known in STATES
    }


def first_tokens(all_of_them: str, in_time: str, replica: str = "0", le: str = "2.5") -> dict[str, str]:
    """Return TTFT's counts."""
    mine = {**VLLM, "replica": replica}
    return {
        series(f"{TTFT}_count", mine): all_of_them,
        series(f"{TTFT}_bucket", mine, le=le): in_time,
        series(f"{TTFT}_bucket", mine, le="+Inf"): all_of_them,
    }


def answers(door: str, values: str, **labels: str) -> dict[str, str]:
    """Return one door's count of requests."""
    mine = {**PAGE, "model": "m", **labels}
    return {series(f"tritonfleet_{door}_requests_total", mine): values}


FAST, SLOW = ("TritonfleetTtftBurnsFast", MODEL), ("TritonfleetTtftBurnsSlow", MODEL)
MODEL_DOWN, REPLICA_DOWN = ("TritonfleetModelDown", MODEL), ("TritonfleetReplicaDown", REPLICA)
LOOP, STALLED = ("TritonfleetRestartLoop", REPLICA), ("TritonfleetEngineStalled", REPLICA)
GROWING, FAIL = ("TritonfleetQueueGrowing", MODEL), ("TritonfleetRequestsFail", MODEL)
THRASH, SCRAPE = ("TritonfleetSwapThrash", 'group="g"'), ("TritonfleetScrapeMissing", 'pool="m"')

_RUNNING, _TOKENS = series("vllm:num_requests_running", VLLM), series("vllm:generation_tokens_total", VLLM)
_CACHE, _WAITING = series("vllm:kv_cache_usage_perc", VLLM), series("vllm:num_requests_waiting", VLLM)
_IN_LINE = series("tritonfleet_gateway_requests_waiting", {**PAGE, "model": "m"})
_ASLEEP = series("tritonfleet_share_waiting", {**PAGE, "model": "m", "group": "g", "pool": "p"})
_SWITCHING = series("tritonfleet_share_switch_seconds_sum", {**PAGE, "group": "g"})
_TRITON = series("tritonfleet_triton_up", PAGE)
_TRITON_RESTARTS = series("tritonfleet_triton_restarts_total", PAGE)

CASES: tuple[Case, ...] = (
    Case("half of the first tokens are late for an hour", first_tokens("0+60x99", "0+30x99"), 70, [FAST, SLOW]),
    Case("every first token is late for eleven minutes", first_tokens("0+60x220", "0+60x180 10800x40"), 191, [FAST]),
    Case("every first token is late for nine minutes", first_tokens("0+60x220", "0+60x180 10800x40"), 189),
    Case("one of two hundred is late", first_tokens("0+60x99", "0+59.7x99"), 70),
    Case("late for an hour, fine for half an hour", first_tokens("0+60x99", "0x60 60+60x39"), 95, [SLOW]),
    Case("three requests an hour, all late", first_tokens("0+0.05x99", "0x99"), 70),
    Case("no requests at all", first_tokens("100x99", "100x99"), 70),
    Case(
        "a slow replica with little traffic beside a fast one with much",
        first_tokens("0+600x99", "0+600x99") | first_tokens("0+6x99", "0x99", replica="1"),
        70,
    ),
    Case(
        "both replicas a little late: together they are what counts",
        first_tokens("0+60x99", "0+45x99") | first_tokens("0+60x99", "0+48x99", replica="1"),
        70,
        [FAST, SLOW],
    ),
    Case("one of ten late for six hours", first_tokens("0+300x99", "0+270x99"), 375, [FAST, SLOW], step=5),
    Case("one of twenty-five late for a day", first_tokens("0+1800x70", "0+1728x70"), 1500, [SLOW], step=30),
    Case("one of two hundred late for three days and more", first_tokens("0+1800x170", "0+1791x170"), 4800, step=30),
    Case("one of fifty late for three days and more", first_tokens("0+1800x170", "0+1764x170"), 4800, [SLOW], step=30),
    Case(
        "an engine without the goal's bucket",
        first_tokens("0+60x99", "0+30x99", le="2"),
        80,
        [("TritonfleetTtftNotMeasured", MODEL)],
    ),
    Case("the only engine was given up", engine("failed"), 3, [MODEL_DOWN, REPLICA_DOWN]),
    Case(
        "one of two engines restarts",
        engine() | engine("restarting", replica="1"),
        3,
        [("TritonfleetReplicaDown", SECOND)],
    ),
    Case("an engine starts again after a failure", engine("starting", restarts="1x99"), 3, [MODEL_DOWN, REPLICA_DOWN]),
    Case("an engine starts for the first time", engine("starting"), 10),
    Case("a first start of 25 minutes", engine("starting"), 25, [("TritonfleetStartSlow", REPLICA)]),
    Case("a model was unloaded", engine("stopped"), 10),
    Case("a model is being stopped", engine("draining"), 10),
    Case("a model sleeps while another has the GPU", engine("asleep"), 10),
    Case("an engine serves", engine(), 30),
    Case(
        "an engine fell over for a moment",
        {
            **engine(),
            series("tritonfleet_replica_up", ENGINE): "1x5 0 1x30",
            series("tritonfleet_replica_restarts_total", ENGINE): "0x5 1x30",
            series("tritonfleet_replica_state", ENGINE, state="ready"): "1x5 0 1x30",
            series("tritonfleet_replica_state", ENGINE, state="restarting"): "0x5 1 0x30",
        },
        8,
    ),
    Case("three restarts in ten minutes", engine(restarts="0x5 1x3 2x3 3x30"), 14, [LOOP]),
    Case("two restarts in ten minutes", engine(restarts="0x5 1x3 2x30"), 14),
    Case("three restarts in an hour and a half", engine(restarts="0x5 1x40 2x40 3x30"), 95),
    Case("requests and no tokens", {_RUNNING: "4x30", _TOKENS: "0+900x5 4500x30"}, 18, [STALLED]),
    Case("requests and tokens", {_RUNNING: "4x30", _TOKENS: "0+900x30"}, 18),
    Case("no requests and no tokens", {_RUNNING: "0x30", _TOKENS: "4500x30"}, 18),
    Case("one long prompt now and then", {_RUNNING: "1x3 0 1x3 0 1x3 0 1x3 0 1x3", _TOKENS: "4500x30"}, 14),
    Case("Triton is down", {_TRITON: "1x5 0x20"}, 8, [("TritonfleetTritonDown", "")]),
    Case(
        "Triton crashes again and again",
        {_TRITON: "1x30", _TRITON_RESTARTS: "0x5 1x3 2x3 3x20"},
        15,
        [("TritonfleetTritonDown", "")],
    ),
    Case("Triton serves", {_TRITON: "1x30", _TRITON_RESTARTS: "0x5 1x30"}, 15),
    Case("a full KV cache", {_CACHE: "0.99x30"}, 12, [("TritonfleetKvCacheFull", REPLICA)]),
    Case("a full KV cache for three minutes", {_CACHE: "0.5x5 0.99x3 0.5x20"}, 14),
    Case("a KV cache in good use", {_CACHE: "0.9x30"}, 12),
    Case("the line grows", {_WAITING: "0+2x40"}, 30, [GROWING]),
    Case("the line grows in the gateway alone", {_WAITING: "0x40", _IN_LINE: "0+2x40"}, 30, [GROWING]),
    Case("the line grows before a model that sleeps", {_ASLEEP: "0+2x40"}, 30, [GROWING]),
    Case("a long line that does not grow", {_WAITING: "20x40"}, 30),
    Case("a line that comes and goes", {_WAITING: "0 30 0 30 0 31 0 31 0 32 0 32 0 33 0 33 0 34 0 34 0 35 0 35 0"}, 21),
    Case("three requests wait", {_WAITING: "0+0.1x40"}, 30),
    Case(
        "one of ten requests fails at the gateway",
        answers("gateway", "0+54x30", status="200", path="/v1/completions", src="engine")
        | answers("gateway", "0+6x30", status="503", path="/v1/completions", src="gateway"),
        15,
        [FAIL],
    ),
    Case(
        "all requests fail at Triton's door",
        answers("bridge", "0+60x30", outcome="failed", version="1"),
        15,
        [FAIL],
    ),
    Case(
        "clients send nonsense",
        answers("gateway", "0+6x30", status="200", path="/v1/completions", src="engine")
        | answers("gateway", "0+54x30", status="400", path="/v1/completions", src="gateway")
        | answers("bridge", "0+54x30", outcome="cancelled", version="1"),
        15,
    ),
    Case("half of the time goes into swaps", {_SWITCHING: "0+30x60"}, 30, [THRASH]),
    Case("five seconds a minute go into swaps", {_SWITCHING: "0+5x60"}, 30),
    Case("a pool's pages are gone", engine(lasts="x10"), 25, [SCRAPE]),
    Case("a pool's pages are gone for more than an hour: it was taken away", engine(lasts="x10"), 90),
    Case(
        "one of two pods of a pool is gone: it was scaled down",
        engine(lasts="x10") | {series("tritonfleet_replica_up", ENGINE, instance="b:9000"): "1x99"},
        25,
    ),
    Case("no fleet at all", {}, 10, [("TritonfleetScrapeMissing", "")], page="_x9"),
    Case(
        "an engine does not tell its metrics",
        {series("tritonfleet_scrape_up", ENGINE): "1x5 0x20"},
        10,
        [("TritonfleetEngineScrapeMissing", REPLICA)],
    ),
    Case("an engine told its metrics late once", {series("tritonfleet_scrape_up", ENGINE): "1x5 0 1x20"}, 10),
    Case(
        "the page is without Triton's part",
        engine() | {series("tritonfleet_scrape_part_up", PAGE, part="triton"): "1x5 0x20"},
        15,
        [("TritonfleetPartScrapeMissing", 'part="triton"')],
    ),
    Case(
        "the page was without Triton's part once",
        engine() | {series("tritonfleet_scrape_part_up", PAGE, part="triton"): "1x5 0 1x20"},
        12,
    ),
    Case(
        "the door of several pools has no supervisor beside it",
        {series("tritonfleet_scrape_part_up", PAGE, part="supervisor"): "0x20"},
        15,
    ),
    Case(
        "Triton's own page is scraped beside the fleet's",
        answers("bridge", "0+60x30", outcome="success", version="1")
        | {
            series("tritonfleet_bridge_requests_total", {"model": "m", "version": "1"}, outcome="failed"): "0+60x30",
        },
        15,
    ),
)
