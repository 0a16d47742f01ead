"""The model that Triton's Python stub runs for ``backend: "vllm"``."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from tritonfleet.bridge.failure import BridgeError
from tritonfleet.bridge.interface import complete
from tritonfleet.bridge.settings import read_arguments, read_settings
from tritonfleet.wire import CONTROL_VARIABLE, TRACING_VARIABLE


class TritonPythonModel:
    """Forwards requests to the engine that the fleet's supervisor runs for this model."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Add the tensors that the configuration does not name."""
        return complete(auto_complete_model_config)

    def initialize(self, args: dict[str, str]) -> None:
        """Wait for the engine; raise with the reason when there will be none."""
        try:
            self._open(args)
        except BridgeError as err:
            raise pb_utils.TritonModelException(str(err)) from None

    def execute(self, requests: Sequence[Any]) -> None:
        """Hand requests to the bridge, which answers them later; never waits."""
        for request in requests:
            responder = self._triton.TritonResponder(request.get_response_sender())
            try:
                self._bridge.submit(self._triton.read_request(request, traced=self._traced), responder)
            except Exception as err:  # a request without an answer would hang its client for ever
                responder.fail(BridgeError(f"the bridge failed: {err!r}"))

    def finalize(self) -> None:
        """Wait for the requests in flight and give the engine back."""
        self._bridge.close()
        self._log.info("[vllm] Shutdown complete")

    def _open(self, args: dict[str, str]) -> None:
        # Only here: the process that completes the configuration needs neither an event loop nor an HTTP client.
        from tritonfleet.bridge import triton
        from tritonfleet.bridge.service import Bridge
        from tritonfleet.bridge.trace import TraceSettings

        model, version = args["model_name"], args["model_version"]
        folder = Path(pb_utils.get_model_dir())
        settings = read_settings(
            model, version, json.loads(args["model_config"]), read_arguments(folder), args["model_instance_kind"]
        )
        control = os.environ.get(CONTROL_VARIABLE)
        if not control:
            raise BridgeError(
                f"{model}: the vLLM backend of tritonfleet needs a running fleet ({CONTROL_VARIABLE} is not set); "
                "start Triton with `tritonfleet up`"
            )
        self._triton = triton
        self._log = triton.TritonLog()
        self._metrics = triton.TritonMetrics({"model": model, "version": version})
        self._unloading = threading.Lock()
        traces = TraceSettings.read(os.environ.get(TRACING_VARIABLE))
        self._traced = traces is not None
        self._bridge = Bridge(settings, self._log, traces)
        try:
            self._bridge.open(control, folder.parent, self._metrics.register, lambda: self._unload(model))
        except BridgeError:
            self._bridge.close()
            raise

    def _unload(self, model: str) -> None:
        if self._unloading.acquire(blocking=False):  # once
            self._triton.unload(model, self._log)
