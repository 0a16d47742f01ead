"""Checks of the engine arguments in model.json against what vLLM accepts."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from tritonfleet.engines.vllm_options import KINDS
from tritonfleet.repository.check.finding import Finding
from tritonfleet.repository.check.json_file import JsonFile, json_type, with_article

#: Arguments of older releases, which many model.json files still hold.
RETIRED: Mapping[str, str] = {
    "disable_log_requests": "requests are not logged unless enable_log_requests is true; remove it",
    "swap_space": "vLLM recomputes instead of swapping; remove it",
    "device": "the installed vLLM decides; remove it",
    "use_v2_block_manager": "there is one block manager; remove it",
    "engine_use_ray": "remove it",
    "worker_use_ray": "write distributed_executor_backend: ray",
    "num_scheduler_steps": "remove it",
    "num_lookahead_slots": "write speculative_config",
    "speculative_model": "write speculative_config",
    "num_speculative_tokens": "write speculative_config",
    "guided_decoding_backend": "write structured_outputs_config",
    "max_seq_len_to_capture": "write max_cudagraph_capture_size",
    "max_context_len_to_capture": "write max_cudagraph_capture_size",
    "rope_scaling": "write hf_overrides",
    "rope_theta": "write hf_overrides",
    "task": "write runner and convert",
    "lora_extra_vocab_size": "remove it",
    "long_lora_scaling_factors": "remove it",
    "enable_prompt_adapter": "vLLM has no prompt adapters any more; remove it",
    "preemption_mode": "remove it",
    "tokenizer_pool_size": "remove it",
    "tokenizer_pool_type": "remove it",
    "disable_async_output_proc": "write async_scheduling",
    "enable_reasoning": "reasoning_parser alone turns it on; remove it",
}
#: vLLM takes lengths such as 8k, and NVIDIA's backend numbers in quotes.
_NUMBER_TEXT = re.compile(r"\s*-?\d+(\.\d+)?\s*[kKmMgGtT]?\s*")


@cache
def vllm_arguments() -> tuple[str, Mapping[str, Mapping[str, Any]]]:
    """Return a vLLM version and its AsyncEngineArgs: name to the JSON types and choices of its value."""
    text = resources.files(__package__).joinpath("vllm_arguments.json").read_text(encoding="utf-8")
    data = json.loads(text)
    return data["vllm"], data["arguments"]


def check_arguments(file: JsonFile) -> Iterator[Finding]:
    """Yield what vLLM would not take."""
    for name, value in file.values.items():
        yield from _argument(file, name, value)
    yield from _ranges(file)


def _argument(file: JsonFile, name: str, value: object) -> Iterator[Finding]:
    version, known = vllm_arguments()
    if name in known:
        yield from _value(file, name, value, known[name])
    elif name in RETIRED:
        yield file.at(name, "warning", f"{name!r} is not an argument of vLLM {version} any more", RETIRED[name])
    elif name in KINDS:
        yield file.at(
            name,
            "warning",
            f"{name!r} is an option of vLLM's server, not of its engine: tritonfleet takes it, NVIDIA's backend fails",
            "remove it if NVIDIA's backend must load this repository",
        )
    else:
        plain = name.lstrip("-").replace("-", "_").lower()
        near = [plain] if plain in known else difflib.get_close_matches(plain, known, n=1)
        fix = f"did you mean {near[0]!r}?" if near else "see vLLM's engine arguments"
        yield file.at(name, "error", f"{name!r} is no argument of vLLM {version}", fix)


def _value(file: JsonFile, name: str, value: object, known: Mapping[str, Any]) -> Iterator[Finding]:
    kinds, choices = known["types"], known.get("choices", ())
    if not _fits(value, kinds):
        wanted = " or ".join(with_article(kind) for kind in kinds if kind != "null")
        yield file.at(
            name,
            "error",
            f"{name} is {json.dumps(value)}, which is {with_article(json_type(value))}",
            f"write {wanted}",
        )
    elif choices and value is not None and str(value) not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        fix = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(choices)}"
        yield file.at(name, "warning", f"{name} is {json.dumps(value)}, which vLLM {vllm_arguments()[0]} lacks", fix)


def _fits(value: object, kinds: list[str]) -> bool:
    kind = json_type(value)
    if kind in kinds or kind == "null" or (kind == "integer" and "number" in kinds):
        return True
    if kind == "string":
        text = str(value)
        return (
            ("boolean" in kinds and text.lower() in ("true", "false"))
            or (bool({"integer", "number"} & set(kinds)) and bool(_NUMBER_TEXT.fullmatch(text)))
            or bool({"array", "object"} & set(kinds))  # the command line takes them as JSON text
        )
    return False


def _ranges(file: JsonFile) -> Iterator[Finding]:
    share = number(file.values.get("gpu_memory_utilization"))
    if share is not None and not 0 < share <= 1:
        yield file.at(
            "gpu_memory_utilization",
            "error",
            f"gpu_memory_utilization is {share:g}",
            f"it is a part of the GPU's memory between 0 and 1{f': write {share / 100:g}' if 1 < share <= 100 else ''}",
        )
    for name in ("tensor_parallel_size", "pipeline_parallel_size", "max_num_seqs", "max_model_len"):
        value = number(file.values.get(name))
        if value is not None and value < (-1 if name == "max_model_len" else 1):
            yield file.at(name, "error", f"{name} is {value:g}", "write a whole number from 1 on")


def number(value: object) -> float | None:
    """Return a number that may stand in quotes."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
