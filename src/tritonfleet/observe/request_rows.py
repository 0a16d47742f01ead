"""The rows of the fleet's dashboard about requests: compute, latency, throughput, cost. Pure."""

from __future__ import annotations

from tritonfleet.observe import choices
from tritonfleet.observe.board import Panel, Query, Row
from tritonfleet.observe.engine_rows import of_gpus
from tritonfleet.observe.promql import Queries, total
from tritonfleet.observe.slo import TTFT, burn_rate

_Q = choices.FLEET_WIDE
_MODEL = ("model",)
_PERCENTILES = (0.5, 0.95, 0.99)


def _one(expression: str, legend: str = "{{model}}") -> tuple[Query, ...]:
    return (Query(expression, legend),)


def _percentiles(histogram: str) -> tuple[Query, ...]:
    return tuple(
        Query(_Q.quantile(share, _MODEL, histogram), f"p{share * 100:g} {{{{model}}}}") for share in _PERCENTILES
    )


def _outcomes(rate: bool) -> tuple[Query, ...]:
    write = _Q.rate if rate else _Q.select
    bridge, gateway = "tritonfleet_bridge_requests_total", "tritonfleet_gateway_requests_total"
    # An outcome that never was has no series; where requests are counted at all, that is a zero that is known.
    known = f"0 * {total(_MODEL, write(bridge), write(gateway))}"
    ends = (
        ("success", '="success"', '=~"2.."'),
        ("failure", '=~"failed|timeout"', '=~"5.."'),
        ("refused or cancelled", '=~"refused|cancelled"', '=~"4.."'),
    )
    return tuple(
        Query(
            f"{total(_MODEL, write(bridge, outcome=outcome), write(gateway, status=status))} or {known}",
            f"{name} {{{{model}}}}",
        )
        for name, outcome, status in ends
    )


def _cost(tokens: str) -> str:
    machines = f"count(group by (instance) ({choices.WHOLE_POOLS.select('tritonfleet_replica_up')}))"
    return f"$price * {machines} / (({tokens} > 0) * 3600 / 1e6)"


def _generated(queries: Queries) -> str:
    return queries.rate("vllm:generation_tokens_total")


def power_and_requests() -> Row:
    return Row(
        "GPU power, compute, requests, queue",
        (
            Panel(
                "Average GPU power",
                "Mean over the chosen hosts' GPUs. Near idle while requests wait: the engine does not reach the GPU; "
                "see the engine's log.",
                _one(f"avg({of_gpus('DCGM_FI_DEV_POWER_USAGE')})", "average"),
                "watt",
                width=6,
            ),
            Panel(
                "Compute time per request",
                "Mean time that the engine computes a request: prefill is the prompt, decode the answer. Prefill grows "
                "with long prompts and few cache hits, decode with long answers and full batches.",
                (
                    Query(_Q.mean(_MODEL, "vllm:request_prefill_time_seconds"), "prefill {{model}}"),
                    Query(_Q.mean(_MODEL, "vllm:request_decode_time_seconds"), "decode {{model}}"),
                ),
                "s",
                width=6,
            ),
            Panel(
                "Cumulative requests",
                "Since the fleet's start, at both doors; a restart begins at 0. A failure is the server's fault "
                "(5xx, failed, timeout): see the gateway's and the model's log. Refused is the client's.",
                _outcomes(rate=False),
                width=6,
            ),
            Panel(
                "Queue time per request",
                "Mean wait inside the engine, before its computing begins, and in the gateway's line. Growing: more "
                "replicas, or fewer and shorter requests.",
                (
                    Query(_Q.mean(_MODEL, "vllm:request_queue_time_seconds"), "engine {{model}}"),
                    Query(_Q.mean(_MODEL, "tritonfleet_gateway_wait_seconds"), "gateway {{model}}"),
                ),
                "s",
                width=6,
            ),
        ),
    )


def latency() -> Row:
    return Row(
        "Latency",
        (
            Panel(
                "Time to first token",
                "In the engine, of both doors' requests, waiting included. Above the goal: is the queue long (add "
                "replicas), or are prompts long (prefill time)?",
                _percentiles(TTFT),
                "s",
            ),
            Panel(
                "Inter-token latency",
                "Time between two tokens of an answer: what a reader sees as speed. Grows with the batch; jumps point "
                "to long prompts that share steps with answers (chunked prefill), or to a busy CPU.",
                _percentiles("vllm:inter_token_latency_seconds"),
                "s",
            ),
            Panel(
                "Time to first token at the OpenAI door",
                "From a streamed request's headers to its first bytes: the engine's time, the gateway's line and the "
                "wait for a model that sleeps. Well above the engine's own: look at the line and at the row Sharing.",
                _percentiles("tritonfleet_gateway_time_to_first_token_seconds"),
                "s",
            ),
            Panel(
                "Time per request",
                "From arrival to last token, in the engine.",
                _percentiles("vllm:e2e_request_latency_seconds"),
                "s",
                width=12,
            ),
            Panel(
                "Burn rate of the TTFT goal",
                "How many times faster than allowed the month's budget of late first tokens is spent. Needs the rules "
                "of `tritonfleet observe rules`.",
                tuple(
                    Query(f'{burn_rate(window)}{{fleet="$fleet",model=~"$model"}}', f"{window} {{{{model}}}}")
                    for window in ("5m", "1h", "6h")
                ),
                width=12,
                levels={0: "green", 1: "yellow", 14.4: "red"},
            ),
        ),
    )


def throughput() -> Row:
    every = f"{choices.WHOLE_POOLS.rate('vllm:prompt_tokens_total')}"
    return Row(
        "Throughput and cost",
        (
            Panel(
                "Generated tokens per second",
                "Flat while the queue grows: the engine's limit is reached.",
                _one(total(_MODEL, _generated(_Q))),
                "tokens/s",
                stacked=True,
                width=6,
            ),
            Panel(
                "Prompt tokens per second",
                "Tokens that were read, those from the prefix cache included.",
                _one(_Q.rate_of(_MODEL, "vllm:prompt_tokens_total")),
                "tokens/s",
                stacked=True,
                width=6,
            ),
            Panel(
                "Requests per second",
                "That ended, at both doors. What failure and refused mean is said at Cumulative requests.",
                _outcomes(rate=True),
                "reqps",
                width=6,
            ),
            Panel(
                "Cost per million tokens",
                "Price of the chosen pools' machines over what they generate now (and over all tokens, prompts too). "
                "Set the price above. Rises when the fleet idles; no line where no token is made.",
                (
                    Query(_cost(f"sum({_generated(choices.WHOLE_POOLS)})"), "generated"),
                    Query(
                        _cost(f"(sum({_generated(choices.WHOLE_POOLS)}) + sum({every}))"),
                        "all tokens",
                    ),
                ),
                "currencyUSD",
                width=6,
                no_value="no tokens are made",
                decimals=2,
            ),
        ),
    )
