"""Everything that touches Triton's Python API (``triton_python_backend_utils``), which exists only inside its stub."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import triton_python_backend_utils as pb_utils

from tritonfleet.bridge.failure import BridgeError
from tritonfleet.bridge.generation import Raw
from tritonfleet.bridge.metrics import Definition, Series
from tritonfleet.bridge.respond import Tensors

_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


def read_request(request: Any, *, traced: bool = False) -> Raw:
    """Copy what a request holds: its memory is Triton's again when ``execute`` returns.

    With *traced*, also the context of Triton's span.
    """
    return Raw(
        tensors={tensor.name(): tensor.as_numpy().ravel().tolist() for tensor in request.inputs()},
        parameters=request.parameters() or "{}",
        timeout_us=request.timeout(),
        request_id=request.request_id(),
        traceparent=_traceparent(request) if traced else "",
    )


def _traceparent(request: Any) -> str:
    """Return the W3C context of Triton's span; empty for a request that Triton does not trace."""
    context = request.trace().get_context()
    return str(json.loads(context).get("traceparent", "")) if context else ""


class TritonResponder:
    """The response sender of one request."""

    def __init__(self, sender: Any) -> None:
        self._sender = sender

    def send(self, tensors: Tensors, *, final: bool) -> None:
        """Send one response; raise BridgeError if Triton does not take it."""
        try:
            response = pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors])
            self._sender.send(response, flags=_FINAL if final else 0)
        except pb_utils.TritonModelException as err:
            raise BridgeError(f"Triton did not take the response: {err}") from err

    def fail(self, error: BridgeError) -> None:
        """Send the error as the final response; raise BridgeError if Triton does not take it."""
        try:
            code = getattr(pb_utils.TritonError, error.code.value)
            response = pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(str(error), code))
            self._sender.send(response, flags=_FINAL)
        except pb_utils.TritonModelException as err:
            raise BridgeError(f"Triton did not take the error {error}: {err}") from err

    def is_cancelled(self) -> bool:
        """Whether the client gave the request up."""
        return bool(self._sender.is_cancelled())


class TritonLog:
    """Triton's log."""

    def info(self, message: str) -> None:
        """Write an information line."""
        pb_utils.Logger.log_info(message)

    def problem(self, message: str) -> None:
        """Write an error line."""
        pb_utils.Logger.log_error(message)


class TritonMetrics:
    """Makes metrics; they live as long as this does."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        self._families: dict[str, Any] = {}

    def register(self, definition: Definition, labels: Mapping[str, str]) -> Series:
        """Return the series of *definition* with further *labels*; raise BridgeError where Triton serves no metrics."""
        try:
            family = self._families.get(definition.name)
            if family is None:
                family = self._families[definition.name] = pb_utils.MetricFamily(
                    name=definition.name,
                    description=definition.description,
                    kind=getattr(pb_utils.MetricFamily, definition.kind.upper()),
                )
            options = {"buckets": list(definition.buckets)} if definition.kind == "histogram" else {}
            series: Series = family.Metric(labels={**self._labels, **labels}, **options)
        except pb_utils.TritonModelException as err:
            raise BridgeError(f"no metrics of the bridge: {err}") from err
        return series


def unload(model: str, log: TritonLog) -> None:
    """Have Triton unload *model*, in a thread because Triton waits for the model's own requests."""

    def work() -> None:
        log.problem(f"[vllm] {model}: the engine failed its health check; unloading the model")
        try:
            pb_utils.unload_model(model)
        except pb_utils.TritonModelException as err:
            log.problem(f"[vllm] {model}: {err}")

    threading.Thread(target=work, name="unload", daemon=True).start()
