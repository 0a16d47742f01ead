"""Triton's gRPC door: KServe v2 over grpc.aio, one stream for each request, so that each can be cancelled alone.

It sends tritonclient's messages itself: tritonclient's own stream shares one call between all requests, hides which
of them failed, and goes through numpy for every tensor.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as _service_pb2
from tritonclient.grpc import service_pb2_grpc

from tritonfleet.client.address import Address
from tritonfleet.client.messages import EXTRA_OUTPUTS, Chunk, GenerateRequest, IndexEntry, ModelInfo
from tritonfleet.client.requests import check_inputs, sampling_json
from tritonfleet.client.tensors import pack_bool, pack_text, unpack_texts, unpack_uint32
from tritonfleet.errors import (
    ConnectionLost,
    RequestFailed,
    RequestRefused,
    RequestTimeout,
    UnknownModel,
    Unreachable,
)

# Generated code without type information.
pb: Any = _service_pb2

#: Seconds for calls that only ask for information.
INFORMATION_SECONDS = 10.0

_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that came back is tried again at once instead of after grpc's 20 s.
    ("grpc.max_reconnect_backoff_ms", 1000),
]
#: Makes Triton end a stream with the error's real status code instead of a message without one.
_STREAM_METADATA = (("triton_grpc_error", "true"),)
#: Names the model to a proxy, which does not look into messages; the cluster's routes go by it.
MODEL_HEADER = "tritonfleet-model"
#: What grpc says when there was no connection, and further when that is not because of what answered.
_NO_CONNECTION = ("failed to connect", "resolving", "resolution")
_NOBODY_THERE = ("refused", "resolving", "resolution", "timed out", "timeout", "unreachable", "no route")
#: What grpc says when a connection breaks under a call.
_BROKEN_CONNECTION = (
    "stream removed",
    "socket closed",
    "connection reset",
    "broken pipe",
    "goaway",
    "endpoint",
    "channel closed",
    "recvmsg",
    "keepalive",
)


class GrpcDoor:
    """A connection to Triton over gRPC; every method raises RequestFailed or one of its children, nothing else."""

    def __init__(self, address: Address) -> None:
        self._address = address
        target = f"dns:///{address.netloc}"
        self._channel = (
            grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(), options=_OPTIONS)
            if address.tls
            else grpc.aio.insecure_channel(target, options=_OPTIONS)
        )
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def close(self) -> None:
        """Close the connection; requests that still run are cancelled."""
        await self._channel.close()

    async def check_live(self) -> None:
        """Return if a live Triton answers."""
        await self._ask(self._stub.ServerLive, pb.ServerLiveRequest())

    async def index(self) -> list[IndexEntry]:
        """Return Triton's repository index."""
        answer = await self._ask(self._stub.RepositoryIndex, pb.RepositoryIndexRequest())
        return [IndexEntry(model.name, model.state, model.reason) for model in answer.models]

    async def model_info(self, name: str) -> ModelInfo:
        """Return what the config of the loaded model *name* says; raise UnknownModel if it is not loaded."""
        config = (await self._ask(self._stub.ModelConfig, pb.ModelConfigRequest(name=name), name)).config
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        return ModelInfo(name, frozenset(tensor.name for tensor in config.input), parameters)

    async def stream(
        self, request: GenerateRequest, info: ModelInfo, timeout_seconds: float | None
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the responses to *request*; leaving the loop early cancels it in the engine."""
        message = infer_request(request, info)
        metadata = (*_STREAM_METADATA, *_model_metadata(request.model))
        call = self._stub.ModelStreamInfer(metadata=metadata, timeout=timeout_seconds)
        sent = time.perf_counter()
        final = False
        try:
            await call.write(message)
            await call.done_writing()
            async for response in call:
                if response.error_message:
                    raise _refusal(request.model, grpc.StatusCode.UNKNOWN, response.error_message)
                answer = response.infer_response
                final = answer.parameters["triton_final_response"].bool_param
                if answer.outputs:
                    yield to_chunk(answer)
            if not final:
                raise ConnectionLost(f"{self._address} ended the stream before the answer was complete")
        except (grpc.RpcError, grpc.aio.UsageError) as err:
            # A write to a call that ended already raises without the reason: ask the call itself.
            raise await self._failure(call, err, request.model, time.perf_counter() - sent) from err
        except ValueError as err:
            raise RequestRefused(f"model {request.model!r} sent a response that cannot be read: {err}") from err
        finally:
            call.cancel()

    async def _ask(self, method: Any, message: Any, model: str = "") -> Any:
        try:
            return await method(message, metadata=_model_metadata(model), timeout=INFORMATION_SECONDS)
        except grpc.aio.AioRpcError as err:
            if err.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise Unreachable(
                    f"{self._address} did not answer within {INFORMATION_SECONDS:g} s; is it a Triton gRPC port?"
                ) from err
            raise to_error(self._address, err.code(), err.details() or "", model) from err

    async def _failure(self, call: Any, err: Exception, model: str, elapsed_seconds: float) -> RequestFailed:
        code, details = await call.code(), await call.details() or str(err)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return RequestTimeout(
                f"no complete answer from model {model!r} within {elapsed_seconds:.1f} s; give it longer with --timeout"
            )
        return to_error(self._address, code, details, model)


def _model_metadata(model: str) -> tuple[tuple[str, str], ...]:
    """Return the header that names *model*; a name that no header takes is left to the server to refuse."""
    return ((MODEL_HEADER, model),) if model and model.isascii() and model.isprintable() else ()


def infer_request(request: GenerateRequest, info: ModelInfo) -> Any:
    """Return the ModelInferRequest of *request*; raise RequestRefused if the model has no text input."""
    check_inputs(info)
    message = pb.ModelInferRequest(model_name=request.model, id=request.request_id)
    _add(message, "text_input", "BYTES", pack_text(request.prompt))
    _add(message, "stream", "BOOL", pack_bool(request.stream))
    _add(message, "sampling_parameters", "BYTES", pack_text(sampling_json(request)))
    for name in ("exclude_input_in_output", *EXTRA_OUTPUTS):
        if name in info.inputs:
            _add(message, name, "BOOL", pack_bool(True))
    return message


def _add(message: Any, name: str, datatype: str, raw: bytes) -> None:
    message.inputs.add(name=name, datatype=datatype, shape=[1])
    message.raw_input_contents.append(raw)


def to_chunk(response: Any) -> Chunk:
    """Return what a ModelInferResponse holds; raise ValueError if its tensors are broken."""
    texts: tuple[str, ...] = ()
    reasons: tuple[str | None, ...] = ()
    output_tokens: tuple[int, ...] | None = None
    input_tokens: int | None = None
    for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        match tensor.name:
            case "text_output":
                texts = unpack_texts(raw)
            case "num_output_tokens":
                output_tokens = unpack_uint32(raw)
            case "num_input_tokens":
                input_tokens = next(iter(unpack_uint32(raw)), None)
            case "finish_reason":
                reasons = tuple(None if text in ("", "None") else text for text in unpack_texts(raw))
    return Chunk(texts, output_tokens, input_tokens, reasons)


def to_error(address: Address, code: grpc.StatusCode, details: str, model: str) -> RequestFailed:
    """Return our error for the status that ended a call.

    grpc reports its own failures with the same codes as the server's, so those are known by their texts.
    """
    text = details.lower()
    if code is grpc.StatusCode.UNAVAILABLE and any(sign in text for sign in _NO_CONNECTION):
        if not any(sign in text for sign in _NOBODY_THERE):
            return Unreachable(f"{address} does not speak gRPC; add --http, or give Triton's gRPC port (8001)")
        return Unreachable(
            f"nothing answers at {address} ({details}); start a fleet with `tritonfleet up`, or name its address "
            "with --url"
        )
    broken = code is grpc.StatusCode.UNAVAILABLE and any(sign in text for sign in _BROKEN_CONNECTION)
    if broken or code is grpc.StatusCode.CANCELLED:
        return ConnectionLost(f"{address} went away before the answer was complete ({details or code.name})")
    if code is grpc.StatusCode.UNIMPLEMENTED and not model:
        return Unreachable(f"{address} is no Triton server: {details}")
    return _refusal(model, code, details)


def _refusal(model: str, code: grpc.StatusCode, details: str) -> RequestFailed:
    if code is grpc.StatusCode.NOT_FOUND or "unknown model" in details.lower():
        return UnknownModel(details)
    name = "" if code is grpc.StatusCode.UNKNOWN else f" ({code.name})"
    who = f"model {model!r}" if model else "Triton"
    return RequestRefused(f"{who} refused the request{name}: {details}")
