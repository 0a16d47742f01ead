"""What is printed about requests."""

from __future__ import annotations

from tests.client.samples import outcome
from tritonfleet.client.report import request_line, totals_lines, verdict_lines
from tritonfleet.errors import ConnectionLost, RequestRefused


def test_line_of_a_streamed_request() -> None:
    """Latency, time to first token, tokens, rate and the reason to finish."""
    line = request_line("llama2", outcome(7, seconds=0.8344, ttft=0.0234, tokens=57))
    assert line == "Model llama2 - Request 7: 0.834 seconds, TTFT 23.4 ms, 57 tokens, 68.3 tokens/s, stop"


def test_line_without_counts() -> None:
    """What was not measured says so."""
    line = request_line("llama2", outcome(0, seconds=0.00012, tokens=None))
    assert line == "Model llama2 - Request 0: 0.000120 seconds, TTFT n/a, tokens/s n/a, stop"


def test_line_of_a_failed_request() -> None:
    """The reason stands in the line."""
    line = request_line("llama2", outcome(0, seconds=2, tokens=2, error=RequestRefused("too long")))
    assert line.endswith("2 tokens, 1.00 tokens/s, FAILED: too long")


def test_totals_count_time_once() -> None:
    """The total is the wall time, not the sum of requests that ran side by side; failures have no part in latency."""
    done = [outcome(n, seconds=s, ttft=s / 10) for n, s in enumerate([1.0, 2.0, 3.0])]
    done.append(outcome(3, seconds=90.0, error=ConnectionLost("gone")))
    assert totals_lines(done, 3.2) == [
        "Total time for all requests: 3.200 seconds, 4 requests, 16 tokens, 5.00 tokens/s",
        "Latency: p50 2.00 s, p95 2.90 s",
        "TTFT: p50 200 ms, p95 290 ms",
    ]


def test_totals_without_streaming() -> None:
    """Without streaming there is no time to first token to report."""
    assert totals_lines([outcome(0)], 1.0)[-1].startswith("TTFT: n/a")
    assert len(totals_lines([outcome(0, error=ConnectionLost("gone"))], 1.0)) == 1


def test_pass() -> None:
    """All answered."""
    assert verdict_lines([outcome(0), outcome(1)], 2) == ["PASS: 2 of 2 requests answered"]


def test_fail_groups_reasons() -> None:
    """Each reason is told once, with the requests it met; what was never sent counts as failed."""
    lost, refused = ConnectionLost("gone"), RequestRefused("too long")
    done = [outcome(n, error=lost) for n in range(12, 0, -1)] + [outcome(20, error=refused), outcome(21)]
    assert verdict_lines(done, 16) == [
        "FAIL: 15 of 16 requests failed",
        "  requests 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more: gone",
        "  request 20: too long",
        "  2 not finished",
    ]
