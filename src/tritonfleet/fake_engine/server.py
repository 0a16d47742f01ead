"""The fake engine's HTTP API: the routes of vLLM's server that a fleet uses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from tritonfleet.fake_engine.chunks import Choice, Writer, error_body
from tritonfleet.fake_engine.engine import Engine, InternalError, UnknownModel, choices_of
from tritonfleet.fake_engine.request import BadRequest, GenerationRequest, read_chat, read_completion
from tritonfleet.fake_engine.sleep import SleepFailed
from tritonfleet.fake_engine.vocabulary import Vocabulary


class Server:
    """The routes of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ready_at = time.monotonic()

    def application(self) -> web.Application:
        """Return the application; errors leave it in vLLM's shape."""
        app = web.Application(middlewares=[_errors], client_max_size=64 * 2**20)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
                web.get("/version", self._version),
                web.get("/v1/models", self._models),
                web.post("/v1/completions", self._completions),
                web.post("/v1/chat/completions", self._chat),
                web.post("/tokenize", self._tokenize),
                web.post("/detokenize", self._detokenize),
                web.post("/sleep", self._sleep),
                web.post("/wake_up", self._wake_up),
                web.get("/is_sleeping", self._is_sleeping),
                web.post("/collective_rpc", self._collective_rpc),
                web.post("/reset_prefix_cache", self._reset_prefix_cache),
            ]
        )
        return app

    async def _health(self, _: web.Request) -> web.Response:
        options, age = self._engine.options, time.monotonic() - self._ready_at
        if options.hang_health_after is not None and age >= options.hang_health_after:
            await asyncio.Event().wait()  # until the client goes away
        if options.sick_health_after is not None and age >= options.sick_health_after:
            return web.Response(status=503)
        return web.Response()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self._engine.exposition(), content_type="text/plain")

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "fake"})

    async def _models(self, _: web.Request) -> web.Response:
        options = self._engine.options
        common: dict[str, Any] = {"object": "model", "created": int(time.time()), "owned_by": "fake"}
        base: dict[str, Any] = {"id": options.name, "root": options.model, "parent": None}
        base["max_model_len"] = options.max_model_len
        adapters = [{"id": name, "root": path, "parent": options.name} for name, path in options.adapters.items()]
        return web.json_response({"object": "list", "data": [{**common, **entry} for entry in (base, *adapters)]})

    async def _completions(self, http: web.Request) -> web.StreamResponse:
        return await self._generate(http, read_completion)

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        return await self._generate(http, read_chat)

    async def _generate(
        self, http: web.Request, read: Callable[[object, Vocabulary], GenerationRequest]
    ) -> web.StreamResponse:
        request = read(await _body(http), self._engine.vocabulary)
        number = self._engine.accept(request)
        writer = Writer(request, self._engine.vocabulary)
        if request.stream:
            return await self._stream(http, request, number, writer)
        async with aclosing(self._engine.run(request, number)) as steps:
            choices = {choice.index: choice async for choice, _ in steps}
        return web.json_response(writer.whole([choices[index] for index in sorted(choices)]))

    async def _stream(
        self, http: web.Request, request: GenerationRequest, number: int, writer: Writer
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(http)
        choices: dict[int, Choice] = {}
        async with aclosing(self._engine.run(request, number)) as steps:
            async for choice, step in steps:
                if not choices:
                    await response.write(writer.opening(choices_of(request)))
                choices[choice.index] = choice
                await response.write(writer.event(choice, step))
        await response.write(writer.closing(list(choices.values())))
        await response.write_eof()
        return response

    async def _tokenize(self, http: web.Request) -> web.Response:
        body = await _body(http)
        vocabulary = self._engine.vocabulary
        prompt = (read_chat if "messages" in body else read_completion)(body, vocabulary).prompts[0]
        answer: dict[str, Any] = {
            "count": len(prompt.ids),
            "max_model_len": self._engine.options.max_model_len,
            "tokens": list(prompt.ids),
            "token_strs": [vocabulary.text_of(identity) for identity in prompt.ids],
        }
        return web.json_response(answer if body.get("return_token_strs") else {**answer, "token_strs": None})

    async def _detokenize(self, http: web.Request) -> web.Response:
        tokens = (await _body(http)).get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise BadRequest("`tokens` must be a list of integers.", "tokens")
        return web.json_response({"prompt": self._engine.vocabulary.decode(tokens)})

    async def _sleep(self, http: web.Request) -> web.Response:
        level = http.query.get("level", "1")
        if level not in {"0", "1", "2"}:
            raise BadRequest("`level` must be 0, 1 or 2.", "level")
        await self._engine.sleep_mode.sleep(int(level))
        return web.json_response({"status": "sleeping", "level": int(level)})

    async def _wake_up(self, http: web.Request) -> web.Response:
        tags = http.query.getall("tags", [])
        awake = await self._engine.sleep_mode.wake(tags)
        return web.json_response({"status": "awake" if awake else "sleeping", "tags": tags or None})

    async def _collective_rpc(self, http: web.Request) -> web.Response:
        if (await _body(http)).get("method") != "reload_weights":
            raise BadRequest("`method` must be reload_weights here.", "method")
        self._engine.sleep_mode.reload_weights()
        return web.json_response({"results": [None]})

    async def _reset_prefix_cache(self, _: web.Request) -> web.Response:
        return web.json_response({"success": True})

    async def _is_sleeping(self, _: web.Request) -> web.Response:
        return web.json_response({"is_sleeping": self._engine.scheduler.sleeping})


async def _body(http: web.Request) -> dict[str, Any]:
    try:
        body = await http.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise BadRequest(f"the body is not JSON: {err}") from err
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadRequest as err:
        status, kind, param = 400, "BadRequestError", err.param
        message = str(err)
    except UnknownModel as err:
        status, kind, param, message = 404, "NotFoundError", "model", str(err)
    except (InternalError, SleepFailed) as err:
        status, kind, param, message = 500, "InternalServerError", None, str(err)
    return web.json_response(error_body(message, kind, status, param), status=status)
