"""What a person writes about a model's replicas in a cluster: how many, and on what load there are more."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from tritonfleet.spec.section import Seconds, Section

Share = Annotated[float, Field(gt=0, le=1, strict=False, allow_inf_nan=False)]
#: Kubernetes' own limits of an autoscaler's window and of a policy's period.
WINDOW_LIMIT_SECONDS = 3600
PERIOD_LIMIT_SECONDS = 1800


class ScalingSpec(Section):
    """How a model's replicas follow the load in a cluster."""

    min_replicas: Annotated[int, Field(ge=0)] = 1
    """Replicas that are always there; 0 lets the model go away when nobody asks for it."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Most replicas, whatever the load: the limit of what the model may cost."""
    concurrency: Annotated[int, Field(ge=1)]
    """Requests at once on one replica with which ttft_goal_seconds still holds; `tritonfleet bench --find-concurrency`
    measures it."""
    ttft_goal_seconds: Seconds = 2.0
    """Time to first token (p95) that concurrency was measured for."""
    headroom: Share = 0.75
    """Share of concurrency that is aimed for; the rest carries the load while a new replica starts."""
    kv_cache_usage: Share = 0.8
    """Share of the KV cache above which there are more replicas."""
    start_seconds: Seconds = 300.0
    """Time from asking for a replica until it serves: the node, the image and the weights."""
    up_window_seconds: Annotated[int, Field(ge=0, le=WINDOW_LIMIT_SECONDS)] = 0
    """Time for which the load must ask for more replicas before there are more."""
    down_window_seconds: Annotated[int, Field(ge=0, le=WINDOW_LIMIT_SECONDS)] | None = None
    """Time for which the load must ask for fewer replicas before there are fewer; when absent 600, or twice
    start_seconds if that is more."""
    down_period_seconds: Annotated[int, Field(ge=1, le=PERIOD_LIMIT_SECONDS)] = 120
    """Time in which at most one replica goes."""
    idle_seconds: Annotated[int, Field(ge=1)] = 900
    """Time without a request after which the last replica goes, with min_replicas: 0."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> ScalingSpec:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas {self.min_replicas} is more than max_replicas {self.max_replicas}; "
                "raise max_replicas or lower min_replicas"
            )
        return self

    @property
    def stabilisation_seconds(self) -> int:
        """Window of a scale-down."""
        if self.down_window_seconds is not None:
            return self.down_window_seconds
        return min(WINDOW_LIMIT_SECONDS, max(600, round(2 * self.start_seconds)))

    @property
    def target(self) -> int:
        """Requests at once on one replica that are aimed for."""
        return max(1, int(self.headroom * self.concurrency))
