"""The metrics that the bridge serves at Triton's own metrics port: names, texts, buckets. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

Kind = Literal["counter", "gauge", "histogram"]


class Series(Protocol):
    """One labelled metric in Triton."""

    def increment(self, value: float) -> None:
        """Add to a counter."""
        ...

    def set(self, value: float) -> None:
        """Set a gauge."""
        ...

    def observe(self, value: float) -> None:
        """Add an observation to a histogram."""
        ...


@dataclass(frozen=True)
class Definition:
    """A metric as Triton is told of it."""

    name: str
    description: str
    kind: Kind
    buckets: tuple[float, ...] = ()


#: Makes a series of a metric with further labels; raises BridgeError where Triton serves no metrics.
Register = Callable[[Definition, Mapping[str, str]], Series]

REQUESTS = Definition("tritonfleet_bridge_requests_total", "Requests that ended, by outcome", "counter")
RESPONSES = Definition("tritonfleet_bridge_responses_total", "Responses sent to clients", "counter")
TOKENS = Definition("tritonfleet_bridge_tokens_total", "Tokens generated for clients", "counter")
IN_FLIGHT = Definition("tritonfleet_bridge_in_flight", "Requests that are being answered", "gauge")

#: The metrics of NVIDIA's backend, with its buckets (seconds).
PROMPT_TOKENS = Definition("vllm:prompt_tokens_total", "Number of prefill tokens processed.", "counter")
GENERATION_TOKENS = Definition("vllm:generation_tokens_total", "Number of generation tokens processed.", "counter")
TTFT = Definition(
    "vllm:time_to_first_token_seconds",
    "Histogram of time to first token in seconds.",
    "histogram",
    (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
TPOT = Definition(
    "vllm:time_per_output_token_seconds",
    "Histogram of time per output token in seconds.",
    "histogram",
    (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)
LATENCY = Definition(
    "vllm:e2e_request_latency_seconds",
    "Histogram of end to end request latency in seconds.",
    "histogram",
    (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
)
CHOICES = Definition(
    "vllm:request_params_n", "Histogram of the n request parameter.", "histogram", (1.0, 2.0, 5.0, 10.0, 20.0)
)
PROMPT_LENGTHS = Definition("vllm:request_prompt_tokens", "Number of prefill tokens processed.", "histogram")
ANSWER_LENGTHS = Definition("vllm:request_generation_tokens", "Number of generation tokens processed.", "histogram")


def buckets_to(longest: int) -> tuple[float, ...]:
    """Return 1, 2, 5, 10, 20, 50 ... up to *longest*."""
    steps = (mantissa * 10**exponent for exponent in range(len(str(longest))) for mantissa in (1, 2, 5))
    return tuple(float(step) for step in steps if step <= longest)


def engine_definitions(max_model_len: int) -> tuple[Definition, ...]:
    """Return the metrics of NVIDIA's backend for a model of that context length (tokens)."""
    lengths = buckets_to(max_model_len)
    prompts, answers = replace(PROMPT_LENGTHS, buckets=lengths), replace(ANSWER_LENGTHS, buckets=lengths)
    return (PROMPT_TOKENS, GENERATION_TOKENS, TTFT, TPOT, LATENCY, prompts, answers, CHOICES)
