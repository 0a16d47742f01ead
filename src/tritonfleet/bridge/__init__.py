"""The bridge: a Triton python-based backend named ``vllm`` that forwards requests to a fleet's engines.

Everything here but ``install`` runs inside Triton's Python stub, in that stub's own environment: stdlib, numpy and
aiohttp; orjson and uvloop where they are present. It must not import the rest of the package except ``wire`` and
``errors``, which are copied beside it.
"""

from tritonfleet.bridge.install import install_backend

__all__ = ["install_backend"]
