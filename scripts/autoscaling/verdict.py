"""What the proof found, held against what is promised. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from autoscaling.controller import Look
from autoscaling.load import Sample
from tritonfleet.client.stats import percentile

#: A step must be answered by asking for replicas within this time.
ASKED_WITHIN_SECONDS = 30.0


@dataclass(frozen=True)
class Verdict:
    """What was measured; times in seconds."""

    requests: int
    errors: tuple[str, ...]
    reconnects: int
    """Requests that were sent again because nginx had closed the idle connection under them."""
    asked_after_seconds: float | None
    """From the step to the first look that asked for more; None if none did."""
    serving_after_seconds: float | None
    """From the step until as many replicas served as were asked for at most."""
    most_replicas: int
    ttft_p95_before: float
    ttft_p95_worst: float
    """Of the worst tenth of the step's time."""
    ttft_p95_recovered: float
    """Over the end of the step."""
    ttft_goal: float
    scale_downs: int
    drained: int
    """Long requests that ran on a replica when it was told to go, and were answered whole."""
    turns: int
    """How often replicas that had come went while the load was still high, or came back after they had gone."""
    exits: tuple[tuple[str, int], ...]
    """Pods that were ended, with their exit status."""
    seconds: float

    @property
    def failures(self) -> tuple[str, ...]:
        """Return what is not as promised; empty if all is."""
        checks = (
            (not self.errors, f"{len(self.errors)} requests failed, the first with: {next(iter(self.errors), '')}"),
            (
                self.asked_after_seconds is not None and self.asked_after_seconds <= ASKED_WITHIN_SECONDS,
                f"more replicas were asked for after {self.asked_after_seconds} s, not {ASKED_WITHIN_SECONDS:g}",
            ),
            (self.ttft_p95_worst > self.ttft_goal, "the step was too small to miss the TTFT goal: it proves nothing"),
            (
                self.ttft_p95_recovered <= self.ttft_goal,
                f"TTFT p95 came back to {self.ttft_p95_recovered:.2f} s only, the goal is {self.ttft_goal:g} s",
            ),
            (self.scale_downs > 0, "no replica was let go"),
            (self.drained >= self.scale_downs, f"only {self.drained} requests ran on replicas that were let go"),
            (self.turns == 0, f"the number of replicas turned {self.turns} times"),
            (all(status == 0 for _, status in self.exits), f"not all pods ended well: {self.exits}"),
        )
        return tuple(text for holds, text in checks if not holds)


def judge(
    looks: Sequence[Look],
    samples: Sequence[Sample],
    witnesses: Sequence[Sample],
    exits: Sequence[tuple[str, int]],
    *,
    reconnects: int,
    step: tuple[float, float],
    recovered_at: float,
    ttft_goal: float,
    end: float,
) -> Verdict:
    """Return the verdict on a run whose load was high between the two times of *step*.

    TTFT must be back from *recovered_at* to the end of the step.
    *witnesses* are the requests that ran on replicas when they were told to go.
    """
    start, stop = step
    before = max((look.replicas for look in looks if look.at < start), default=1)
    most = max(look.replicas for look in looks)
    asked = next((look.at for look in looks if look.at >= start and look.replicas > before), None)
    serving = next((look.at for look in looks if look.at >= start and look.serving >= most), None)
    tenth = (stop - start) / 10
    during = [_p95(samples, start + part * tenth, start + (part + 1) * tenth) for part in range(10)]
    changes = [second.replicas - first.replicas for first, second in pairwise(looks)]
    signs = [change > 0 for change in changes if change]
    early = sum(second.replicas < first.replicas for first, second in pairwise(looks) if start <= second.at <= stop)
    everyone = [*samples, *witnesses]
    return Verdict(
        requests=len(everyone),
        errors=tuple(f"{sample.door} at {sample.sent_at:.1f} s: {sample.error}" for sample in everyone if sample.error),
        reconnects=reconnects,
        asked_after_seconds=None if asked is None else asked - start,
        serving_after_seconds=None if serving is None else serving - start,
        most_replicas=most,
        ttft_p95_before=_p95(samples, 0, start),
        ttft_p95_worst=max(during),
        ttft_p95_recovered=_p95(samples, recovered_at, stop),
        ttft_goal=ttft_goal,
        scale_downs=sum(change < 0 for change in changes),
        drained=sum(sample.error is None for sample in witnesses),
        turns=sum(up and not before for before, up in pairwise(signs)) + early,
        exits=tuple(exits),
        seconds=end,
    )


def _p95(samples: Sequence[Sample], start: float, stop: float) -> float:
    found = [
        sample.ttft_seconds for sample in samples if start <= sample.sent_at < stop and sample.ttft_seconds is not None
    ]
    return percentile(found, 95) if found else 0.0
