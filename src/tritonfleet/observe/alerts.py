"""Alerts on what breaks: engines, queues, memory, swaps, and metrics that go missing. Pure.

A value that is missing never reads as fine: what was there within the last hour and is gone is an alert of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from tritonfleet.observe.promql import Queries, any_of, total
from tritonfleet.observe.rule import MODEL, OF_A_FLEET, REPLICA, Alert, Record

_Q = Queries(OF_A_FLEET)
_RESTARTS_TOTAL = _Q.select("tritonfleet_replica_restarts_total")
_WHOSE = "{{ $labels.model }} in fleet {{ $labels.fleet }}"
_ENGINE = "Replica {{ $labels.replica }} of " + _WHOSE

WAITING = "tritonfleet:requests_waiting:sum"
DOWN = "tritonfleet:replica_down:bool"

#: Share of the KV cache from which on new requests are likely to wait or to throw others out.
KV_CACHE_FULL = 0.95
RESTARTS, RESTARTS_WITHIN = 3, "30m"
QUEUE = 5
#: Share of its time that a group may spend with switching.
SWITCHING = 0.25
FAILING = 0.05


def _by(operator: str, labels: Sequence[str], vector: str) -> str:
    return f"{operator} by ({', '.join(labels)}) ({vector})"


def _in_state(*states: str) -> str:
    matcher = f'="{states[0]}"' if len(states) == 1 else f'=~"{any_of(states)}"'
    return f"{_Q.select('tritonfleet_replica_state', state=matcher)} == 1"


def down() -> Record:
    """Return which replicas are not up, though nobody stopped them and it is not their first start."""
    return Record(
        DOWN,
        f"1 - (\n  {_Q.select('tritonfleet_replica_up')} == 0\n"
        f"  unless ignoring (state) ({_in_state('stopped', 'asleep', 'draining', 'stopping')})\n"
        f"  unless ignoring (state) ({_in_state('starting')} and ignoring (state) {_RESTARTS_TOTAL} == 0)\n)",
    )


def waiting() -> Record:
    """Return how many requests wait, wherever they do."""
    places = ("vllm:num_requests_waiting", "tritonfleet_gateway_requests_waiting", "tritonfleet_share_waiting")
    return Record(WAITING, total(MODEL, *map(_Q.select, places)))


def engines() -> tuple[Alert, ...]:
    """Return the alerts on engines that do not serve."""
    up = _by("sum", MODEL, _Q.select("tritonfleet_replica_up"))
    running = _Q.select("vllm:num_requests_running")
    tokens = _Q.select("vllm:generation_tokens_total")
    triton = _Q.select("tritonfleet_triton_up")
    triton_restarts = _Q.select("tritonfleet_triton_restarts_total")
    return (
        Alert(
            "TritonfleetModelDown",
            f"{_by('sum', MODEL, DOWN)} > 0\nand on ({', '.join(MODEL)}) {up} == 0",
            "1m",
            "critical",
            f"{_WHOSE} is not served",
            "{{ $value }} of its engines should serve, and none does: every request for it fails.",
        ),
        Alert(
            "TritonfleetReplicaDown",
            f"{_by('max', REPLICA, DOWN)} > 0",
            "2m",
            "warning",
            f"{_ENGINE} is down",
            "The engine should serve and does not; the other replicas carry its load.",
        ),
        Alert(
            "TritonfleetStartSlow",
            _by("max", REPLICA, _in_state("starting")),
            "20m",
            "warning",
            f"{_ENGINE} has been starting for 20 minutes",
            "Weights still being fetched, or an engine that hangs while it loads them.",
        ),
        Alert(
            "TritonfleetRestartLoop",
            f"{_by('max', REPLICA, f'increase({_RESTARTS_TOTAL}[{RESTARTS_WITHIN}])')} >= {RESTARTS}",
            "0m",
            "critical",
            f"{_ENGINE} crashes again and again",
            f"{{{{ $value | humanize }}}} restarts within {RESTARTS_WITHIN}; after max_restarts it is given up.",
        ),
        Alert(
            "TritonfleetEngineStalled",
            f"{_by('sum', REPLICA, f'min_over_time({running}[5m])')} > 0\n"
            f"and {_by('sum', REPLICA, f'rate({tokens}[5m])')} == 0",
            "2m",
            "critical",
            f"{_ENGINE} has requests and makes no tokens",
            "{{ $value }} requests are in its batch, and no token came in five minutes: the engine hangs.",
        ),
        Alert(
            "TritonfleetTritonDown",
            f"{triton} == 0\nor increase({triton_restarts}[{RESTARTS_WITHIN}]) >= {RESTARTS}",
            "1m",
            "critical",
            "Triton of fleet {{ $labels.fleet }} is down or crashes again and again",
            "KServe clients (HTTP and gRPC) are not served at {{ $labels.instance }}; the OpenAI door still is.",
        ),
    )


def load() -> tuple[Alert, ...]:
    """Return the alerts on too much load."""
    cache = f"avg_over_time({_Q.select('vllm:kv_cache_usage_perc')}[5m])"
    switching = _Q.rate_of(("fleet", "group"), "tritonfleet_share_switch_seconds_sum", "15m")
    every = (_Q.rate("tritonfleet_bridge_requests_total"), _Q.rate("tritonfleet_gateway_requests_total"))
    failed = (
        _Q.rate("tritonfleet_bridge_requests_total", outcome='=~"failed|timeout"'),
        _Q.rate("tritonfleet_gateway_requests_total", status='=~"5.."'),
    )
    return (
        Alert(
            "TritonfleetKvCacheFull",
            f"{_by('max', REPLICA, cache)} > {KV_CACHE_FULL:g}",
            "5m",
            "warning",
            f"The KV cache of replica {{{{ $labels.replica }}}} of {_WHOSE} is full",
            "{{ $value | humanizePercentage }} in use for ten minutes: requests wait, or are computed twice.",
        ),
        Alert(
            "TritonfleetQueueGrowing",
            f"{WAITING} > {QUEUE}\nand min_over_time({WAITING}[10m]) > 0\nand deriv({WAITING}[10m]) > 0",
            "5m",
            "warning",
            f"The line for {_WHOSE} grows",
            "{{ $value }} requests wait, more than ten minutes ago: more comes in than the engines can do.",
        ),
        Alert(
            "TritonfleetRequestsFail",
            f"{total(MODEL, *failed)}\n/ {total(MODEL, *every)} > {FAILING:g}",
            "5m",
            "critical",
            f"Requests for {_WHOSE} fail",
            "{{ $value | humanizePercentage }} of the requests fail by the server's fault.",
        ),
        Alert(
            "TritonfleetSwapThrash",
            f"{switching} > {SWITCHING:g}",
            "10m",
            "warning",
            "Share group {{ $labels.group }} of fleet {{ $labels.fleet }} switches more than it serves",
            "{{ $value | humanizePercentage }} of the time goes into putting models to sleep and waking them.",
        ),
    )


def missing(scaled_to_zero: Sequence[str] = ()) -> tuple[Alert, ...]:
    """Return the alerts on metrics that are not there; pools of *scaled_to_zero* may go away."""
    pools = {"pool": f'!~"{any_of(scaled_to_zero)}"'} if scaled_to_zero else {}
    replicas = _Q.select("tritonfleet_replica_up", **pools)
    part = _Q.select("tritonfleet_scrape_part_up")
    # A door in front of several pools serves a page too, and never has a supervisor.
    replicas_of_all = _Q.select("tritonfleet_replica_up")
    before = _by("group", ("fleet", "pool"), f"last_over_time({replicas}[1h])")
    now = _by("group", ("fleet", "pool"), replicas)
    return (
        Alert(
            "TritonfleetScrapeMissing",
            f"{before} unless {now}\nor absent({_Q.select('tritonfleet_fleet_info')})",
            "3m",
            "critical",
            "No metrics from {{ if $labels.pool }}pool {{ $labels.pool }} of fleet {{ $labels.fleet }}"
            "{{ else }}any fleet{{ end }}",
            "Prometheus had them within the last hour, or never; every other alert is blind until they are back.",
        ),
        Alert(
            "TritonfleetEngineScrapeMissing",
            f"{_by('min', REPLICA, _Q.select('tritonfleet_scrape_up'))} == 0",
            "2m",
            "warning",
            f"{_ENGINE} does not tell its metrics",
            "The engine runs, but /metrics did not answer in time; its series are absent, and alerts on them blind.",
        ),
        Alert(
            "TritonfleetPartScrapeMissing",
            f"{part} == 0\nand on (instance) group by (instance) (last_over_time({replicas_of_all}[1h]))",
            "5m",
            "warning",
            "Metrics of part {{ $labels.part }} of fleet {{ $labels.fleet }} are missing",
            "The page at {{ $labels.instance }} is served without them.",
        ),
    )
