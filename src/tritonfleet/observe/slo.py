"""The TTFT goal, and how fast its error budget burns: recording rules and alerts over two windows each. Pure.

A burn rate of 1 spends the budget exactly by the end of the month. The windows and factors are those of Google's SRE
workbook, chapter 5: 14.4 over an hour spends 2 % of a 30-day budget, 6 over six hours 5 %, 3 over a day 10 %, 1 over
three days 10 %. The short window ends the alert soon after the cause is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tritonfleet.errors import UsageError
from tritonfleet.observe.promql import Queries, any_of, bound
from tritonfleet.observe.rule import MODEL, OF_A_FLEET, Alert, Record
from tritonfleet.spec import FleetSpec

TTFT = "vllm:time_to_first_token_seconds"
#: Bounds of the buckets of TTFT that vLLM has (0.22 and 0.32 alike); a share can be told at these only.
TTFT_BOUNDS_SECONDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
#: `scaling.ttft_goal_seconds` of the spec speaks of p95.
SCALING_OBJECTIVE = 0.95
#: A burn rate says nothing over a handful of requests: one late answer of three is no incident.
FEWEST_REQUESTS = 20


@dataclass(frozen=True)
class Burn:
    """One pair of windows."""

    long: str
    short: str
    factor: float
    """How many times faster than the budget allows."""


FAST = (Burn("1h", "5m", 14.4), Burn("6h", "30m", 6.0))
SLOW = (Burn("1d", "2h", 3.0), Burn("3d", "6h", 1.0))
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True)
class TtftGoal:
    """So many of the first tokens come within so many seconds."""

    seconds: float = 2.5
    """A bound of TTFT's buckets."""
    objective: float = 0.99
    """Share of requests that must keep it, 0 to 1."""

    def __post_init__(self) -> None:
        """Raise UsageError for a goal that no rule could watch."""
        if self.seconds not in TTFT_BOUNDS_SECONDS:
            near = sorted(sorted(TTFT_BOUNDS_SECONDS, key=lambda known: abs(known - self.seconds))[:2])
            raise UsageError(
                f"TTFT goal {self.seconds:g} s: engines count first tokens in buckets, and none ends there; "
                f"take {near[0]:g} or {near[1]:g}"
            )
        factor = FAST[0].factor
        if not 1 - 1 / factor < self.objective < 1:
            raise UsageError(
                f"TTFT objective {self.objective:g}: it must be below 1 and above {1 - 1 / factor:.3f}, or the fastest "
                f"alert, at {factor:g} times the budget, would need more than 100 % late requests"
            )

    @property
    def budget(self) -> float:
        """Share of requests that may be late."""
        return round(1 - self.objective, 9)


@dataclass(frozen=True)
class Goals:
    """The goal of every model."""

    default: TtftGoal = field(default_factory=TtftGoal)
    by_model: Mapping[str, TtftGoal] = field(default_factory=dict)
    """Goals of single models."""


def goals_of(spec: FleetSpec, default: TtftGoal) -> Goals:
    """Return the goals that the spec's scaling sections name.

    A goal between two bounds is watched at the upper one: what comes later than that is late for certain.
    """
    return Goals(
        default,
        {
            model.name: TtftGoal(_bound_above(model.scaling.ttft_goal_seconds), SCALING_OBJECTIVE)
            for model in spec.models
            if model.scaling is not None
        },
    )


def _bound_above(seconds: float) -> float:
    return min((known for known in TTFT_BOUNDS_SECONDS if known >= seconds), default=TTFT_BOUNDS_SECONDS[-1])


def burn_rate(window: str) -> str:
    """Return the name of the recorded burn rate over *window*."""
    return f"tritonfleet:ttft_burn:rate{window}"


def _burn(goals: Goals, window: str) -> str:
    alone = [(f'="{name}"', goal) for name, goal in sorted(goals.by_model.items())]
    others = f'!~"{any_of(sorted(goals.by_model))}"' if goals.by_model else ""
    queries = Queries(OF_A_FLEET, window)
    parts = []
    for matcher, goal in (*alone, (others, goals.default)):
        which = {"model": matcher} if matcher else {}
        in_time = queries.rate_of(MODEL, f"{TTFT}_bucket", le=bound(goal.seconds), **which)
        all_of_them = queries.rate_of(MODEL, f"{TTFT}_count", **which)
        # Without traffic 0/0 is NaN, which no alert takes for late and no dashboard shows as fine.
        parts.append(f"(1 - {in_time} / {all_of_them}) / {goal.budget:g}")
    return "\nor\n".join(parts)


def records(goals: Goals) -> tuple[Record, ...]:
    """Return the burn rate over every window that an alert reads, by fleet and model."""
    return tuple(Record(burn_rate(window), _burn(goals, window)) for window in WINDOWS)


def _burns(pairs: tuple[Burn, ...]) -> str:
    counted = Queries(OF_A_FLEET).select(f"{TTFT}_count")
    return "\nor\n".join(
        f"(\n  {burn_rate(pair.long)} > {pair.factor:g}\n"
        f"  and {burn_rate(pair.short)} > {pair.factor:g}\n"
        f"  and sum by ({', '.join(MODEL)}) (increase({counted}[{pair.long}])) >= {FEWEST_REQUESTS}\n)"
        for pair in pairs
    )


def alerts() -> tuple[Alert, ...]:
    """Return the alerts on the burn rates, and on a goal that cannot be watched."""
    whose = "{{ $labels.model }} in fleet {{ $labels.fleet }}"
    speed = "The budget of late first tokens is spent {{ $value | humanize }} times faster than the goal allows"
    counted = Queries(OF_A_FLEET, "1h").rate_of(MODEL, f"{TTFT}_count")
    unwatched = f"{counted} > 0\nunless on ({', '.join(MODEL)}) {burn_rate('1h')}"
    return (
        Alert(
            "TritonfleetTtftBurnsFast",
            _burns(FAST),
            "2m",
            "critical",
            f"{whose} answers late",
            f"{speed}: a month's budget is gone within days.",
        ),
        Alert(
            "TritonfleetTtftBurnsSlow",
            _burns(SLOW),
            "15m",
            "warning",
            f"{whose} is a little late, for long",
            f"{speed}: it will not last the month.",
        ),
        Alert(
            "TritonfleetTtftNotMeasured",
            unwatched,
            "15m",
            "warning",
            f"The TTFT goal of {whose} is not watched",
            "First tokens are counted, but none of the engine's buckets ends at the goal, so no alert on it can fire.",
        ),
    )
