"""Models that take turns: the real Triton and two real vLLM engines on the CPU, whose sleep frees nothing there."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import FleetMaker, RunningFleet
from tests.e2e.doors import Doors, ask
from tritonfleet.control_client import ControlClient
from tritonfleet.wire import ShareStatus

pytestmark = pytest.mark.e2e

PROMPT = "<s>[INST] What is a KV cache? [/INST]"
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 8, "ignore_eos": True}
MODELS = ("llama2", "mistral7b")
DOORS = ("kserve grpc", "gateway")


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """Both demo models in one share group, level 1."""
    factory = FleetMaker(tmp_path_factory.mktemp("share"))
    models = [
        {"name": name, "source": f"demo://{name}", "devices": "cpu", "max_model_len": 512, "share": "cpu"}
        for name in MODELS
    ]
    sharing = {"sleep": 1, "min_residency_seconds": 0.5, "residency_per_switch": 0, "idle_seconds": 0.1}
    fleet = factory.up(models, name="share", share={"cpu": sharing})
    yield Doors(fleet)
    factory.down(fleet)


def group(fleet: RunningFleet) -> ShareStatus:
    """Return the state of the only group."""
    (found,) = ControlClient(fleet.layout.control_socket, fleet.name).status().shares
    return found


async def test_one_model_is_awake_and_both_are_served(doors: Doors) -> None:
    """`up` is done when everybody is asleep or awake; the first of the fleet is awake."""
    status = doors.fleet.status()
    assert status.state == "ready"
    assert {model.model: (model.state, model.in_triton) for model in status.models} == {
        "llama2": ("ready", True),
        "mistral7b": ("asleep", True),
    }
    assert [member.phase for member in group(doors.fleet).members] == ["awake", "asleep"]
    assert group(doors.fleet).switches == 0


async def test_requests_in_turn_at_both_doors(doors: Doors) -> None:
    """Each is answered as if its model were alone, and every change is one switch."""
    before = group(doors.fleet).switches
    answers: dict[str, set[str]] = {name: set() for name in MODELS}
    for door in DOORS:
        for model in ("mistral7b", "llama2"):
            answers[model].add((await ask(door, doors, model, PROMPT, GREEDY)).texts[0])
    assert all(len(texts) == 1 for texts in answers.values())
    after = group(doors.fleet)
    assert after.switches - before == 4
    assert after.switch_seconds_sum > 0


async def test_requests_at_once_for_both_models_at_both_doors(doors: Doors) -> None:
    """They wait for each other, none is lost, and the device does not change hands for each of them."""
    before = group(doors.fleet)
    requests = [
        ask(door, doors, model, PROMPT, {**GREEDY, "stream": number % 2 == 0})
        for number in range(4)
        for door in DOORS
        for model in MODELS
    ]
    answers = await asyncio.gather(*requests)
    assert all(answer.answer_tokens == GREEDY["max_tokens"] for answer in answers)
    async with asyncio.timeout(5):  # a lease comes back a moment after its answer
        while any(member.running for member in group(doors.fleet).members):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    after = group(doors.fleet)
    assert sum(member.asked for member in after.members) - sum(member.asked for member in before.members) == 16
    assert not any(member.waiting or member.refused for member in after.members)
    assert 1 <= after.switches - before.switches <= 6


async def test_a_client_that_waits_for_less_gets_a_503_in_time(doors: Doors) -> None:
    """With Retry-After, while a long answer of the other model keeps the device."""
    await ask("gateway", doors, "llama2", PROMPT, GREEDY)
    many = {**GREEDY, "max_tokens": 450, "n": 16, "temperature": 1, "stream": True}
    long = asyncio.create_task(ask("gateway", doors, "llama2", PROMPT, many))
    await _until_running(doors.fleet, "llama2")
    status, headers, error = await asyncio.to_thread(_impatient, doors.fleet, "mistral7b", "0.4")
    assert (status, error["code"], error["src"]) == (503, "model_not_awake", "gateway")
    assert "mistral7b did not get the device within" in error["message"]
    assert int(headers["retry-after"]) >= 1
    assert (await long).answer_tokens == 16 * 450


def test_sleep_and_wake_by_hand(doors: Doors) -> None:
    """What the console's buttons do; a model of its own device says that it has nobody to share with."""
    fleet = doors.fleet
    assert _control(fleet, "/v1/models/llama2/wake")["state"] == "ready"
    assert _control(fleet, "/v1/models/llama2/sleep")["state"] == "asleep"
    assert {member.phase for member in group(fleet).members} == {"asleep"}
    assert "no model is called" in _control(fleet, "/v1/models/nobody/sleep")["error"]["message"]
    done = fleet.command("status")
    assert "asleep" in done.stdout


async def _until_running(fleet: RunningFleet, model: str) -> None:
    async with asyncio.timeout(20):
        while not any(member.running for member in group(fleet).members if member.model == model):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def _impatient(fleet: RunningFleet, model: str, seconds: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", fleet.openai, timeout=30)
    body = json.dumps({"model": model, "prompt": PROMPT, "max_tokens": 4})
    headers = {"X-Request-Timeout": seconds, "Content-Type": "application/json"}
    connection.request("POST", "/v1/completions", body, headers)
    response = connection.getresponse()
    data = json.loads(response.read())
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, data.get("error", {})


def _control(fleet: RunningFleet, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("supervisor", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(fleet.layout.control_socket))
    connection.request("POST", path, "{}")
    data: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return data
