"""Dashboards and rules in a real Prometheus that scrapes a real fleet under load: every panel has data."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import COMMAND, RunningFleet
from tests.observe.elsewhere import ELSEWHERE
from tests.ports import free_port
from tritonfleet.observe import boards

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is missing; apt-get install prometheus"),
]

MODELS = ("llama2", "mistral7b")
#: Longest time for every panel to have data, from the first request on. Half a minute is usual.
DATA_SECONDS = 90
#: What a person chooses at the top of the dashboard.
CHOSEN = {
    "$fleet": "demo",
    "$pool": "|".join(MODELS),
    "$window": "15s",
    "$price": "4",
    "$host": ".+",
}


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """Ask its HTTP API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[float]:
        """Return the values of a query, those that are numbers."""
        found = self.get("query", query=expression)["result"]
        return [value for value in (float(line["value"][1]) for line in found) if math.isfinite(value)]


@contextmanager
def running_prometheus(fleet: RunningFleet, folder: Path) -> Iterator[Prometheus]:
    """Start Prometheus with the files that `tritonfleet observe` writes for the fleet."""
    _observe("rules", fleet, "-o", str(folder / "rules"))
    _observe("scrape-config", fleet, "-o", str(folder), "--interval", "1")
    address = f"127.0.0.1:{free_port()}"
    argv = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    argv += [f"--web.listen-address={address}", "--log.level=info"]
    log = folder / "prometheus.log"
    with log.open("w") as output, subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                output.write(line)
                if "ready to receive web requests" in line:
                    break
            else:
                pytest.fail(f"Prometheus did not start: {log.read_text()}")
            drain = threading.Thread(target=lambda: output.writelines(process.stderr or ()))
            drain.start()
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()
            process.wait(30)
        drain.join(10)


def _observe(command: str, fleet: RunningFleet, *words: str) -> None:
    argv = [*COMMAND, "observe", command, str(fleet.spec_path), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


class Load:
    """Both doors, both models, until it is stopped."""

    def __init__(self, fleet: RunningFleet, folder: Path) -> None:
        self._fleet, self._folder = fleet, folder
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(ask, model)) for model in MODELS for ask in (_client, _stream)
        ]
        self.errors: list[str] = []
        self.answered = dict.fromkeys(MODELS, 0)
        self._lock = threading.Lock()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _repeat(self, ask: Any, model: str) -> None:
        while not self._stop.is_set() and not self.errors:
            try:
                answered = ask(self._fleet, model, self._folder)
            except (OSError, subprocess.SubprocessError, AssertionError) as err:
                self.errors.append(f"{model}: {err}")
                return
            with self._lock:
                self.answered[model] += answered


def _client(fleet: RunningFleet, model: str, folder: Path) -> int:
    """Send a file of prompts through Triton's gRPC door with the project's own client."""
    prompts = folder / f"{model}.txt"
    prompts.write_text("".join(f"The same beginning of every prompt, and then number {n}\n" for n in range(8)))
    argv = [*COMMAND, "client", "-m", model, "-u", f"127.0.0.1:{fleet.grpc}", "--input-prompts", str(prompts)]
    argv += ["-s", "-c", "4", "--iterations", "10", "--raw", "--max-tokens", "24"]
    argv += ["--results-file", str(folder / f"{model}-results.txt")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return 80


def _stream(fleet: RunningFleet, model: str, _: Path) -> int:
    """Stream an answer through the OpenAI door."""
    body = {"model": model, "prompt": "The same beginning of every prompt", "stream": True, "max_tokens": 24}
    request = urllib.request.Request(
        f"http://127.0.0.1:{fleet.openai}/v1/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert b"[DONE]" in answer.read()
    return 1


def expressions() -> dict[str, str]:
    """Return the queries of all panels that a CPU machine can fill, by dashboard, panel and legend."""
    found = {}
    for board in boards():
        models = "|".join(MODELS) if any(v.name == "model" and v.every for v in board.variables) else MODELS[0]
        for panel in board.panels:
            if panel.title in ELSEWHERE:
                continue
            for query in panel.queries:
                text = query.expression
                for variable, value in {**CHOSEN, "$model": models}.items():
                    text = text.replace(variable, value)
                found[f"{board.uid}: {panel.title}: {query.legend}"] = text
    return found


def test_every_panel_has_data_and_no_alert_fires(demo_fleet: RunningFleet, tmp_path: Path) -> None:
    """Each query of both dashboards returns numbers; all rules evaluate, and a healthy fleet alerts nobody."""
    with running_prometheus(demo_fleet, tmp_path) as prometheus:
        before = {model: _answered(prometheus, model) for model in MODELS}
        with Load(demo_fleet, tmp_path) as load:
            missing, deadline = expressions(), time.monotonic() + DATA_SECONDS
            assert len(missing) > 50
            while missing and time.monotonic() < deadline and not load.errors:
                threading.Event().wait(1)  # a scrape later there may be more
                missing = {name: text for name, text in missing.items() if not prometheus.values(text)}
        assert not load.errors
        assert not missing, "\n".join(f"{name}: {text}" for name, text in missing.items())
        _choices_are_offered(prometheus)
        _counts_are_true(prometheus, load, before)
        _rules_are_well(prometheus)


def _choices_are_offered(prometheus: Prometheus) -> None:
    """The variables at the top find the fleet, its pools and its models."""
    expected = {"fleet": {"demo"}, "pool": set(MODELS), "model": set(MODELS)}
    for variable in (variable for board in boards() for variable in board.variables if variable.name in expected):
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable.query)
        assert found is not None, variable.query
        selector = found[1].replace("$fleet", "demo").replace("$pool", CHOSEN["$pool"])
        series = prometheus.get("series", **{"match[]": selector})
        assert {labels[found[2]] for labels in series} == expected[variable.name]


def _answered(prometheus: Prometheus, model: str) -> float:
    text = expressions()["tritonfleet: Cumulative requests: success {{model}}"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := prometheus.values(f'({text}) and on (model) tritonfleet_replica_up{{model="{model}"}}'):
            return found[0]
        threading.Event().wait(0.5)
    pytest.fail(f"Prometheus has no requests of {model}: {prometheus.get('targets')}")


def _counts_are_true(prometheus: Prometheus, load: Load, before: dict[str, float]) -> None:
    """What the dashboard says was answered is what the clients got."""
    deadline = time.monotonic() + 20
    while True:
        told = {model: _answered(prometheus, model) - before[model] for model in MODELS}
        if told == load.answered:
            return
        assert time.monotonic() < deadline, f"told {told}, answered {load.answered}"
        threading.Event().wait(0.5)


def _rules_are_well(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"} == {}
    firing = [alert["labels"] for alert in prometheus.get("alerts")["alerts"] if alert["state"] == "firing"]
    assert firing == []
