"""The dashboard of a whole fleet. Pure."""

from __future__ import annotations

from tritonfleet.observe import choices, engine_rows, request_rows
from tritonfleet.observe.board import Board, Level, Panel, Query, Row
from tritonfleet.observe.promql import aggregate
from tritonfleet.observe.slo import TTFT, burn_rate

UID = "tritonfleet"
_Q = choices.FLEET_WIDE


def _one(expression: str, legend: str = "") -> tuple[Query, ...]:
    return (Query(expression, legend),)


def _now() -> Row:
    up = _Q.select("tritonfleet_replica_up")
    running, waiting = _Q.select("vllm:num_requests_running"), _Q.select("vllm:num_requests_waiting")
    bad: dict[float, Level] = {0: "red", 1: "green"}
    return Row(
        "Now",
        (
            Panel(
                "Replicas that serve",
                "Engines that serve, of all chosen models. Red: nothing serves; see the row Fleet for which, and "
                "`tritonfleet status`.",
                _one(f"sum({up})", ""),
                kind="number",
                width=4,
                levels=bad,
                decimals=0,
            ),
            Panel(
                "Lowest share of replicas up",
                "Of the model that is worst off. Below 100 %: a replica is down, starting, asleep or unloaded.",
                _one(f"min({aggregate('avg', ('model',))} ({up}))", ""),
                "percentunit",
                "number",
                4,
                maximum=1,
                levels={0: "red", 0.5: "yellow", 1: "green"},
            ),
            Panel(
                "Requests in the engines",
                "Running and waiting together.",
                _one(f"sum({running}) + sum({waiting})", ""),
                kind="number",
                width=4,
                decimals=0,
            ),
            Panel(
                "Tokens generated now",
                "Per second, over all chosen models.",
                _one(f"sum({_Q.rate('vllm:generation_tokens_total')})", ""),
                "tokens/s",
                "number",
                4,
            ),
            Panel(
                "TTFT p95 over all",
                "Time to first token of all chosen models together; which one is slow is in the row Latency.",
                _one(_Q.quantile(0.95, (), TTFT), ""),
                "s",
                "number",
                4,
            ),
            Panel(
                "Worst burn rate of the TTFT goal",
                "Over one hour; 1 spends the month's budget exactly. Above 14.4 somebody is called. Needs the rules of "
                "`tritonfleet observe rules`.",
                _one(f'max({burn_rate("1h")}{{fleet="$fleet",model=~"$model"}})', ""),
                kind="number",
                width=4,
                levels={0: "green", 1: "yellow", 14.4: "red"},
                decimals=1,
            ),
        ),
    )


def fleet_board(price_per_hour: float = 1.0) -> Board:
    """Return the dashboard; *price_per_hour* ($) of one machine is where its choice starts."""
    return Board(
        UID,
        "tritonfleet: fleet",
        "All models of one fleet: what users see, what it costs, where it is full, and what breaks.",
        (
            choices.FLEET,
            choices.POOL,
            choices.MODELS,
            choices.WINDOW,
            choices.price(price_per_hour),
            choices.HOST,
        ),
        (
            _now(),
            request_rows.power_and_requests(),
            request_rows.latency(),
            request_rows.throughput(),
            engine_rows.saturation(),
            engine_rows.fleet(),
            engine_rows.sharing(),
            engine_rows.gpus(),
        ),
    )
