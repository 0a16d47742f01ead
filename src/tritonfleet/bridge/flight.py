"""One request on its way through the engine, as a task of the event loop."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tritonfleet.bridge import codec
from tritonfleet.bridge.answer import Answer
from tritonfleet.bridge.completion import completion_body, embedding_body, must_stream
from tritonfleet.bridge.delivery import Delivery, Outbox, Responder
from tritonfleet.bridge.failure import BridgeError, Code, Unavailable
from tritonfleet.bridge.generation import Embedding, Generation
from tritonfleet.bridge.lease import DeviceTurns
from tritonfleet.bridge.logprobs import ChoiceLogprobs, TokenTexts
from tritonfleet.bridge.meter import Ended, Meter, Timing
from tritonfleet.bridge.pace import Pace
from tritonfleet.bridge.replicas import FAILED, Replicas, Reply, error_text
from tritonfleet.bridge.respond import embedding_tensors
from tritonfleet.bridge.settings import Settings
from tritonfleet.bridge.sse import DONE, EventParser
from tritonfleet.bridge.trace import SpanSender
from tritonfleet.wire import Route

#: Lines that NVIDIA's backend writes, and its tests look for.
CANCELLING = "[vllm] Cancelling the request"
CANCELLED = "[vllm] Successfully cancelled the request"
#: After the answer's last token the engine may take this long to tell its counts.
TAIL_SECONDS = 5.0
UNHEALTHY = "Model is unavailable due to unhealthy vLLM engine"


class Log(Protocol):
    """Triton's log."""

    def info(self, message: str) -> None:
        """Write an information line."""
        ...

    def problem(self, message: str) -> None:
        """Write an error line."""
        ...


@dataclass(frozen=True)
class Lane:
    """What all requests of one model share."""

    loop: asyncio.AbstractEventLoop
    settings: Settings
    route: Route
    replicas: Replicas
    outbox: Outbox
    texts: TokenTexts
    meter: Meter
    log: Log
    spans: SpanSender | None
    """None where traces are off."""
    pace: Pace
    paced: bool
    """Whether the engine's requests have `stream_interval`."""
    in_flight: Callable[[], int]
    sick: Callable[[], None]
    """Called when the engine failed its health check."""
    devices: DeviceTurns


