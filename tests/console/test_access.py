"""Who sees what in the console, and who may do what: keys, the token of this machine, other sites' pages."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.gateway.stage import Stage
from tritonfleet.errors import UsageError
from tritonfleet.gateway import keys
from tritonfleet.gateway.admin import AdminToken, console_url, is_local, names_this_machine, write_token
from tritonfleet.gateway.keys import create_key
from tritonfleet.observe.scrape import RUNBOOK_PATH

STATUS = {
    "fleet": "test",
    "state": "ready",
    "models": [{"model": "llama2", "state": "ready"}, {"model": "mistral7b", "state": "ready"}],
    "shares": [
        {"group": "one", "members": [{"model": "llama2"}, {"model": "mistral7b"}]},
        {"group": "two", "members": [{"model": "mistral7b"}]},
    ],
}
HISTORY = {"times": [1.0], "models": {"llama2": {"running": [1]}, "mistral7b": {"running": [2]}}}


class ConsoleStage(Stage):
    """A gateway whose supervisor answers the console, and notes what it was asked to do."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[str] = []
        self.keys_file = folder / "keys.json"
        self.token_file = folder / "admin.token"
        write_token(self.token_file)

    def options(self) -> dict[str, Any]:
        return {"keys": str(self.keys_file), "admin_token": str(self.token_file), "known": False}

    def token(self) -> dict[str, str]:
        return bearer(self.token_file.read_text())

    async def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        async with self.session.get(path, headers=headers or {}) as answer:
            return answer.status, await (answer.json() if "json" in answer.content_type else answer.text())

    async def act(self, action: str, headers: dict[str, str] | None = None, model: str = "llama2") -> tuple[int, Any]:
        path = f"/console/api/models/{model}/{action}"
        async with self.session.post(path, headers=headers or {}) as answer:
            return answer.status, await answer.json()

    def add_routes(self, app: web.Application) -> None:
        """Answer as the control socket does."""
        app.router.add_get("/v1/status", _answers(STATUS))
        app.router.add_get("/v1/history", _answers(HISTORY))
        app.router.add_get("/v1/memory", _answers({"pools": [], "notes": []}))
        app.router.add_get("/v1/logs/{name}", self._logs)
        app.router.add_post("/v1/models/{name}/{action}", self._act)

    async def _logs(self, request: web.Request) -> web.Response:
        return web.Response(text=f"{request.match_info['name']} says <b>hello</b>, {request.query['lines']} lines")

    async def _act(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "lama2":
            error = {"message": "no model is called 'lama2'; the fleet has: llama2", "kind": "UsageError"}
            return web.json_response({"error": error}, status=400)
        self.asked.append(f"{request.match_info['action']} {name}")
        return web.json_response({"model": name, "state": "starting"})


def _answers(data: Any) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(data)

    return answer


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
async def stage(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ConsoleStage]:
    """A scripted supervisor; sockets need a short path."""
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)
    with tempfile.TemporaryDirectory(prefix="tfc") as folder:
        made = ConsoleStage(Path(folder))
        await made.supervisor.start(made.add_routes)
        await made.supervisor.set(made.route())
        yield made
        await made.close()


async def test_without_keys_everybody_here_sees_everything_but_only_the_token_acts(stage: ConsoleStage) -> None:
    async with stage.gateway(**stage.options()):
        status, seen = await stage.get("/console/api/live")
        assert (status, seen["you"]) == (200, {"admin": False, "logs": True, "keys_required": False})
        assert [model["model"] for model in seen["status"]["models"]] == ["llama2", "mistral7b"]
        assert (await stage.get("/console/api/memory"))[0] == 200
        assert await stage.get("/console/api/logs/llama2?lines=5") == (200, "llama2 says <b>hello</b>, 5 lines")

        status, refused = await stage.act("unload")
        assert (status, refused["error"]["code"]) == (403, "admin_needed")
        assert "tritonfleet console" in refused["error"]["message"]
        assert (await stage.act("unload", bearer("tfa-wrong")))[0] == 403
        assert stage.asked == []
        assert await stage.act("unload", stage.token()) == (202, {"model": "llama2", "state": "starting"})
        assert stage.asked == ["unload llama2"]


