"""What both doors send alike."""

from __future__ import annotations

import json

from tritonfleet.client.messages import GenerateRequest, ModelInfo
from tritonfleet.errors import RequestRefused


def check_inputs(info: ModelInfo) -> None:
    """Return if the model takes text; raise RequestRefused naming its inputs if it does not."""
    if "text_input" not in info.inputs:
        raise RequestRefused(
            f"model {info.name!r} takes no text_input; its inputs are {', '.join(sorted(info.inputs)) or 'unknown'}"
        )


def sampling_json(request: GenerateRequest) -> str:
    """Return the value of the ``sampling_parameters`` tensor."""
    return json.dumps(dict(request.sampling), ensure_ascii=False)
