"""FleetClient at both doors of a scripted Triton."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import aclosing

import pytest

from tests.client.fake_triton import FakeTriton
from tritonfleet.client import Address, FleetClient, GenerateRequest
from tritonfleet.errors import (
    ConnectionLost,
    RequestRefused,
    RequestTimeout,
    UnknownModel,
    Unreachable,
)

KOREAN = "트라이톤은 무엇인가요? 🙂 𝄞"


@pytest.mark.parametrize("stream", [False, True])
async def test_whole_answer(address: Address, triton: FakeTriton, stream: bool) -> None:
    """An answer comes back whole, with the tokens the model counted, streamed or not."""
    async with FleetClient(address) as client:
        found = await client.generate(GenerateRequest("llama2", KOREAN, {"max_tokens": 8}, stream))
    assert found.text == f"{KOREAN} "
    assert found.output_tokens == 4
    assert found.input_tokens == 4
    assert found.finish_reasons == ("stop",)
    assert found.timing.latency_seconds > 0
    assert triton.seen[0].tensors["sampling_parameters"] == '{"max_tokens": 8}'


async def test_a_grpc_call_names_its_model_to_proxies(triton: FakeTriton) -> None:
    async with FleetClient(f"grpc://127.0.0.1:{triton.grpc_port}") as client:
        await client.generate(GenerateRequest("llama2", "a"))
    assert triton.seen[0].model_header == "llama2"


async def test_ttft_only_when_streaming(address: Address) -> None:
    """Time to first token is known of a streamed answer, and not made up for a whole one."""
    async with FleetClient(address) as client:
        whole = await client.generate(GenerateRequest("llama2", "a b c"))
        streamed = await client.generate(GenerateRequest("llama2", "a b c", stream=True))
    assert whole.timing.ttft_seconds is None
    assert whole.tpot_seconds is None
    assert streamed.timing.ttft_seconds is not None
    assert 0 < streamed.timing.ttft_seconds <= streamed.timing.latency_seconds
    assert streamed.tpot_seconds is not None


async def test_choices(address: Address) -> None:
    """With n = 2 both texts come back, and their tokens are counted together."""
    async with FleetClient(address) as client:
        found = await client.generate(GenerateRequest("twice", "a b", {"n": 2}, stream=True))
    assert found.texts == ("a b ", "a b ")
    assert found.output_tokens == 4
    assert found.finish_reasons == ("stop", "stop")


async def test_older_backend(address: Address, triton: FakeTriton) -> None:
    """A model without the counting tensors is not asked for them; its tokens are unknown, not zero."""
    async with FleetClient(address) as client:
        found = await client.generate(GenerateRequest("old", "a b", stream=True))
    assert found.text == "a b "
    assert found.output_tokens is None
    assert found.tokens_per_second is None
    assert found.timing.ttft_seconds is not None
    assert set(triton.seen[0].tensors) <= set(triton.models["old"].inputs)


async def test_unknown_model(address: Address) -> None:
    """A mistyped name is answered with the near match and the loaded models."""
    async with FleetClient(address) as client:
        with pytest.raises(UnknownModel, match=r"no model 'lama2' at .* did you mean 'llama2'\? loaded models: adder"):
            await client.generate(GenerateRequest("lama2", "a"))


async def test_model_that_is_not_ready(address: Address) -> None:
    """A model that Triton knows but does not serve is answered with its state and reason."""
    async with FleetClient(address) as client:
        with pytest.raises(UnknownModel, match=r"'away' .* is not ready \(unavailable: engine did not start\)"):
            await client.generate(GenerateRequest("away", "a"))


async def test_other_kind_of_model(address: Address) -> None:
    """A model that takes no text is refused here, naming its inputs."""
    async with FleetClient(address) as client:
        with pytest.raises(RequestRefused, match="'adder' takes no text_input; its inputs are A, B"):
            await client.generate(GenerateRequest("adder", "a"))


@pytest.mark.parametrize("stream", [False, True])
async def test_refused(address: Address, stream: bool) -> None:
    """The model's own words are in the error."""
    async with FleetClient(address) as client:
        with pytest.raises(RequestRefused, match=r"model 'refusing' refused.*: temperature must be a number$"):
            await client.generate(GenerateRequest("refusing", "a", stream=stream))


