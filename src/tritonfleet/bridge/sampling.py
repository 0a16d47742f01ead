"""Sampling parameters as clients write them, turned into the fields of an engine's ``/v1/completions`` request.

Clients of Triton send numbers as text (``"temperature": "0.1"``), so each name has a kind, taken from vLLM's
SamplingParams and CompletionRequest (0.32), and values are read as that kind. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from tritonfleet.bridge import codec
from tritonfleet.bridge.failure import InvalidRequest

Reader = Callable[[Any], Any]

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


def _integer(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError("must be an integer")
    if isinstance(value, int):
        return value
    try:
        number = float(value) if not isinstance(value, str) or not _is_digits(value) else int(value)
    except (TypeError, ValueError):
        raise ValueError("must be an integer") from None
    if number != number or number in (float("inf"), float("-inf")) or number != int(number):
        raise ValueError("must be an integer")
    return int(number)


def _is_digits(text: str) -> bool:
    # Not through float: a seed of 19 digits would lose its last ones.
    return text.strip().lstrip("+-").isdecimal()


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("must be a number") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("must be a finite number")
    return number


def read_bool(value: Any) -> bool:
    """Return the truth of a JSON value or of its text; raise ValueError if it is neither true nor false."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, str | int) else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("must be true or false")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


def _json(value: Any) -> Any:
    """Return what JSON text holds: request parameters can carry no lists or objects in another way."""
    try:
        return codec.loads(value)
    except ValueError:
        return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        decoded = _json(value) if value.lstrip().startswith("[") else value
        value = decoded if isinstance(decoded, list) else [value]
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError("must be a text or a list of texts")
    return value


def _integers(value: Any) -> list[int]:
    if isinstance(value, str):
        value = _json(value)
    if not isinstance(value, list):
        raise ValueError("must be a list of integers")
    return [_integer(entry) for entry in value]


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = _json(value)
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object, or the text of one")
    return value


def _anything(value: Any) -> Any:
    return value


_READERS: dict[str, Reader] = {
    **dict.fromkeys(
        (
            "n",
            "top_k",
            "seed",
            "max_tokens",
            "min_tokens",
            "logprobs",
            "prompt_logprobs",
            "truncate_prompt_tokens",
            "thinking_token_budget",
            "stream_interval",
            "priority",
            "best_of",
        ),
        _integer,
    ),
    **dict.fromkeys(
        (
            "temperature",
            "top_p",
            "min_p",
            "presence_penalty",
            "frequency_penalty",
            "repetition_penalty",
            "length_penalty",
        ),
        _number,
    ),
    **dict.fromkeys(
        (
            "ignore_eos",
            "include_stop_str_in_output",
            "skip_special_tokens",
            "spaces_between_special_tokens",
            "use_beam_search",
            "add_special_tokens",
            "watermarking",
        ),
        read_bool,
    ),
    **dict.fromkeys(("stop", "bad_words"), _texts),
    **dict.fromkeys(("stop_token_ids", "allowed_token_ids", "logprob_token_ids"), _integers),
    **dict.fromkeys(
        (
            "logit_bias",
            "structured_outputs",
            "guided_decoding",
            "response_format",
            "extra_args",
            "vllm_xargs",
            "repetition_detection",
        ),
        _object,
    ),
    **dict.fromkeys(("lora_name", "cache_salt", "truncation_side", "suffix", "user"), _text),
    # Older vLLM's spelling of structured_outputs.
    "guided_choice": _texts,
    "guided_regex": _text,
    "guided_grammar": _text,
    "guided_json": _anything,
}

#: Further names of the engines that are not vLLM, from their own documentation; values pass as they are.
_ENGINE_NAMES: Mapping[str, frozenset[str]] = {
    "sglang": frozenset(
        {"regex", "ebnf", "json_schema", "min_new_tokens", "no_stop_trim", "custom_params", "stop_regex"}
    ),
    "tensorrt-llm": frozenset({"lookahead_config", "return_context_logits", "disaggregated_params"}),
    "llamacpp": frozenset(
        {
            *("grammar", "json_schema", "mirostat", "mirostat_tau", "mirostat_eta", "typical_p", "repeat_penalty"),
            *("repeat_last_n", "dynatemp_range", "dynatemp_exponent", "dry_multiplier", "dry_base", "xtc_probability"),
            *("xtc_threshold", "cache_prompt", "id_slot", "n_probs", "samplers", "n_keep", "dry_allowed_length"),
        }
    ),
}

#: Names of the completions API that have a tensor of their own here.
_TENSORS = {
    "stream": "the `stream` tensor",
    "prompt": "the `text_input` tensor",
    "echo": "the `exclude_input_in_output` tensor",
    "model": "the model's name in the request, and `lora_name` for an adapter",
}

_GUIDED = {
    "guided_json": "json",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
}


def read_sampling(values: Mapping[str, Any], *, engine: str, where: str) -> dict[str, Any]:
    """Return *values* as the kinds that the engine expects; *where* names their origin in messages.

    A null means "not set". Raises InvalidRequest naming the key, its value and what it should be.
    """
    extra = _ENGINE_NAMES.get(engine, frozenset())
    result: dict[str, Any] = {}
    for name, value in values.items():
        reader = _READERS.get(name)
        if reader is None and name not in extra:
            raise InvalidRequest(_unknown(name, extra, where))
        if value is None:
            continue
        try:
            result[name] = reader(value) if reader is not None else value
        except ValueError as err:
            raise InvalidRequest(f"{where}: `{name}` {err}, got {_shown(value)}") from None
    return _modern(result, where)


def _modern(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Write the names that vLLM dropped as the ones that replaced them."""
    best_of = values.pop("best_of", None)
    if best_of is not None and best_of not in (1, values.get("n", 1)):
        raise InvalidRequest(f"{where}: `best_of` is no longer supported by vLLM; ask for several answers with `n`")
    if "extra_args" in values:
        values["vllm_xargs"] = {**values.pop("extra_args"), **values.get("vllm_xargs", {})}
    constraints = values.pop("guided_decoding", {})
    constraints = {key: value for key, value in constraints.items() if key != "backend" and value is not None}
    constraints.update({_GUIDED[name]: values.pop(name) for name in list(values) if name in _GUIDED})
    if constraints:
        if "structured_outputs" in values:
            raise InvalidRequest(f"{where}: give either `structured_outputs` or the older `guided_*`, not both")
        values["structured_outputs"] = constraints
    return values


def _unknown(name: str, extra: frozenset[str], where: str) -> str:
    if name in _TENSORS:
        return f"{where}: `{name}` is not a sampling parameter; use {_TENSORS[name]}"
    near = difflib.get_close_matches(name, [*_READERS, *extra], n=1)
    hint = f"did you mean `{near[0]}`?" if near else "see docs/kserve.md for the names"
    return f"{where}: unknown sampling parameter `{name}`; {hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
