"""The counterpart of the client's tests: a server that speaks KServe v2 over gRPC and HTTP as Triton 2.51 does.

It follows Triton's own ways where the client depends on them: codes only with ``triton_grpc_error``, the final flag on
the last data response, 400 for every error of a model, an error as an event under 200 after the first chunk. What a
model does is scripted by its name.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from aiohttp import web
from tritonclient.grpc import service_pb2, service_pb2_grpc

pb: Any = service_pb2

LLM_INPUTS = (
    "text_input",
    "stream",
    "sampling_parameters",
    "exclude_input_in_output",
    "return_finish_reason",
    "return_num_input_tokens",
    "return_num_output_tokens",
)
TEMPLATE = "{% for m in messages %}{{ bos_token }}[INST] {{ m['content'] }} [/INST]{% endfor %}"


@dataclass
class FakeModel:
    """A model; its answer to a prompt is the prompt's own words, one a token."""

    inputs: tuple[str, ...] = LLM_INPUTS
    parameters: dict[str, str] = field(default_factory=dict)
    state: str = "READY"
    reason: str = ""
    refuse: str = ""
    """Error of every request."""
    refuse_after: int | None = None
    """Chunks before the error."""
    hang_after: int | None = None
    """Chunks after which nothing comes any more."""
    cut_after: int | None = None
    """Chunks after which the stream ends without the final flag."""
    choices: int = 1


@dataclass
class Seen:
    """A request as it arrived."""

    model: str
    tensors: dict[str, Any]
    request_id: str = ""
    model_header: str = ""
    """The model as a gRPC call's metadata names it."""