async def test_error_half_way(address: Address) -> None:
    """What came before an error is kept beside it."""
    async with FleetClient(address) as client:
        found, error = await client.attempt(GenerateRequest("failing", "a b c", stream=True))
    assert found.text == "a b "
    assert found.output_tokens == 2
    assert isinstance(error, RequestRefused)
    assert "the engine died" in str(error)


async def test_stream_that_is_cut(address: Address) -> None:
    """A stream that ends without its last response is an error, not a short answer."""
    async with FleetClient(address) as client:
        with pytest.raises(ConnectionLost, match="before the answer was complete"):
            await client.generate(GenerateRequest("cut", "a b c", stream=True))


@pytest.mark.parametrize("model", ["hanging", "silent"])
async def test_deadline(address: Address, model: str) -> None:
    """A model that says nothing more is given up after the deadline."""
    async with FleetClient(address, timeout_seconds=0.3) as client:
        with pytest.raises(RequestTimeout, match=f"no complete answer from model '{model}' within 0.3 s"):
            await client.generate(GenerateRequest(model, "a b c", stream=True))


async def test_leaving_the_stream_cancels(address: Address, triton: FakeTriton) -> None:
    """Leaving the loop early reaches the server as a cancellation."""
    async with FleetClient(address) as client:
        async with aclosing(client.stream(GenerateRequest("hanging", "a b c", stream=True))) as chunks:
            async for chunk in chunks:
                assert chunk.texts == ("a ",)
                break
        await asyncio.wait_for(triton.cancelled.wait(), 5)


async def test_cancelled_task_cancels(address: Address, triton: FakeTriton) -> None:
    """Cancelling the task that waits reaches the server."""
    async with FleetClient(address) as client:
        task = asyncio.create_task(client.generate(GenerateRequest("hanging", "a b c", stream=True)))
        await triton.streaming.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(triton.cancelled.wait(), 5)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_nobody_there(protocol: str) -> None:
    """A closed port is named with what to do next."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with FleetClient(f"{protocol}://127.0.0.1:{port}") as client:
            with pytest.raises(
                Unreachable, match=rf"nothing answers at {protocol}://127.0.0.1:{port} .*tritonfleet up"
            ):
                await client.check_live()


async def test_wrong_door(triton: FakeTriton) -> None:
    """The right machine at the wrong port: the message names the other door."""
    async with FleetClient(f"grpc://127.0.0.1:{triton.http_port}") as client:
        with pytest.raises(Unreachable, match="does not speak gRPC; add --http"):
            await client.check_live()
    async with FleetClient(f"http://127.0.0.1:{triton.grpc_port}") as client:
        with pytest.raises(Unreachable, match="does not speak HTTP; drop --http"):
            await client.check_live()


async def test_port_that_closes() -> None:
    """Triton's HTTP server closes a gRPC connection; the message names the other door all the same."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server, FleetClient(f"grpc://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(Unreachable, match="does not speak gRPC; add --http"):
            await client.check_live()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_server_killed_half_way(protocol: str) -> None:
    """A server that dies under a request is an error at once, and the text so far is kept."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.client.fake_triton", stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    grpc_port, http_port = map(int, (await server.stdout.readline()).split())
    port = grpc_port if protocol == "grpc" else http_port
    async with FleetClient(f"{protocol}://127.0.0.1:{port}", timeout_seconds=30) as client:
        task = asyncio.create_task(client.attempt(GenerateRequest("hanging", "a b c", stream=True)))
        assert await server.stdout.readline() == b"streaming\n"
        server.send_signal(signal.SIGKILL)
        found, error = await asyncio.wait_for(task, 10)
        await server.wait()
        assert isinstance(error, ConnectionLost)
        assert "went away before the answer was complete" in str(error)
        assert found.text in ("", "a ")
        with pytest.raises((Unreachable, ConnectionLost)):
            await client.generate(GenerateRequest("hanging", "a"))
