"""API keys: kept as hashes, looked up, changed while the gateway runs, never an open door by accident."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.gateway.stage import Stage
from tritonfleet.cli import key as command
from tritonfleet.errors import UsageError
from tritonfleet.gateway import keys
from tritonfleet.gateway.keys import ANYBODY, KeyRing, create_key, read_keys, revoke_key
from tritonfleet.gateway.problem import Problem

PROMPT = {"model": "llama2", "prompt": "one two three", "max_tokens": 3}


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "state" / "keys.json"


def test_the_file_holds_no_key_and_is_for_its_owner_alone(path: Path) -> None:
    secret, key = create_key(path, "team", models=("llama2",), requests_per_minute=5)
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path) == (key,)
    assert KeyRing(path).caller(secret) == key.caller


def test_without_a_file_nobody_needs_a_key(path: Path) -> None:
    assert KeyRing(path).caller(None) is ANYBODY
    assert KeyRing(None).caller(None) is ANYBODY


def test_from_the_first_key_on_everybody_needs_one(path: Path) -> None:
    ring = KeyRing(path)
    assert ring.caller(None) is ANYBODY
    secret, _ = create_key(path, "team")
    assert ring.caller(secret).id
    for wrong in (None, "", "tf-wrong", secret + "x"):
        with pytest.raises(Problem) as caught:
            ring.caller(wrong)
        assert caught.value.status == 401


@pytest.mark.parametrize("trouble", ["revoked", "gone", "damaged"])
def test_no_trouble_with_the_file_opens_the_door(path: Path, trouble: str) -> None:
    secret, _ = create_key(path, "team")
    ring = KeyRing(path)
    assert ring.caller(secret).id
    if trouble == "revoked":
        revoke_key(path, "team")
    elif trouble == "gone":
        path.unlink()
    else:
        path.write_text("{")
        assert ring.caller(secret).id, "the keys read before stay"
    with pytest.raises(Problem):
        ring.caller(None)
    if trouble != "damaged":
        with pytest.raises(Problem):
            ring.caller(secret)


def test_a_damaged_file_at_the_start_lets_nobody_in(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("[]")
    with pytest.raises(Problem):
        KeyRing(path).caller(None)
    with pytest.raises(UsageError, match="restore it"):
        create_key(path, "team")


def test_names_are_unique_and_a_wrong_one_is_explained(path: Path) -> None:
    _, key = create_key(path, "team")
    with pytest.raises(UsageError, match="already"):
        create_key(path, "team")
    with pytest.raises(UsageError, match="no API key is called 'tem'; there are: team"):
        revoke_key(path, "tem")
    assert revoke_key(path, key.id) == key
    assert read_keys(path) == ()


async def test_a_key_reaches_its_models_only(stage: Stage, path: Path) -> None:
    one, two = await stage.engine("llama2"), await stage.engine("other")
    await stage.supervisor.set(stage.route(one), stage.route(two, model="other"))
    secret, _ = create_key(path, "team", models=("llama2",))
    bearer = {"Authorization": f"Bearer {secret}"}
    async with stage.gateway(keys=str(path)):
        status, body, headers = await stage.post(PROMPT)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        assert headers["www-authenticate"] == "Bearer"
        assert (await stage.post(PROMPT, headers=bearer))[0] == 200
        assert (await stage.post(PROMPT, headers={"x-api-key": secret}))[0] == 200
        status, body, _ = await stage.post({**PROMPT, "model": "other"}, headers=bearer)
        assert (status, body["error"]["code"]) == (403, "model_not_allowed")
        status, body, _ = await stage.post({**PROMPT, "model": "othe"}, headers=bearer)
        assert status == 404
        assert "other" not in body["error"]["message"], "names of other models are not told"
        async with stage.session.get("/v1/models", headers=bearer) as answer:
            assert [entry["id"] for entry in (await answer.json())["data"]] == ["llama2"]


async def test_requests_per_minute_end_with_429(stage: Stage, path: Path) -> None:
    await stage.serve(await stage.engine())
    secret, key = create_key(path, "team", requests_per_minute=2)
    bearer = {"Authorization": f"Bearer {secret}"}
    async with stage.gateway(keys=str(path)):
        statuses = [(await stage.post(PROMPT, headers=bearer))[0] for _ in range(3)]
        assert statuses == [200, 200, 429]
        _, body, headers = await stage.post(PROMPT, headers=bearer)
        assert body["error"]["code"] == "rate_limit_exceeded"
        assert 1 <= int(headers["retry-after"]) <= 120
        assert await stage.metric(f'tritonfleet_gateway_key_requests_total{{key="{key.id}"}}') == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_tokens_are_the_engines_own_count(stage: Stage, path: Path, stream: bool) -> None:
    replica = await stage.engine()
    await stage.serve(replica)
    secret, key = create_key(path, "team", tokens_per_minute=12)
    bearer = {"Authorization": f"Bearer {secret}"}
    async with stage.gateway(keys=str(path)):
        status, body, _ = await stage.post({**PROMPT, "stream": stream}, headers=bearer)
        assert status == 200
        if stream:
            assert "usage" not in body, "the client has not asked for it"
            assert replica.bodies[0]["stream_options"] == {"include_usage": True}
        counted = await stage.metric(f'tritonfleet_gateway_key_tokens_total{{key="{key.id}"}}')
        assert counted == 3 + 3
        assert (await stage.post(PROMPT, headers=bearer))[0] == 200
        status, body, _ = await stage.post(PROMPT, headers=bearer)
        assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")


async def test_a_stream_of_a_key_without_token_limit_is_untouched(stage: Stage, path: Path) -> None:
    replica = await stage.engine()
    await stage.serve(replica)
    secret, _ = create_key(path, "team", requests_per_minute=100)
    async with stage.gateway(keys=str(path)):
        await stage.post({**PROMPT, "stream": True}, headers={"Authorization": f"Bearer {secret}"})
    assert "stream_options" not in replica.bodies[0]


def test_the_command_line(tmp_path: Path) -> None:
    spec = tmp_path / "fleet.yaml"
    spec.write_text("name: test\nmodels: [{name: llama2, source: 'demo://llama2', lora: {poet: 'demo://llama2'}}]\n")
    where = ["--fleet", str(spec), "--state", str(tmp_path / "state")]
    run = CliRunner()
    made = run.invoke(command.app, ["create", "team", "--model", "llama2:poet", "--tokens-per-minute", "1000", *where])
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert KeyRing(tmp_path / "state" / "keys.json").caller(secret).models == frozenset({"llama2:poet"})
    assert "only now" in made.stderr
    listed = run.invoke(command.app, ["list", "--json", *where])
    (row,) = json.loads(listed.stdout)
    assert (row["name"], row["tokens_per_minute"]) == ("team", 1000)
    assert "sha256" not in row
    assert "llama2:poet" in run.invoke(command.app, ["list", *where]).stdout
    wrong = run.invoke(command.app, ["create", "b", "--model", "lama2", *where])
    assert isinstance(wrong.exception, UsageError)
    assert "did you mean 'llama2'?" in str(wrong.exception)
    assert run.invoke(command.app, ["revoke", "team", *where]).exit_code == 0
    assert "no API keys" in run.invoke(command.app, ["list", *where]).stdout
