"""A model's trace replayed by its rule, by the original blueprint's, and with a fixed number of replicas. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tritonfleet.client.stats import percentile
from tritonfleet.scaling.pools import model_rule
from tritonfleet.scaling.rule import Direction, Policy, Rule, Trigger
from tritonfleet.simulate.engine import Speed
from tritonfleet.simulate.scaling.simulation import Run, simulate
from tritonfleet.simulate.trace import Request
from tritonfleet.spec.models import ModelSpec
from tritonfleet.spec.scaling import ScalingSpec

#: Ten milliseconds of queue time a second on each replica: the blueprint's target.
BLUEPRINT_TARGET = 10.0
BLUEPRINT_QUERY = "avg(rate(nv_inference_queue_duration_us[1m])/1000)"


@dataclass(frozen=True)
class Row:
    """One rule at one start time."""

    model: str
    rule: str
    start_minutes: float | None
    """Mean time until a new replica serves; None where there are no new ones."""
    requests: int
    ttft_goal_seconds: float
    misses: int
    """Requests whose time to first token was over the goal."""
    ttft_p50_seconds: float
    ttft_p95_seconds: float
    replica_hours: float
    usd: float | None
    """None where no price is known."""
    most_replicas: int
    changes: int
    """How often the number of replicas changed."""
    run: Run

    @property
    def miss_share(self) -> float:
        """Part of the requests over the goal, 0 to 1."""
        return self.misses / self.requests


def blueprint_rule(min_replicas: int, max_replicas: int) -> Rule:
    """Return the original blueprint's rule: Triton's queue time, with the HPA's default behaviour."""
    up = Direction(0, (Policy("Pods", 4, 15), Policy("Percent", 100, 15)))
    down = Direction(300, (Policy("Percent", 100, 15),))
    trigger = Trigger("triton-queue", BLUEPRINT_QUERY, BLUEPRINT_TARGET)
    return Rule((trigger,), max(1, min_replicas), max_replicas, up, down, idle_seconds=300)


def compare(
    trace: Sequence[Request],
    model: ModelSpec,
    scaling: ScalingSpec,
    speed: Speed,
    *,
    start_minutes: Iterable[float],
    usd_per_hour: float | None,
    seed: int = 0,
) -> tuple[Row, ...]:
    """Replay *trace* by each rule and start time.

    Args:
        trace: Requests of this model, the earliest first.
        model: The model.
        scaling: Its section of fleet.yaml.
        speed: Of one replica.
        start_minutes: Times until a new replica serves.
        usd_per_hour: Price of a replica.
        seed: Of the start times.
    """
    least, most = max(1, scaling.min_replicas), scaling.max_replicas

    def row(name: str, rule: Rule, minutes: float | None) -> Row:
        run = simulate(trace, rule, speed, start_seconds=60 * (minutes or 0.0), seed=seed)
        return _row(model.name, name, minutes, run, scaling.ttft_goal_seconds, usd_per_hour)

    rows = []
    for minutes in start_minutes:
        # The way down is as slow as the way up, unless the spec says otherwise.
        own = model_rule(model, scaling.model_copy(update={"start_seconds": 60 * minutes}))
        rows += [row("in flight", own, minutes), row("blueprint", blueprint_rule(least, most), minutes)]
    fixed = [row(f"always {number}", _fixed(model, scaling, number), None) for number in sorted({least, most})]
    return (*rows, *fixed)


def _fixed(model: ModelSpec, scaling: ScalingSpec, replicas: int) -> Rule:
    return replace(model_rule(model, scaling), min_replicas=replicas, max_replicas=replicas)


def _row(model: str, rule: str, minutes: float | None, run: Run, goal: float, usd_per_hour: float | None) -> Row:
    hours = run.replica_seconds / 3600
    return Row(
        model,
        rule,
        minutes,
        requests=len(run.ttft_seconds),
        ttft_goal_seconds=goal,
        misses=sum(ttft > goal for ttft in run.ttft_seconds),
        ttft_p50_seconds=percentile(run.ttft_seconds, 50),
        ttft_p95_seconds=percentile(run.ttft_seconds, 95),
        replica_hours=hours,
        usd=None if usd_per_hour is None else hours * usd_per_hour,
        most_replicas=max(look.replicas for look in run.looks),
        changes=len(run.steps),
        run=run,
    )
