"""What came of a load, as rows, lines and JSON."""

from __future__ import annotations

import json

from tritonfleet.bench.crew import Failure
from tritonfleet.bench.levels import Level
from tritonfleet.bench.outcome import HEADINGS, Outcome, cells, failure_lines, to_json
from tritonfleet.bench.stats import Sample

FAST = Sample(0.1, 0.5, 5, (0.1, 0.1, 0.1, 0.1))
SLOW = Sample(0.3, 0.7, 5, (0.1, 0.1, 0.1, 0.1))
LOST = Failure("ConnectionLost", "the server went away")


def outcome(*results: Sample | Failure, complete: bool = True) -> Outcome:
    return Outcome(
        Level(streams=2),
        tuple(result for result in results if isinstance(result, Sample)),
        tuple(result for result in results if isinstance(result, Failure)),
        2.0,
        complete,
    )


def test_a_row_has_counts_rates_and_times_in_milliseconds() -> None:
    row = dict(zip(HEADINGS, cells(outcome(FAST, SLOW, LOST)), strict=True))
    assert row["load"] == "2 streams"
    assert (row["requests"], row["errors"], row["req/s"], row["tokens/s"]) == ("3", "1", "1.00", "5.00")
    assert row["TTFT ms\np50/p95/p99"] == "200/290/298"
    assert row["TPOT ms\np50"] == "100"
    assert row["ITL ms\np50/p99"] == "100/100"


def test_a_stopped_load_says_so() -> None:
    assert cells(outcome(FAST, complete=False))[0] == "2 streams (stopped)"


def test_without_an_answer_there_are_no_numbers() -> None:
    found = outcome(LOST)
    assert cells(found) == ("2 streams", "1", "1", "-", "-", "-", "-", "-")
    assert found.summary is None
    assert not found.holds(1.0, 95)


def test_a_goal_holds_for_the_asked_share_and_never_with_errors() -> None:
    assert outcome(FAST, SLOW).holds(0.2, 50)
    assert not outcome(FAST, SLOW).holds(0.2, 95)
    assert not outcome(FAST, LOST).holds(0.2, 50)


def test_errors_are_counted_by_kind_with_an_example() -> None:
    late = Failure("RequestTimeout", "too late")
    assert failure_lines([outcome(LOST, late, LOST)]) == [
        "2 streams: 2 x ConnectionLost, for example: the server went away",
        "2 streams: 1 x RequestTimeout, for example: too late",
    ]


def test_json_holds_every_sample_and_the_search() -> None:
    data = json.loads(json.dumps(to_json([outcome(FAST, LOST)], {"model": "llama"}, {"concurrency": 2})))
    assert data["found"] == {"concurrency": 2}
    (level,) = data["levels"]
    assert level["errors"] == {"ConnectionLost": 1}
    assert level["summary"]["ttft_p50"] == 0.1
    assert level["samples"][0]["gaps_seconds"] == [0.1, 0.1, 0.1, 0.1]
