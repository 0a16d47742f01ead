"""What share groups tell, as families of the metrics page. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tritonfleet.metrics.text import family, histogram
from tritonfleet.wire import ShareStatus


def share_text(fleet: str, groups: Sequence[ShareStatus], pools: Mapping[str, str]) -> str:
    """Return the state of all *groups*, *pools* being the models'; nothing for a fleet without any."""
    members = [
        ((fleet, group.group, member.model, pools[member.model]), member)
        for group in groups
        for member in group.members
    ]
    waits = [(labels, member.oldest_wait_seconds) for labels, member in members]
    parts = (
        family("tritonfleet_share_resident", [(labels, member.resident) for labels, member in members]),
        family("tritonfleet_share_waiting", [(labels, member.waiting) for labels, member in members]),
        family("tritonfleet_share_oldest_wait_seconds", waits),
        family("tritonfleet_share_requests_total", [(labels, member.asked) for labels, member in members]),
        family("tritonfleet_share_held_total", [(labels, member.held) for labels, member in members]),
        family("tritonfleet_share_refused_total", [(labels, member.refused) for labels, member in members]),
        family("tritonfleet_share_switches_total", [((fleet, group.group), group.switches) for group in groups]),
        histogram(
            "tritonfleet_share_switch_seconds",
            [((fleet, group.group), _buckets(group), group.switch_seconds_sum) for group in groups],
        ),
    )
    return "".join(parts)


def _buckets(group: ShareStatus) -> dict[float, float]:
    bounds = dict(zip(group.switch_seconds_bounds, group.switch_seconds_counts, strict=True))
    return {**bounds, math.inf: group.switches}
