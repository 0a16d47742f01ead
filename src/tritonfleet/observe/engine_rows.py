"""The rows of the fleet's dashboard about engines and machines: saturation, replicas, sharing, GPUs. Pure."""

from __future__ import annotations

from tritonfleet.observe import choices
from tritonfleet.observe.alerts import KV_CACHE_FULL, SWITCHING
from tritonfleet.observe.board import Panel, Query, Row
from tritonfleet.observe.promql import aggregate, total

_Q = choices.FLEET_WIDE
_MODEL = ("model",)
_NO_GROUP = "no share group"


def _one(expression: str, legend: str = "{{model}}") -> tuple[Query, ...]:
    return (Query(expression, legend),)


def of_gpus(series: str) -> str:
    """Return a GPU's value once, whoever tells it."""
    return f"{aggregate('max', ('Hostname', 'gpu', 'UUID'))} ({choices.GPUS.select(series)})"


def saturation() -> Row:
    cache = _Q.select("vllm:kv_cache_usage_perc")
    asked = _Q.rate_of(_MODEL, "vllm:prefix_cache_queries_total")
    return Row(
        "Saturation",
        (
            Panel(
                "Running and waiting",
                "Requests in the batch, in the engine's queue, and in the gateway's line. Waiting for minutes: add "
                "replicas, or raise max_num_seqs where the KV cache has room.",
                (
                    Query(total(_MODEL, _Q.select("vllm:num_requests_running")), "running {{model}}"),
                    Query(total(_MODEL, _Q.select("vllm:num_requests_waiting")), "waiting {{model}}"),
                    Query(total(_MODEL, _Q.select("tritonfleet_gateway_requests_waiting")), "in line {{model}}"),
                ),
                width=6,
            ),
            Panel(
                "KV cache in use",
                "Of the fullest replica, and the mean. Full: requests wait or are thrown out; lower max_model_len, "
                "give more memory, or add replicas (`tritonfleet plan` has the arithmetic).",
                (
                    Query(f"{aggregate('max', _MODEL)} ({cache})", "fullest {{model}}"),
                    Query(f"{aggregate('avg', _MODEL)} ({cache})", "mean {{model}}"),
                ),
                "percentunit",
                maximum=1,
                levels={0: "green", 0.8: "yellow", KV_CACHE_FULL: "red"},
                width=6,
            ),
            Panel(
                "Prefix cache hit ratio",
                "Share of prompt tokens that were known already. Low with prompts that start alike: replicas split "
                "them, or the cache is too small.",
                _one(f"{_Q.rate_of(_MODEL, 'vllm:prefix_cache_hits_total')} / ({asked} > 0)"),
                "percentunit",
                maximum=1,
                no_value="nothing was looked up",
                width=6,
            ),
            Panel(
                "Preemptions per second",
                "Requests that were thrown out of a full KV cache and are computed again. Above 0 for long: the cache "
                "is too small for the load.",
                _one(_Q.rate_of(_MODEL, "vllm:num_preemptions_total")),
                width=6,
            ),
        ),
    )


def fleet() -> Row:
    up = _Q.select("tritonfleet_replica_up")
    return Row(
        "Fleet",
        (
            Panel(
                "Replicas up",
                "Engines that serve, and engines there are. Apart for longer than a start takes, and not asleep "
                "for another: `tritonfleet status`, `tritonfleet logs MODEL`.",
                (
                    Query(f"{aggregate('sum', _MODEL)} ({up})", "up {{model}}"),
                    Query(f"{aggregate('count', _MODEL)} ({up})", "all {{model}}"),
                ),
                width=6,
            ),
            Panel(
                "Restarts within the last hour",
                "Of engines and of Triton, after failures. Above 0: the log's last lines before the restart say why.",
                (
                    Query(
                        f"{aggregate('sum', _MODEL)} (increase({_Q.select('tritonfleet_replica_restarts_total')}[1h]))",
                        "{{model}}",
                    ),
                    Query(f"sum(increase({_Q.select('tritonfleet_triton_restarts_total')}[1h]))", "Triton"),
                ),
                width=6,
            ),
            Panel(
                "Time to start",
                "Of each model's slowest replica, from its last start until it served. Scaling has to look that far "
                "ahead.",
                _one(f"{aggregate('max', _MODEL)} ({_Q.select('tritonfleet_replica_ready_seconds')})"),
                "s",
                width=6,
            ),
            Panel(
                "Engines that tell their metrics",
                "Share of the engines that run. Below 100 %: an engine hangs, and its lines above are not there.",
                _one(f"{aggregate('avg', _MODEL)} ({_Q.select('tritonfleet_scrape_up')})"),
                "percentunit",
                width=6,
                maximum=1,
                levels={0: "red", 1: "green"},
            ),
        ),
    )


def sharing() -> Row:
    by = ("group",)
    return Row(
        "Sharing: models that take turns on a GPU",
        (
            Panel(
                "Swaps per minute",
                "How often a model was put to sleep for another. Many, with requests waiting: give the models GPUs of "
                "their own, or a longer residency.",
                _one(f"60 * {_Q.rate_of(by, 'tritonfleet_share_switches_total')}", "{{group}}"),
                width=6,
                no_value=_NO_GROUP,
            ),
            Panel(
                "Time of a swap",
                "p95 of the time until the next model served, and the share of time spent so (an alert from "
                f"{SWITCHING:.0%} on).",
                (
                    Query(_Q.quantile(0.95, by, "tritonfleet_share_switch_seconds"), "p95 {{group}}"),
                    Query(_Q.rate_of(by, "tritonfleet_share_switch_seconds_sum"), "share of time {{group}}"),
                ),
                "s",
                width=6,
                no_value=_NO_GROUP,
            ),
            Panel(
                "Awake",
                "1 for the model that has the GPU.",
                _one(_Q.select("tritonfleet_share_resident"), "{{group}} {{model}}"),
                width=6,
                maximum=1,
                no_value=_NO_GROUP,
            ),
            Panel(
                "Waiting for their model to wake",
                "Requests, and how long the oldest has waited.",
                (
                    Query(_Q.select("tritonfleet_share_waiting"), "requests {{model}}"),
                    Query(_Q.select("tritonfleet_share_oldest_wait_seconds"), "oldest, seconds {{model}}"),
                ),
                width=6,
                no_value=_NO_GROUP,
            ),
        ),
    )


def gpus() -> Row:
    used, free = of_gpus("DCGM_FI_DEV_FB_USED"), of_gpus("DCGM_FI_DEV_FB_FREE")
    legend = "{{Hostname}} GPU {{gpu}}"
    return Row(
        "GPUs",
        (
            Panel(
                "GPU utilisation",
                "Share of time in which a kernel ran. It is 100 % for a half-empty batch too, so it is no measure of "
                "load.",
                _one(f"{of_gpus('DCGM_FI_DEV_GPU_UTIL')} / 100", legend),
                "percentunit",
                maximum=1,
            ),
            Panel(
                "GPU memory in use",
                "Engines reserve their share at the start, so it is flat; a jump is another program, or a swap.",
                _one(f"{used} / ({used} + {free})", legend),
                "percentunit",
                maximum=1,
            ),
            Panel(
                "GPU temperature",
                "A card that is too hot slows down: compare with the clock in `nvidia-smi -q -d PERFORMANCE`.",
                _one(of_gpus("DCGM_FI_DEV_GPU_TEMP"), legend),
                "celsius",
            ),
        ),
    )