async def test_with_keys_each_key_sees_its_models_and_only_admins_act_and_read_logs(stage: ConsoleStage) -> None:
    team, _ = create_key(stage.keys_file, "team", models=("llama2",))
    plain, _ = create_key(stage.keys_file, "plain")
    boss, _ = create_key(stage.keys_file, "boss", admin=True)
    async with stage.gateway(**stage.options()):
        assert (await stage.get("/"))[0] == 200, "the page itself asks for the key"
        status, text = await stage.get(RUNBOOK_PATH)
        assert (status, "TritonfleetModelDown" in text) == (200, True), "whoever was woken may have no key"
        assert (await stage.get("/console/api/live"))[0] == 401
        assert (await stage.act("load"))[0] == 401

        _, seen = await stage.get("/console/api/live", bearer(team))
        assert [model["model"] for model in seen["status"]["models"]] == ["llama2"]
        assert list(seen["history"]["models"]) == ["llama2"]
        assert seen["status"]["shares"] == [{"group": "one", "members": [{"model": "llama2"}]}]
        assert seen["you"] == {"admin": False, "logs": False, "keys_required": True}
        assert (await stage.get("/console/api/memory", bearer(team)))[0] == 403
        assert (await stage.get("/console/api/memory", bearer(plain)))[0] == 200
        for secret in (team, plain):
            assert (await stage.get("/console/api/logs/llama2", bearer(secret)))[0] == 403
            assert (await stage.act("load", bearer(secret)))[0] == 403
        assert stage.asked == []
        for headers in (bearer(boss), stage.token()):
            assert (await stage.get("/console/api/logs/triton", headers))[0] == 200
            assert (await stage.act("load", headers))[0] == 202


async def test_the_page_of_another_site_gets_nothing(stage: ConsoleStage) -> None:
    async with stage.gateway(**stage.options()):
        status, answer = await stage.get("/console/api/live", {"host": "evil.example:9000"})
        assert (status, answer["error"]["code"]) == (403, "unknown_host")
        for host in ("localhost:9000", "127.0.0.1:9000", "[::1]:9000", "10.1.2.3"):
            assert (await stage.get("/console/api/live", {"host": host}))[0] == 200
        create_key(stage.keys_file, "team")
        secret, _ = create_key(stage.keys_file, "other")
        headers = {"host": "llm.example.com", **bearer(secret)}
        assert (await stage.get("/console/api/live", headers))[0] == 200, "a key proves more than a name"


async def test_somebody_behind_a_proxy_on_this_machine_is_not_local(stage: ConsoleStage) -> None:
    async with stage.gateway(**stage.options()):
        headers = {"x-forwarded-for": "127.0.0.1, 203.0.113.9"}
        _, seen = await stage.get("/console/api/live", headers)
        assert seen["you"]["logs"] is False
        assert (await stage.act("unload", {**headers, **stage.token()}))[0] == 403


async def test_errors_say_what_is_wrong(stage: ConsoleStage) -> None:
    async with stage.gateway(**stage.options()):
        status, answer = await stage.act("load", stage.token(), "lama2")
        assert (status, answer["error"]["message"]) == (400, "no model is called 'lama2'; the fleet has: llama2")
        assert (await stage.act("explode", stage.token()))[0] == 404
        assert (await stage.get("/console/api/live?after=soon"))[0] == 400
        assert (await stage.get("/console/api/live?after=nan"))[0] == 400
        assert (await stage.get("/console/assets/../pages.py"))[0] == 404
        await stage.supervisor.close()
        status, answer = await stage.get("/console/api/memory")
        assert (status, answer["error"]["code"]) == (503, "supervisor_away")


async def test_the_page_allows_no_foreign_code_and_is_not_fetched_twice(stage: ConsoleStage) -> None:
    async with stage.gateway(**stage.options()):
        async with stage.session.get("/") as answer:
            policy = answer.headers["content-security-policy"]
            etag = answer.headers["etag"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        async with stage.session.get("/", headers={"if-none-match": etag}) as answer:
            assert answer.status == 304


def test_the_token_is_for_its_owner_alone_and_new_each_time(tmp_path: Path) -> None:
    path = tmp_path / "admin.token"
    write_token(path)
    first = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert AdminToken(path).fits(first)
    assert not AdminToken(path).fits(first[:-1])
    assert not AdminToken(None).fits(first)
    assert not AdminToken(tmp_path / "none").fits("tfa-")
    write_token(path)
    assert not AdminToken(path).fits(first)


def test_the_address_for_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "admin.token"
    path.write_text("tfa-x")
    assert console_url("0.0.0.0:9000", path) == "http://127.0.0.1:9000/#token=tfa-x"
    assert console_url("::1:9000", path) == "http://[::1]:9000/#token=tfa-x"
    with pytest.raises(UsageError, match="key create"):
        console_url("127.0.0.1:9000", tmp_path / "none")


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("localhost:9000", True),
        ("fleet.localhost:9000", True),
        ("[::1]:9000", True),
        ("::1", True),
        ("192.168.0.7:80", True),
        ("", False),
        ("evil.example", False),
        ("127.0.0.1.evil.example:9000", False),
        ("notlocalhost", False),
    ],
)
def test_names_of_this_machine(host: str, here: bool) -> None:
    assert names_this_machine(host) is here


@pytest.mark.parametrize(
    ("client", "server", "local"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "::", True),
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.6", "10.0.0.5", False),
        ("unknown", "10.0.0.5", False),
    ],
)
def test_requests_from_this_machine(client: str, server: str, local: bool) -> None:
    assert is_local({"client": (client, 1), "server": (server, 2)}) is local
    assert not is_local({"client": None, "server": (server, 2)})


def test_an_admin_key_is_for_the_whole_fleet(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--admin or --model"):
        create_key(tmp_path / "keys.json", "boss", models=("llama2",), admin=True)
