"""What config.pbtxt and model.json may say, and the completion of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tritonfleet.bridge import install_backend
from tritonfleet.bridge.failure import BridgeError
from tritonfleet.bridge.interface import complete
from tritonfleet.bridge.settings import Settings, read_arguments, read_settings

DECOUPLED: dict[str, Any] = {"model_transaction_policy": {"decoupled": True}}


def settings(arguments: dict[str, Any] | None = None, kind: str = "MODEL", **parameters: str) -> Settings:
    """Read a model's settings."""
    config = {**DECOUPLED, "parameters": {name: {"string_value": value} for name, value in parameters.items()}}
    return read_settings("m", "1", config, arguments or {}, kind)


def test_defaults() -> None:
    """Nothing is on unless it is asked for."""
    assert settings() == Settings("m", "1")


@pytest.mark.parametrize("value", ["true", "True", "yes"])
def test_metrics_are_reported_when_asked_for(value: str) -> None:
    """In either spelling of NVIDIA's releases, unless the engine keeps no statistics."""
    assert settings(REPORT_CUSTOM_METRICS=value).report_engine_metrics
    assert not settings({"disable_log_stats": True}, REPORT_CUSTOM_METRICS=value).report_engine_metrics
    assert not settings({"disable_log_stats": "true"}, REPORT_CUSTOM_METRICS=value).report_engine_metrics


def test_other_parameters() -> None:
    """The health check and the deadline."""
    assert settings(ENABLE_VLLM_HEALTH_CHECK="True").health_check
    assert settings(REQUEST_TIMEOUT_SECONDS="2.5").timeout_seconds == 2.5
    assert settings(REQUEST_TIMEOUT_SECONDS="0").timeout_seconds is None
    for wrong in ("soon", "-1", "inf", "nan"):
        with pytest.raises(BridgeError, match="REQUEST_TIMEOUT_SECONDS must be a number of seconds"):
            settings(REQUEST_TIMEOUT_SECONDS=wrong)


def test_kind_gpu_is_for_one_gpu() -> None:
    """The text is NVIDIA's."""
    for sizes in ({"tensor_parallel_size": "2"}, {"pipeline_parallel_size": 2}):
        with pytest.raises(
            BridgeError, match=r"^KIND_GPU is currently for single-GPU models, please specify KIND_MODEL"
        ):
            settings(sizes, kind="GPU")
        assert settings(sizes, kind="MODEL") == Settings("m", "1")
    assert settings({"tensor_parallel_size": 1}, kind="GPU") == Settings("m", "1")
    with pytest.raises(BridgeError, match="`tensor_parallel_size` must be an integer"):
        settings({"tensor_parallel_size": "two"})


def test_a_model_that_is_not_decoupled_is_refused() -> None:
    """It could not stream."""
    with pytest.raises(BridgeError, match="decoupled: true"):
        read_settings("m", "1", {}, {}, "MODEL")


def test_model_json_must_be_there(tmp_path: Path) -> None:
    """The text is NVIDIA's."""
    with pytest.raises(BridgeError) as caught:
        read_arguments(tmp_path)
    assert str(caught.value) == f"'model.json' containing vllm engine args must be provided in '{tmp_path}'"


@pytest.mark.parametrize(("text", "what"), [("{", "cannot be read as JSON"), ("[]", "must hold a JSON object")])
def test_model_json_must_be_an_object(tmp_path: Path, text: str, what: str) -> None:
    """What is wrong with the file is said with its path."""
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(BridgeError, match=what):
        read_arguments(tmp_path)
    (tmp_path / "model.json").write_text('{"model": "x"}')
    assert read_arguments(tmp_path) == {"model": "x"}


class Config:
    """Records what is added, in place of Triton's ModelConfig."""

    def __init__(self, inputs: list[str], outputs: list[str]) -> None:
        self.data = {"input": [{"name": name} for name in inputs], "output": [{"name": name} for name in outputs]}
        self.inputs: dict[str, dict[str, Any]] = {}
        self.outputs: dict[str, dict[str, Any]] = {}
        self.policy: dict[str, bool] = {}
        self.max_batch_size = 8

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as it was."""
        return self.data

    def add_input(self, tensor: dict[str, Any]) -> None:
        """Record an input."""
        self.inputs[tensor["name"]] = tensor

    def add_output(self, tensor: dict[str, Any]) -> None:
        """Record an output."""
        self.outputs[tensor["name"]] = tensor

    def set_model_transaction_policy(self, policy: dict[str, bool]) -> None:
        """Record the policy."""
        self.policy = policy

    def set_max_batch_size(self, size: int) -> None:
        """Record the size."""
        self.max_batch_size = size


def test_an_empty_configuration_gets_both_interfaces() -> None:
    """Only text_input is required, as in NVIDIA's backend."""
    config = complete(Config([], []))
    assert [name for name, tensor in config.inputs.items() if not tensor["optional"]] == ["text_input"]
    assert len(config.inputs) == 14
    assert list(config.outputs) == [
        *("text_output", "finish_reason", "cumulative_logprob", "logprobs", "num_input_tokens", "num_output_tokens"),
        "TEXT",
    ]
    assert (config.policy, config.max_batch_size) == ({"decoupled": True}, 0)


def test_tensors_that_are_there_are_kept() -> None:
    """Only missing ones are added, by name."""
    config = complete(Config(["text_input", "stream"], ["text_output"]))
    assert "text_input" not in config.inputs
    assert "text_output" not in config.outputs
    assert "return_logprobs" in config.inputs


def test_a_configuration_of_the_blueprint_stays_one() -> None:
    """A required text_input would raise the number of inputs that Triton demands."""
    config = complete(Config(["PROMPT", "STREAM"], ["TEXT"]))
    assert (list(config.inputs), list(config.outputs)) == (["SAMPLING_PARAMETERS"], [])


def test_the_backend_folder_stands_alone(tmp_path: Path) -> None:
    """It holds the entry and the few modules that it needs, and replaces what stood there."""
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "old.py").write_text("")
    install_backend(tmp_path)
    install_backend(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["vllm"]
    found = {str(path.relative_to(tmp_path / "vllm")) for path in (tmp_path / "vllm").rglob("*.py")}
    assert {"model.py", "tritonfleet/wire.py", "tritonfleet/errors.py", "tritonfleet/bridge/model.py"} <= found
    assert not any("spec" in path or "old" in path for path in found)