class Flight:
    """One request between Triton and the engine; *landed* is called when nothing of it is left."""

    def __init__(
        self, request: Generation | Embedding, responder: Responder, lane: Lane, *, landed: Callable[[Flight], None]
    ) -> None:
        self.request = request
        self.delivery = Delivery(responder, closed=self._part_done)
        self._lane = lane
        # Not asked for at each event: Python 3.11 makes a system call of `asyncio.get_running_loop()`.
        self._loop = lane.loop
        self._landed = landed
        self._parts = itertools.count(1)
        self._timing = Timing(time.monotonic(), keep=lane.settings.report_engine_metrics)
        self._span = lane.spans.begin(request.traceparent) if lane.spans is not None else None
        self._task: asyncio.Task[None] | None = None
        self._cancelling = False
        self._revoked = ""
        """Why the device was taken away."""
        self._held = False
        """Whether it waits for the model to be awake."""
        self._offered = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._outcome = "cancelled"
        self._seconds = 0.0
        self._logprobs: dict[int, ChoiceLogprobs] = {}

    def start(self) -> None:
        """Begin, in the event loop."""
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._task_done)

    def is_cancelled(self) -> bool:
        """Ask Triton whether the client gave up."""
        return self.delivery.is_cancelled()

    def cancel(self) -> None:
        """Give up, in any thread."""
        if self._task is not None and not self._cancelling:
            self._cancelling = True
            self._loop.call_soon_threadsafe(self._task.cancel)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # before its first step
            self._fail(BridgeError("Request was cancelled", Code.CANCELLED))
        self._part_done()

    def _part_done(self) -> None:
        """The final response was sent, or the engine's last byte was read: with both, the request has landed."""
        if next(self._parts) == 2:
            self._record()
            if self._span is not None:
                self._loop.call_soon_threadsafe(self._end_span)
            self._landed(self)

    async def _run(self) -> None:
        seconds = self.request.timeout_seconds or self._lane.settings.timeout_seconds
        outcome = "success"
        try:
            async with asyncio.timeout(seconds):
                await self._forward()
        except TimeoutError:
            outcome = "timeout"
            what = "the model did not get its device" if self._held else "no complete answer"
            self._fail(Unavailable(f"Request timeout expired: {what} within {seconds:g} s"))
        except asyncio.CancelledError:
            outcome = self._end_early()
        except BridgeError as err:
            outcome = "refused" if err.code in (Code.INVALID_ARG, Code.UNSUPPORTED) else "failed"
            self._fail(err)
        except Exception as err:  # a mistake of ours must not leave the client without an answer
            outcome = "failed"
            self._lane.log.problem(f"[vllm] {self._lane.settings.model}: the bridge failed: {err!r}")
            self._fail(BridgeError(f"{FAILED} {self._lane.settings.model}: the bridge failed: {err!r}"))
        answer = self.delivery.answer
        self._outcome = "success" if answer is not None and answer.finished else outcome
        self._seconds = time.monotonic() - self._timing.started

    def _end_early(self) -> str:
        """Answer a request that was cancelled, or whose device was taken away; return its outcome."""
        if self._revoked and not self._cancelling:
            self._fail(Unavailable(f"{FAILED} the request was ended: {self._revoked}; send it again"))
            return "failed"
        self._lane.log.info(CANCELLING)
        self._fail(BridgeError("Request was cancelled", Code.CANCELLED))
        self._lane.log.info(CANCELLED)
        return "cancelled"

    def _fail(self, error: BridgeError) -> None:
        self.delivery.fail(error)
        self._lane.outbox.post(self.delivery)

    def _record(self) -> None:
        answer = self.delivery.answer
        self._lane.meter.finished(
            Ended(
                self._outcome,
                self._timing,
                seconds=self._seconds,
                prompt_tokens=answer.prompt_tokens if answer else 0,
                tokens=answer.tokens if answer else 0,
                responses=self.delivery.responses,
                choices=self.request.n if isinstance(self.request, Generation) else 1,
            )
        )

    def _end_span(self) -> None:
        assert self._span is not None
        assert self._lane.spans is not None
        answer = self.delivery.answer
        told: dict[str, str | int] = {
            "gen_ai.request.model": self._lane.route.model,
            "tritonfleet.outcome": self._outcome,
            "gen_ai.usage.output_tokens": answer.tokens if answer else 0,
        }
        if self.request.request_id:
            told["tritonfleet.request_id"] = self.request.request_id
        problem = "" if self._outcome == "success" else self._outcome
        self._lane.spans.end(self._span, told, problem, self._timing.first)

    @property
    def _headers(self) -> dict[str, str]:
        """The trace's context for the engine: below this request's span, else as it came."""
        context = self._span.traceparent if self._span is not None else self.request.traceparent
        return {"traceparent": context} if context else {}

    async def _forward(self) -> None:
        lane = self._lane
        self._held = True
        async with lane.devices.hold(self.request.timeout_seconds or lane.settings.timeout_seconds, self._revoke):
            self._held = False
            await self._send()

    def _revoke(self, reason: str) -> None:
        """End the request, because its model must leave the device; called in the event loop."""
        self._revoked = reason
        if self._task is not None:
            self._task.cancel()

    async def _send(self) -> None:
        lane = self._lane
        if lane.settings.health_check and not await lane.replicas.healthy():
            lane.sick()
            raise Unavailable(UNHEALTHY)
        if isinstance(self.request, Embedding):
            await self._embed(self.request)
        else:
            await self._generate(self.request)

    async def _embed(self, request: Embedding) -> None:
        body = codec.dumps(embedding_body(request, self._lane.route))
        async with self._lane.replicas.post("/v1/embeddings", body, self._headers) as reply:
            data = codec.loads(await reply.body())
        vector, used = data["data"][0]["embedding"], data.get("usage", {}).get("prompt_tokens", 0)
        self.delivery.finish(embedding_tensors(vector, used, request.outputs))
        self._lane.outbox.post(self.delivery)

    async def _generate(self, request: Generation) -> None:
        lane = self._lane
        answer = Answer(request)
        self.delivery.request, self.delivery.answer = request, answer
        # Times of the first and of every further token are only seen in a stream.
        stream = must_stream(request, lane.route) or lane.settings.report_engine_metrics
        count = request.outputs.num_output_tokens or request.outputs.num_input_tokens
        body = completion_body(
            request,
            lane.route,
            stream=stream,
            count_tokens=count or lane.settings.report_engine_metrics,
            stream_interval=lane.pace.interval(lane.in_flight()) if lane.paced else 1,
        )
        if request.outputs.logprobs and request.logprobs is not None:
            self._logprobs = {index: ChoiceLogprobs(lane.texts, request.logprobs) for index in range(request.n)}
        async with lane.replicas.post("/v1/completions", codec.dumps(body), self._headers) as reply:
            if stream:
                await self._read_events(reply, answer)
            else:
                await self._take(codec.loads(await reply.body()), answer)
                self._end(answer)

    async def _read_events(self, reply: Reply, answer: Answer) -> None:
        parser = EventParser()
        try:
            # Once the answer is whole only the engine's count and the connection's end are waited for.
            async with asyncio.timeout(None) as patience:
                while chunk := await reply.chunk():
                    await self._take_events(parser.feed(chunk), answer)
                    if answer.finished and patience.when() is None:
                        patience.reschedule(self._loop.time() + TAIL_SECONDS)
                    elif self.delivery.closed and not answer.finished:
                        return  # Triton took no response; leaving makes the engine abort
        except (BridgeError, TimeoutError):
            if not answer.finished:
                raise
        if not answer.finished:
            raise await self._lane.replicas.cut_off()

    async def _take_events(self, payloads: list[bytes], answer: Answer) -> None:
        for payload in payloads:
            if payload == DONE:
                with self.delivery.lock:
                    answer.end()
                continue
            event = codec.loads(payload)
            if "error" in event:
                raise self._engine_error(payload)
            await self._take(event, answer)
        if answer.finished:
            self._lane.outbox.post(self.delivery)
        elif answer.news and self.request_streams:
            self._offer()

    def _offer(self) -> None:
        """Have the news sent, not sooner after the last than the pace allows; what comes meanwhile goes with it."""
        if self._later is not None:
            return
        due = self._offered + self._lane.pace.hold_seconds(self._lane.in_flight())
        if self._loop.time() < due:
            self._later = self._loop.call_at(due, self._offer_now)
        else:
            self._offer_now()

    def _offer_now(self) -> None:
        self._later = None
        self._offered = self._loop.time()
        self._lane.outbox.post(self.delivery)

    @property
    def request_streams(self) -> bool:
        """Whether the client wants the text as it comes."""
        return isinstance(self.request, Generation) and self.request.stream

    async def _take(self, event: dict[str, Any], answer: Answer) -> None:
        rendered = None
        if self._logprobs:
            rendered = {
                entry["index"]: await self._logprobs[entry["index"]].render(entry["logprobs"])
                for entry in event["choices"]
                if entry.get("logprobs")
            }
        with self.delivery.lock:
            before = answer.tokens
            answer.take(event, rendered)
            gap = self._timing.tokens(time.monotonic(), answer.tokens - before)
        if gap is not None:
            self._lane.pace.saw(gap)

    def _end(self, answer: Answer) -> None:
        with self.delivery.lock:
            answer.end()
        self._lane.outbox.post(self.delivery)

    def _engine_error(self, payload: bytes) -> BridgeError:
        route = self._lane.route
        return BridgeError(f"{FAILED} {route.model}: the {route.engine} engine failed: {error_text(payload)}")
