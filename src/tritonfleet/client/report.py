"""What `tritonfleet client` says about its requests, as lines of text. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tritonfleet.client.batch import Outcome
from tritonfleet.client.stats import duration_text, percentile, seconds_text, significant

#: Requests listed by number behind a reason that many share.
_LISTED = 10


def request_line(model: str, outcome: Outcome) -> str:
    """Return the line printed when a request is done; its start is that of the AI-on-EKS blueprint's client."""
    generation = outcome.generation
    head = f"Model {model} - Request {outcome.prompt.request_id}: "
    head += f"{seconds_text(generation.timing.latency_seconds)} seconds"
    parts = [head, f"TTFT {_ttft(generation.timing.ttft_seconds)}"]
    if generation.output_tokens is not None:
        parts.append(f"{generation.output_tokens} tokens")
    rate = generation.tokens_per_second
    parts.append("tokens/s n/a" if rate is None else f"{significant(rate)} tokens/s")
    if outcome.error is not None:
        parts.append(f"FAILED: {outcome.error}")
    elif any(generation.finish_reasons):
        parts.append("/".join(sorted({reason or "?" for reason in generation.finish_reasons})))
    return ", ".join(parts)


def totals_lines(outcomes: Sequence[Outcome], wall_seconds: float) -> list[str]:
    """Return the lines about all requests: the wall time once, not the sum of times that overlap."""
    tokens = sum(outcome.generation.output_tokens or 0 for outcome in outcomes)
    lines = [
        f"Total time for all requests: {seconds_text(wall_seconds)} seconds, {len(outcomes)} requests, "
        f"{tokens} tokens, {significant(tokens / wall_seconds) if tokens else 'n/a'} tokens/s"
    ]
    answered = [outcome.generation.timing for outcome in outcomes if outcome.error is None]
    if answered:
        lines.append(_spread("Latency", [timing.latency_seconds for timing in answered]))
        first = [timing.ttft_seconds for timing in answered if timing.ttft_seconds is not None]
        lines.append(
            _spread("TTFT", first) if first else "TTFT: n/a (a whole answer does not show it; add --streaming-mode)"
        )
    return lines


def verdict_lines(outcomes: Sequence[Outcome], asked: int) -> list[str]:
    """Return ``PASS`` or ``FAIL`` with each reason; requests that were never sent count as failed."""
    reasons: dict[str, list[int]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.error is not None:
            reasons[str(outcome.error)].append(outcome.prompt.request_id)
    unsent = asked - len(outcomes)
    failed = sum(map(len, reasons.values())) + unsent
    if not failed:
        return [f"PASS: {asked} of {asked} requests answered"]
    lines = [f"  {_requests(ids)}: {reason}" for reason, ids in reasons.items()]
    if unsent:
        lines.append(f"  {unsent} not finished")
    return [f"FAIL: {failed} of {asked} requests failed", *lines]


def _ttft(seconds: float | None) -> str:
    return "n/a" if seconds is None else duration_text(seconds)


def _spread(name: str, seconds: Sequence[float]) -> str:
    p50, p95 = percentile(seconds, 50), percentile(seconds, 95)
    return f"{name}: p50 {duration_text(p50)}, p95 {duration_text(p95)}"


def _requests(ids: Sequence[int]) -> str:
    ordered = sorted(ids)
    shown = ", ".join(map(str, ordered[:_LISTED]))
    more = f" and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else ""
    return f"request{'s' if len(ordered) > 1 else ''} {shown}{more}"
