"""The dashboard of one model, replica by replica. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tritonfleet.observe import choices
from tritonfleet.observe.board import Board, Panel, Query, Row
from tritonfleet.observe.promql import aggregate
from tritonfleet.observe.slo import TTFT

UID = "tritonfleet-model"
_Q = choices.ONE_MODEL
#: Pods have the same replica numbers each, so the scraped address is needed too.
_REPLICA = ("replica", "instance")
_LEGEND = "{{replica}} {{instance}}"


def _each(operator: str, series: str, legend: str = _LEGEND) -> Query:
    return Query(f"{aggregate(operator, _REPLICA)} ({_Q.select(series)})", legend)


def _lengths(histogram: str, shares: Sequence[float] = (0.5, 0.95)) -> tuple[Query, ...]:
    return tuple(Query(_Q.quantile(share, (), histogram), f"p{share * 100:g}") for share in shares)


def _replicas() -> Row:
    return Row(
        "Replicas",
        (
            Panel(
                "State",
                "The state that each replica is in. Anything but ready for long: `tritonfleet logs MODEL`.",
                (Query(f"{_Q.select('tritonfleet_replica_state')} == 1", "{{state}} " + _LEGEND),),
                maximum=1,
            ),
            Panel(
                "Running",
                "Requests in each replica's batch. Uneven for long: a replica is slow, or clients hold on to one.",
                (_each("sum", "vllm:num_requests_running"),),
            ),
            Panel(
                "Waiting",
                "Requests in each engine's queue.",
                (_each("sum", "vllm:num_requests_waiting"),),
            ),
            Panel(
                "Generated tokens per second",
                "One replica well below the others: compare its machine.",
                (Query(_Q.rate_of(_REPLICA, "vllm:generation_tokens_total"), _LEGEND),),
                "tokens/s",
            ),
            Panel(
                "Time to first token, p95",
                "Of each replica.",
                (Query(_Q.quantile(0.95, _REPLICA, TTFT), _LEGEND),),
                "s",
            ),
            Panel(
                "KV cache in use",
                "Of each replica.",
                (_each("max", "vllm:kv_cache_usage_perc"),),
                "percentunit",
                maximum=1,
            ),
        ),
    )


def _requests() -> Row:
    return Row(
        "Requests",
        (
            Panel(
                "Prompt length",
                "Tokens. Long prompts make late first tokens.",
                _lengths("vllm:request_prompt_tokens"),
                "tokens",
                width=6,
            ),
            Panel(
                "Answer length",
                "Tokens. Long answers fill the KV cache.",
                _lengths("vllm:request_generation_tokens"),
                "tokens",
                width=6,
            ),
            Panel(
                "How answers end",
                "stop: the model ended it; length: the limit of tokens; abort: the client went away.",
                (Query(_Q.rate_of(("finished_reason",), "vllm:request_success_total"), "{{finished_reason}}"),),
                "reqps",
                width=6,
            ),
            Panel(
                "Tokens per step",
                "Mean of the engine's steps: how full its batches are. Low under load: max_num_seqs or the KV cache "
                "limits.",
                (Query(_Q.mean(_REPLICA, "vllm:iteration_tokens_total"), _LEGEND),),
                "tokens",
                width=6,
            ),
        ),
    )


def model_board() -> Board:
    """Return the dashboard."""
    return Board(
        UID,
        "tritonfleet: model",
        "One model: its replicas side by side, and what its requests look like.",
        (choices.FLEET, choices.POOL, choices.MODEL, choices.WINDOW),
        (_replicas(), _requests()),
    )
