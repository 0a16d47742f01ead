"""Environment variables that several engines read."""

from __future__ import annotations

from tritonfleet.engines.base import Launch
from tritonfleet.errors import UsageError

#: The Hub's own client, transformers, and the wish that many programs honour.
QUIET = {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def visible_gpus(launch: Launch) -> dict[str, str]:
    """Return the variables that show a process its GPUs and no others; raise UsageError if the spec sets them too."""
    for variable in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        if variable in launch.model.env:
            raise UsageError(f"{launch.model.name}: env.{variable} is set by the fleet; write `devices` instead")
    if not launch.gpus:
        return {}
    # The order of NVML and nvidia-smi, whose numbers the spec has; CUDA's own puts the fastest GPU first.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, launch.gpus))}
