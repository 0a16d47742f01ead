"""Load generators in processes, on fake engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tritonfleet.bench.crew import Closed, Crew, Failure, Open, Work
from tritonfleet.bench.doors import Place
from tritonfleet.bench.prompts import Synthetic
from tritonfleet.bench.stats import Sample
from tritonfleet.errors import FleetError

SAMPLING = {"max_tokens": 5, "ignore_eos": True}


def work(place: Place, **changes: object) -> Work:
    return replace(Work(place, Synthetic(20), SAMPLING, timeout_seconds=30), **changes)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are up before a test begins; they need no more time than for an order to arrive."""
    monkeypatch.setattr("tritonfleet.bench.crew.HEAD_START_SECONDS", 0.1)


def run(crew: Crew, asked: Work, load: Closed | Open) -> tuple[list[Sample], list[Failure], float]:
    results: list[Sample | Failure] = []
    seconds = crew.run(asked, load, results.extend)
    samples = [result for result in results if isinstance(result, Sample)]
    return samples, [result for result in results if isinstance(result, Failure)], seconds


def test_a_closed_load_sends_its_requests_from_all_processes(crew: Crew, engine: Place) -> None:
    samples, failures, seconds = run(crew, work(engine, keep_gaps=True), Closed(streams=3, requests=11))
    assert failures == []
    assert [sample.output_tokens for sample in samples] == [5] * 11
    assert all(len(sample.gaps_seconds) == 4 for sample in samples)
    assert seconds >= max(sample.latency_seconds for sample in samples)


def test_a_timed_load_stops_sending_when_the_time_is_up(crew: Crew, engine: Place) -> None:
    samples, failures, seconds = run(crew, work(engine), Closed(streams=2, seconds=0.3, ramp_seconds=0.1))
    assert failures == []
    assert len(samples) >= 2
    assert seconds >= 0.3


def test_an_open_load_sends_at_its_times(crew: Crew, engine: Place) -> None:
    samples, _, seconds = run(crew, work(engine), Open((0.0, 0.05, 0.1, 0.4)))
    assert len(samples) == 4
    assert seconds >= 0.4


def test_failures_come_with_kind_and_message(crew: Crew, faulty: Place) -> None:
    samples, failures, _ = run(crew, work(faulty), Closed(streams=2, requests=8))
    assert (len(samples), len(failures)) == (4, 4)
    assert {failure.kind for failure in failures} == {"RequestRefused"}
    assert "as --error-rate 0.5 says" in failures[0].message


def test_a_door_where_nobody_is_fails_every_request(crew: Crew, tmp_path: Path) -> None:
    nobody = Place("engine", "engine", f"unix:{tmp_path / 'nobody'}", "llama")
    samples, failures, _ = run(crew, work(nobody), Closed(streams=1, requests=2))
    assert samples == []
    assert [failure.kind for failure in failures] == ["Unreachable"] * 2


def test_a_dead_load_generator_is_an_error_and_no_hang(engine: Place) -> None:
    with Crew(1) as crew:
        crew._processes[0].kill()
        crew._processes[0].join()
        with pytest.raises(FleetError, match=r"load-0 died \(exit code -9\)"):
            run(crew, work(engine), Closed(1, 1))
