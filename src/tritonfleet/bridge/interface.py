"""The tensors of a model, and the completion of its ``config.pbtxt``.

Two interfaces are served side by side: NVIDIA's vllm_backend (``text_input`` -> ``text_output``) and the one of the
AI-on-EKS blueprint (``PROMPT`` -> ``TEXT``). A request uses the one whose prompt it carries.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class TensorSpec(NamedTuple):
    """One tensor of the configuration."""

    name: str
    data_type: str
    dims: tuple[int, ...] = (1,)
    optional: bool = True


#: Flags that ask for a further output; the output's name is the flag's without ``return_``.
OUTPUT_FLAGS = (
    "return_finish_reason",
    "return_cumulative_logprob",
    "return_logprobs",
    "return_num_input_tokens",
    "return_num_output_tokens",
)

NVIDIA_INPUTS = (
    # Required as in NVIDIA's backend. Triton counts inputs and does not look which ones are there, so a request with
    # PROMPT or embedding_request alone passes.
    TensorSpec("text_input", "TYPE_STRING", optional=False),
    TensorSpec("image", "TYPE_STRING", (-1,)),
    TensorSpec("stream", "TYPE_BOOL"),
    TensorSpec("sampling_parameters", "TYPE_STRING"),
    TensorSpec("exclude_input_in_output", "TYPE_BOOL"),
    *(TensorSpec(flag, "TYPE_BOOL") for flag in OUTPUT_FLAGS),
    TensorSpec("embedding_request", "TYPE_STRING"),
)
NVIDIA_OUTPUTS = (
    TensorSpec("text_output", "TYPE_STRING", (-1,)),
    TensorSpec("finish_reason", "TYPE_STRING", (-1,)),
    TensorSpec("cumulative_logprob", "TYPE_FP32", (-1,)),
    TensorSpec("logprobs", "TYPE_STRING", (-1,)),
    TensorSpec("num_input_tokens", "TYPE_UINT32"),
    TensorSpec("num_output_tokens", "TYPE_UINT32", (-1,)),
)
BLUEPRINT_INPUTS = (
    TensorSpec("PROMPT", "TYPE_STRING"),
    TensorSpec("STREAM", "TYPE_BOOL"),
    TensorSpec("SAMPLING_PARAMETERS", "TYPE_STRING"),
)
BLUEPRINT_OUTPUTS = (TensorSpec("TEXT", "TYPE_STRING", (-1,)),)


def missing_tensors(config: dict[str, Any]) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Return the inputs and outputs that the configuration *config* lacks.

    A configuration that names PROMPT and not text_input is the blueprint's own: there a required text_input would
    raise the number of inputs that Triton demands, so only the blueprint's tensors are added.
    """
    inputs = {tensor["name"] for tensor in config["input"]}
    outputs = {tensor["name"] for tensor in config["output"]}
    blueprint_only = "PROMPT" in inputs and "text_input" not in inputs
    wanted_inputs = BLUEPRINT_INPUTS if blueprint_only else NVIDIA_INPUTS + BLUEPRINT_INPUTS
    wanted_outputs = BLUEPRINT_OUTPUTS if blueprint_only else NVIDIA_OUTPUTS + BLUEPRINT_OUTPUTS
    return (
        [tensor for tensor in wanted_inputs if tensor.name not in inputs],
        [tensor for tensor in wanted_outputs if tensor.name not in outputs],
    )


def complete(auto_complete: Any) -> Any:
    """Fill Triton's ``ModelConfig`` *auto_complete*: missing tensors, no batching, decoupled; return it."""
    inputs, outputs = missing_tensors(auto_complete.as_dict())
    for tensor in inputs:
        auto_complete.add_input(
            {
                "name": tensor.name,
                "data_type": tensor.data_type,
                "dims": list(tensor.dims),
                "optional": tensor.optional,
            }
        )
    for tensor in outputs:
        auto_complete.add_output(
            {"name": tensor.name, "data_type": tensor.data_type, "dims": list(tensor.dims)},
        )
    auto_complete.set_model_transaction_policy({"decoupled": True})
    auto_complete.set_max_batch_size(0)
    return auto_complete