def default_models() -> dict[str, FakeModel]:
    """A model of every kind."""
    parameters = {"chat_template": TEMPLATE, "bos_token": "<s>", "eos_token": "</s>"}
    return {
        "llama2": FakeModel(parameters=parameters),
        "mistral7b": FakeModel(),
        "old": FakeModel(inputs=LLM_INPUTS[:4]),
        "adder": FakeModel(inputs=("A", "B")),
        "away": FakeModel(state="UNAVAILABLE", reason="engine did not start"),
        "refusing": FakeModel(refuse="temperature must be a number"),
        "failing": FakeModel(refuse="the engine died", refuse_after=2),
        "hanging": FakeModel(hang_after=1),
        "silent": FakeModel(hang_after=0),
        "cut": FakeModel(cut_after=1),
        "twice": FakeModel(choices=2),
        "broken_template": FakeModel(parameters={"chat_template": "{% for %}"}),
    }


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc] # generated code has no types
    """Both doors over one set of models; use it with ``async with``."""

    def __init__(self) -> None:
        self.models = default_models()
        self.seen: list[Seen] = []
        self.cancelled = asyncio.Event()
        self.streaming = asyncio.Event()
        """Set when a first chunk has gone out."""
        self.grpc_port = 0
        self.http_port = 0

    async def __aenter__(self) -> FakeTriton:
        self._grpc = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._grpc)
        self.grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        await self._grpc.start()
        self._runner = web.AppRunner(self._http_app(), handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.http_port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._grpc.stop(0)
        await self._runner.cleanup()

    # what a model does

    async def _answer(self, seen: Seen) -> AsyncIterator[tuple[str, int, bool]]:
        """Yield (text, tokens, final); raise ValueError for an error of the model."""
        self.seen.append(seen)
        model = self.models[seen.model]
        words = [f"{word} " for word in seen.tensors["text_input"].split(" ")]
        if not seen.tensors["stream"]:
            words = ["".join(words)]
        tokens = len(seen.tensors["text_input"].split(" ")) if not seen.tensors["stream"] else 1
        for number, word in enumerate(words):
            if model.refuse and number >= (model.refuse_after or 0):
                raise ValueError(model.refuse)
            if number == model.cut_after:
                return
            if number == model.hang_after:
                await self._hang()
            yield word, tokens, number == len(words) - 1
            self.streaming.set()

    async def _hang(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    # gRPC

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        return pb.ServerLiveResponse(live=True)

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = pb.RepositoryIndexResponse()
        for name, model in self.models.items():
            answer.models.add(name=name, version="1", state=model.state, reason=model.reason)
        return answer

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        model = self.models.get(request.name)
        if model is None or model.state != "READY":
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
            raise AssertionError
        answer = pb.ModelConfigResponse()
        for name in model.inputs:
            answer.config.input.add(name=name)
        for key, value in model.parameters.items():
            answer.config.parameters[key].string_value = value
        return answer

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: N802
        async for request in requests:
            header = str(dict(context.invocation_metadata()).get("tritonfleet-model", ""))
            seen = Seen(request.model_name, _tensors(request), request.id, header)
            unknown = set(seen.tensors) - set(self.models[request.model_name].inputs)
            try:
                if unknown:
                    raise ValueError(f"unexpected inference input '{unknown.pop()}'")
                async for text, tokens, final in self._answer(seen):
                    yield self._response(seen, text, tokens, final)
            except ValueError as err:
                if ("triton_grpc_error", "true") in context.invocation_metadata():
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(err))
                yield pb.ModelStreamInferResponse(error_message=str(err))

    def _response(self, seen: Seen, text: str, tokens: int, final: bool) -> Any:
        choices = self.models[seen.model].choices
        answer = pb.ModelStreamInferResponse()
        response = answer.infer_response
        response.model_name = seen.model
        response.parameters["triton_final_response"].bool_param = final
        for name, value in self._outputs(seen, text, tokens, final).items():
            shape = [1] if name == "num_input_tokens" else [choices]
            datatype = "UINT32" if isinstance(value[0], int) else "BYTES"
            response.outputs.add(name=name, datatype=datatype, shape=shape)
            response.raw_output_contents.append(b"".join(map(_pack, value)))
        return answer

    def _outputs(self, seen: Seen, text: str, tokens: int, final: bool) -> dict[str, list[Any]]:
        choices = self.models[seen.model].choices
        outputs: dict[str, list[Any]] = {"text_output": [f"{text}" for _ in range(choices)]}
        if seen.tensors.get("return_finish_reason"):
            outputs["finish_reason"] = ["stop" if final else "None"] * choices
        if seen.tensors.get("return_num_output_tokens"):
            outputs["num_output_tokens"] = [tokens] * choices
        if seen.tensors.get("return_num_input_tokens"):
            outputs["num_input_tokens"] = [len(seen.tensors["text_input"].split(" "))]
        return outputs

    # HTTP

    def _http_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v2/health/live", self._live)
        app.router.add_post("/v2/repository/index", self._index)
        app.router.add_get("/v2/models/{name}/config", self._config)
        app.router.add_post("/v2/models/{name}/generate", self._generate)
        app.router.add_post("/v2/models/{name}/generate_stream", self._generate_stream)
        return app

    async def _live(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _index(self, request: web.Request) -> web.Response:
        return web.json_response(
            [
                {"name": name, "version": "1", "state": model.state, "reason": model.reason}
                for name, model in self.models.items()
            ]
        )

    async def _config(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        model = self.models.get(name)
        if model is None or model.state != "READY":
            return web.json_response({"error": f"Request for unknown model: '{name}' is not found"}, status=404)
        parameters = {key: {"string_value": value} for key, value in model.parameters.items()}
        return web.json_response({"input": [{"name": name} for name in model.inputs], "parameters": parameters})

    async def _generate(self, request: web.Request) -> web.Response:
        seen = Seen(request.match_info["name"], await request.json())
        answers = []
        try:
            async for text, tokens, final in self._answer(seen):
                answers.append(self._json(seen, text, tokens, final))
        except ValueError as err:
            return web.json_response({"error": str(err)}, status=400)
        if len(answers) != 1:
            return web.json_response({"error": "generate expects model to produce exactly 1 response"})
        return web.json_response(answers[0])

    async def _generate_stream(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(request.match_info["name"], await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            async for text, tokens, final in self._answer(seen):
                await self._send(request, response, self._json(seen, text, tokens, final))
        except ValueError as err:
            if not response.prepared:
                return web.Response(body=f"data: {json.dumps({'error': str(err)})}\n\n".encode(), status=400)
            await self._send(request, response, {"error": str(err)})
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, data: Any) -> None:
        if not response.prepared:
            await response.prepare(request)
        await response.write(f"data: {json.dumps(data)}\n\n".encode())

    def _json(self, seen: Seen, text: str, tokens: int, final: bool) -> dict[str, Any]:
        outputs = self._outputs(seen, text, tokens, final)
        return {name: value[0] if len(value) == 1 else value for name, value in outputs.items()}


def _pack(value: str | int) -> bytes:
    if isinstance(value, int):
        return struct.pack("<I", value)
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def _tensors(request: Any) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        assert list(tensor.shape) == [1]
        if tensor.datatype == "BYTES":
            assert struct.unpack_from("<I", raw)[0] == len(raw) - 4
            tensors[tensor.name] = raw[4:].decode()
        else:
            assert tensor.datatype == "BOOL"
            tensors[tensor.name] = raw == b"\x01"
    return tensors


async def _main() -> None:
    """Serve until killed; print the two ports and, later, a line when a first chunk has gone out."""
    async with FakeTriton() as server:
        print(server.grpc_port, server.http_port, flush=True)
        await server.streaming.wait()
        print("streaming", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
